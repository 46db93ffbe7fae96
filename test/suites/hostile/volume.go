package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

var volumeChecks = []check{
	{name: "10,000 requests at once are all answered", run: manyRequests},
	{name: "answers of 10,000 reads are taken late", run: lateReader},
	{name: "answers of 10,000 reads are never taken", run: neverReads},
	{name: "two million packets of one byte that are not taken", run: crumbs},
	{name: "300 sessions are cut in the middle of a write", connections: cutters, run: cutSessions},
	{name: "a directory of 5,000 long names is listed whole", run: bigDirectory},
}

const many = 10000

// burst is many requests of one kind.
func burst(kind byte, body packet) packet {
	var all packet
	for id := range uint32(many) {
		all = all.join(framed(request(kind, id+1, body)))
	}
	return all
}

// takeAll waits for the answers of a burst.
func (s *session) takeAll(kind byte) error {
	seen := map[uint32]bool{}
	for len(seen) < many {
		r, err := s.wait(20 * time.Second)
		if err != nil {
			return fmt.Errorf("after %d answers: %w", len(seen), err)
		}
		if r.kind != kind || seen[r.id] {
			return fmt.Errorf("request %d is answered by packet %d, for the second time: %t", r.id, r.kind, seen[r.id])
		}
		seen[r.id] = true
	}
	return nil
}

func manyRequests(t *target) error {
	s, err := t.session()
	if err != nil {
		return err
	}
	defer s.end()
	go s.channel.Write(burst(fxStat, str(t.dir)))
	return s.takeAll(fxAttrs)
}

// reads sends a burst of reads of 32 KB and takes none of the answers.
func reads(t *target, client *ssh.Client) (ssh.Channel, error) {
	channel, err := subsystem(client)
	if err != nil {
		return nil, err
	}
	name := str(t.dir + "/readable")
	channel.Write(initThree)
	channel.Write(framed(request(fxOpen, 1, name.u32(forRead).noAttributes())))
	if _, err := receive(channel); err != nil {
		return nil, err
	}
	r, err := receive(channel)
	if err == nil && r.kind != fxHandle {
		err = fmt.Errorf("open is answered by packet %d", r.kind)
	}
	if err != nil {
		return nil, err
	}
	_, err = channel.Write(burst(fxRead, str(r.text()).u64(0).u32(32000))) // fits into the window
	return channel, err
}

// readable makes the file for reads, and returns a session.
func (t *target) readable() (*session, error) {
	if err := os.WriteFile(t.disk+"/readable", make([]byte, 32000), 0o600); err != nil {
		return nil, err
	}
	return t.session()
}

func lateReader(t *target) error {
	s, err := t.readable()
	if err != nil {
		return err
	}
	defer s.end()
	channel, err := reads(t, s.client)
	if err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // the window is full long before
	return collect(s.client, channel).takeAll(fxData)
}

// neverReads leaves the answers of one channel where they are while another
// channel of the same connection works.
func neverReads(t *target) error {
	s, err := t.readable()
	if err != nil {
		return err
	}
	defer s.end()
	if _, err := reads(t, s.client); err != nil {
		return err
	}
	for range 30 {
		if _, err := s.call(fxStat, str(t.dir)); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// cutters is how many cut sessions at the same time.
const cutters = 6

func cutSessions(t *target) error {
	var working sync.WaitGroup
	for w := range cutters {
		working.Go(func() {
			for i := range 50 {
				t.cutSession(fmt.Sprintf("%s/cut%d", t.dir, w), i%2 == 0)
			}
		})
	}
	working.Wait()
	return nil
}

// cutSession leaves in the middle of a packet. That it gets so far is not sure:
// the server may refuse so many.
func (t *target) cutSession(name string, reset bool) {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return
	}
	defer c.Close()
	conn, channels, requests, err := ssh.NewClientConn(c, t.addr, &ssh.ClientConfig{
		User: t.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(t.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return
	}
	s, err := open(ssh.NewClient(conn, channels, requests))
	if err != nil || s.hello() != nil {
		return
	}
	r, err := s.call(fxOpen, str(name).u32(forWrite|creating).noAttributes())
	if err != nil {
		return
	}
	s.send(fxWrite, str(r.text()).u64(0).str(strings.Repeat("c", 30000)))
	s.channel.Write(packet(nil).u32(30000).u8(fxWrite))
	if reset {
		c.(*net.TCPConn).SetLinger(0)
	}
}

func bigDirectory(t *target) error {
	const size = 5000
	if err := os.Mkdir(t.disk+"/listed", 0o755); err != nil {
		return err
	}
	for i := range size {
		name := fmt.Sprintf("%s/listed/%s-%d", t.disk, strings.Repeat("n", 200), i)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
	}
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	names, err := s.list(t.dir + "/listed")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range names {
		if name != "." && name != ".." {
			seen[name] = true
		}
	}
	if len(seen) != size || len(names) > size+2 {
		return fmt.Errorf("%d names, %d of them different, want %d", len(names), len(seen), size)
	}
	return nil
}

// crumbs is data in packets of one byte, which the SSH library keeps one by one
// for as long as nobody takes them: on channels whose answers are not taken, so
// that the server does not go on reading there, and as standard error, for which
// it has no use. It may end the connection.
func crumbs(t *target) error {
	s, err := t.readable()
	if err != nil {
		return err
	}
	defer s.end()
	writers := []io.Writer{s.channel.Stderr()}
	for range 9 {
		channel, err := reads(t, s.client)
		if err != nil {
			return err
		}
		writers = append(writers, channel)
	}
	for range 200_000 {
		for _, w := range writers {
			if _, err := w.Write([]byte{0}); err != nil {
				return nil // the server has had enough
			}
		}
	}
	return nil
}
