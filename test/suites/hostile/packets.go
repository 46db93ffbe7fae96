package main

import (
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

var packetChecks = []check{
	{name: "sftp: lengths of packets that cannot be", run: badLengths},
	{name: "sftp: requests cut short", run: cutRequests},
	{name: "sftp: strings longer than their packet", run: longStrings},
	{name: "sftp: attributes with billions of extensions", run: manyExtensions},
	{name: "sftp: no INIT, two INITs, odd versions", run: oddVersions},
	{name: "sftp: unknown requests are answered as unsupported", run: unknownRequests},
	{name: "sftp: 6,000 random changes of requests", run: mutations},
}

// requests has one body of every kind.
func (t *target) requests() map[byte]packet {
	return map[byte]packet{
		fxOpen:     str(t.dir + "/a").u32(forRead).noAttributes(),
		fxClose:    str("h"),
		fxRead:     str("h").u64(0).u32(1),
		fxWrite:    str("h").u64(0).str("data"),
		fxLstat:    str(t.dir),
		fxFstat:    str("h"),
		fxSetstat:  str(t.dir).noAttributes(),
		fxFsetstat: str("h").noAttributes(),
		fxOpendir:  str(t.dir),
		fxReaddir:  str("h"),
		fxRemove:   str(t.dir + "/no"),
		fxMkdir:    str(t.dir + "/a/b/c").noAttributes(),
		fxRmdir:    str(t.dir + "/no"),
		fxRealpath: str("."),
		fxStat:     str(t.dir),
		fxRename:   str(t.dir + "/no").str(t.dir + "/no2"),
		fxReadlink: str(t.dir),
		fxSymlink:  str("t").str(t.dir + "/a/b/c"),
		fxExtended: extended("statvfs@openssh.com").str(t.dir),
	}
}

// A barrage sends bytes, each on a channel of its own, on one connection as long
// as the server keeps it.
type barrage struct {
	t      *target
	client *ssh.Client
}

// fire sends b and returns when the server has ended the channel or has had a
// while to do so. The greeting is what comes before b.
func (g *barrage) fire(greeting, b packet) error {
	s, err := g.open()
	if err != nil {
		return err
	}
	defer s.channel.Close()
	s.channel.Write(greeting)
	s.channel.Write(b)
	s.channel.CloseWrite()
	for {
		if _, err := s.wait(1500 * time.Millisecond); err != nil {
			return nil
		}
	}
}

func (g *barrage) open() (*session, error) {
	if g.client != nil {
		if s, err := open(g.client); err == nil {
			return s, nil
		}
		g.client.Close()
	}
	var err error
	if g.client, err = g.t.dial(); err != nil {
		g.client = nil
		return nil, err
	}
	return open(g.client)
}

func (g *barrage) end() {
	if g.client != nil {
		g.client.Close()
	}
}

var initThree = framed(packet(nil).u8(fxInit).u32(3))

// fireAll sends each of the packets after an INIT.
func fireAll(t *target, packets []packet) error {
	g := &barrage{t: t}
	defer g.end()
	for i, p := range packets {
		if err := g.fire(initThree, p); err != nil {
			return fmt.Errorf("at packet %d: %w", i, err)
		}
	}
	return nil
}

func badLengths(t *target) error {
	var all []packet
	for _, n := range []uint32{0, 1, 2, 4, 256*1024 + 1, 1 << 20, 1 << 24, 1 << 28, 0x7fffffff, 0x80000000, 0xffffffff} {
		head := packet(nil).u32(n)
		all = append(all, head, slices.Clone(head).u8(fxStat), slices.Clone(head).join(make(packet, 6000)))
	}
	return fireAll(t, all)
}

func cutRequests(t *target) error {
	var all []packet
	for kind, body := range t.requests() {
		whole := request(kind, 7, body)
		for n := 1; n < len(whole); n += max(1, len(whole)/16) {
			all = append(all, framed(whole[:n]))
		}
	}
	return fireAll(t, all)
}

func longStrings(t *target) error {
	var all []packet
	for kind := range t.requests() {
		for _, n := range []uint32{5, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffb} {
			all = append(all, framed(request(kind, 7, packet(nil).u32(n))), framed(request(kind, 7, packet(nil).u32(n).join(packet("abc")))))
		}
	}
	return fireAll(t, all)
}

func manyExtensions(t *target) error {
	var all []packet
	for _, kind := range []byte{fxSetstat, fxMkdir} {
		for _, n := range []uint32{1, 0x7fffffff, 0xffffffff} {
			all = append(all,
				framed(request(kind, 7, str(t.dir+"/z").u32(attrExtended).u32(n))),
				framed(request(kind, 7, str(t.dir+"/z").u32(0xffffffff).u64(1).u32(n).u32(n))))
		}
	}
	return fireAll(t, all)
}

func oddVersions(t *target) error {
	g := &barrage{t: t}
	defer g.end()
	for _, p := range []packet{
		request(fxStat, 1, str(t.dir)),
		packet(nil).u8(fxInit),
		packet(nil).u8(fxInit).u32(0),
		packet(nil).u8(fxInit).u32(0xffffffff),
		packet(nil).u8(fxInit).u32(3).u32(0xffffffff),
		packet(nil).u8(fxVersion).u32(3),
	} {
		if err := errors.Join(g.fire(nil, framed(p)), g.fire(initThree, framed(p))); err != nil {
			return err
		}
	}
	s, err := g.open()
	if err != nil {
		return err
	}
	s.channel.Write(framed(packet(nil).u8(fxInit).u32(6)))
	r, err := s.wait(patience)
	if err != nil || r.kind != fxVersion || len(r.body) < 4 || slices.Compare(r.body[:4], packet(nil).u32(3)) != 0 {
		return fmt.Errorf("INIT 6 is answered by packet %d, %x, %w", r.kind, r.body, err)
	}
	return nil
}

func unknownRequests(t *target) error {
	s, err := t.session()
	if err != nil {
		return err
	}
	defer s.end()
	for _, kind := range []byte{0, 21, 22, 50, 99, 106, 150, 199, 202, 240, 255} {
		r, err := s.call(kind, str("x"))
		if err != nil {
			return fmt.Errorf("request %d: %w", kind, err)
		}
		if r.status() != statusUnsupported {
			return fmt.Errorf("request %d is answered by status %d", kind, r.status())
		}
	}
	r, err := s.call(fxExtended, extended("no-such@example.org").str("x"))
	if err == nil && r.status() != statusUnsupported {
		err = fmt.Errorf("an unknown extension is answered by status %d", r.status())
	}
	return err
}

func mutations(t *target) error {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	requests := t.requests()
	for _, kind := range []byte{fxSetstat, fxRemove, fxRmdir} {
		delete(requests, kind) // our directory is needed
	}
	kinds := slices.Sorted(maps.Keys(requests))
	var all []packet
	for range 60 {
		var burst packet
		for id := range uint32(100) {
			kind := kinds[random.IntN(len(kinds))]
			burst = burst.join(framed(mutate(random, request(kind, id, requests[kind]))))
		}
		all = append(all, burst)
	}
	return fireAll(t, all)
}

// mutate changes up to three bytes behind the head of a request, or cuts it.
func mutate(random *mathrand.Rand, p packet) packet {
	const head = 5
	for range random.IntN(4) {
		if len(p) == head {
			break
		}
		at := head + random.IntN(len(p)-head)
		switch random.IntN(3) {
		case 0:
			p[at] ^= 1 << random.IntN(8)
		case 1:
			p[at] = byte(random.IntN(256))
		case 2:
			p = p[:at]
		}
	}
	return p
}
