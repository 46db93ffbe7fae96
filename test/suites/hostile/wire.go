// A bare SFTP v3 speaker on top of x/crypto/ssh, so that any bytes at all can be sent.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	fxInit     = 1
	fxVersion  = 2
	fxOpen     = 3
	fxClose    = 4
	fxRead     = 5
	fxWrite    = 6
	fxLstat    = 7
	fxFstat    = 8
	fxSetstat  = 9
	fxFsetstat = 10
	fxOpendir  = 11
	fxReaddir  = 12
	fxRemove   = 13
	fxMkdir    = 14
	fxRmdir    = 15
	fxRealpath = 16
	fxStat     = 17
	fxRename   = 18
	fxReadlink = 19
	fxSymlink  = 20
	fxStatus   = 101
	fxHandle   = 102
	fxData     = 103
	fxName     = 104
	fxAttrs    = 105
	fxExtended = 200
	fxExtReply = 201
)

const (
	oRead   = 1
	oWrite  = 2
	oAppend = 4
	oCreat  = 8
	oTrunc  = 16
	oExcl   = 32
)

const (
	stOK      = 0
	stEOF     = 1
	stNoFile  = 2
	stPerm    = 3
	stFailure = 4
	stBad     = 5
	stNoConn  = 6
	stLost    = 7
	stUnsup   = 8
)

type enc []byte

func (e enc) u8(v byte) enc    { return append(e, v) }
func (e enc) u32(v uint32) enc { return binary.BigEndian.AppendUint32(e, v) }
func (e enc) u64(v uint64) enc { return binary.BigEndian.AppendUint64(e, v) }
func (e enc) str(s string) enc { return append(e.u32(uint32(len(s))), s...) }
func (e enc) noattr() enc      { return e.u32(0) }

type reply struct {
	typ  byte
	id   uint32
	body []byte
}

func (r reply) status() (uint32, bool) {
	if r.typ != fxStatus || len(r.body) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(r.body), true
}

func (r reply) str() string {
	if len(r.body) < 4 {
		return ""
	}
	n := int(binary.BigEndian.Uint32(r.body))
	if n > len(r.body)-4 {
		return ""
	}
	return string(r.body[4 : 4+n])
}

func (r reply) names() []string {
	if r.typ != fxName || len(r.body) < 4 {
		return nil
	}
	n := binary.BigEndian.Uint32(r.body)
	b := r.body[4:]
	var out []string
	rd := func() (string, bool) {
		if len(b) < 4 {
			return "", false
		}
		l := int(binary.BigEndian.Uint32(b))
		if l > len(b)-4 {
			return "", false
		}
		s := string(b[4 : 4+l])
		b = b[4+l:]
		return s, true
	}
	for i := uint32(0); i < n; i++ {
		s, ok := rd()
		if !ok {
			break
		}
		if _, ok = rd(); !ok {
			break
		}
		out = append(out, s)
		if len(b) < 4 {
			break
		}
		fl := binary.BigEndian.Uint32(b)
		b = b[4:]
		skip := 0
		if fl&1 != 0 {
			skip += 8
		}
		if fl&2 != 0 {
			skip += 8
		}
		if fl&4 != 0 {
			skip += 4
		}
		if fl&8 != 0 {
			skip += 8
		}
		if skip > len(b) {
			break
		}
		b = b[skip:]
		if fl&0x80000000 != 0 && len(b) >= 4 {
			c := binary.BigEndian.Uint32(b)
			b = b[4:]
			for j := uint32(0); j < 2*c; j++ {
				if _, ok := rd(); !ok {
					return out
				}
			}
		}
	}
	return out
}

type raw struct {
	cl   *ssh.Client
	ch   ssh.Channel
	in   chan reply
	err  error
	next uint32
	ver  uint32
	exts map[string]string
}

var errTimeout = errors.New("timeout")

func dial() (*ssh.Client, error) {
	c := &ssh.ClientConfig{User: cfg.user, Auth: cfg.auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second}
	var cl *ssh.Client
	var err error
	for i := 0; i < 3; i++ {
		if cl, err = ssh.Dial("tcp", cfg.addr, c); err == nil {
			return cl, nil
		}
		time.Sleep(300 * time.Millisecond)
	}
	return nil, err
}

// channel opens the sftp subsystem without speaking; the reader goroutine collects whatever comes back.
func channel(cl *ssh.Client) (*raw, error) {
	ch, reqs, err := cl.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(reqs)
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ N string }{"sftp"}))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("sftp subsystem refused")
	}
	r := &raw{cl: cl, ch: ch, in: make(chan reply, 20000), exts: map[string]string{}}
	go func() {
		defer close(r.in)
		var h [4]byte
		for {
			if _, err := io.ReadFull(ch, h[:]); err != nil {
				r.err = err
				return
			}
			n := binary.BigEndian.Uint32(h[:])
			if n == 0 || n > 64<<20 {
				r.err = fmt.Errorf("reply of %d bytes", n)
				return
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(ch, b); err != nil {
				r.err = err
				return
			}
			if b[0] == fxVersion {
				r.in <- reply{typ: b[0], body: b[1:]}
				continue
			}
			if n < 5 {
				r.err = fmt.Errorf("short reply type %d", b[0])
				return
			}
			r.in <- reply{typ: b[0], id: binary.BigEndian.Uint32(b[1:5]), body: b[5:]}
		}
	}()
	return r, nil
}

func (r *raw) wait(d time.Duration) (reply, error) {
	select {
	case x, ok := <-r.in:
		if !ok {
			if r.err == nil {
				r.err = io.EOF
			}
			return reply{}, r.err
		}
		return x, nil
	case <-time.After(d):
		return reply{}, errTimeout
	}
}
func (r *raw) sendBytes(b []byte) error { _, err := r.ch.Write(b); return err }
func frame(b []byte) []byte             { return append(enc(nil).u32(uint32(len(b))), b...) }
func (r *raw) init() error {
	if err := r.sendBytes(frame(enc(nil).u8(fxInit).u32(3))); err != nil {
		return err
	}
	x, err := r.wait(10 * time.Second)
	if err != nil {
		return err
	}
	if x.typ != fxVersion || len(x.body) < 4 {
		return fmt.Errorf("no VERSION: type %d", x.typ)
	}
	r.ver = binary.BigEndian.Uint32(x.body)
	b := x.body[4:]
	for len(b) >= 4 {
		l := int(binary.BigEndian.Uint32(b))
		if l > len(b)-4 {
			break
		}
		k := string(b[4 : 4+l])
		b = b[4+l:]
		if len(b) < 4 {
			break
		}
		l = int(binary.BigEndian.Uint32(b))
		if l > len(b)-4 {
			break
		}
		r.exts[k] = string(b[4 : 4+l])
		b = b[4+l:]
	}
	return nil
}

func (r *raw) send(typ byte, body enc) (uint32, error) {
	r.next++
	return r.next, r.sendBytes(frame(append(enc(nil).u8(typ).u32(r.next), body...)))
}

func (r *raw) call(typ byte, body enc) (reply, error) {
	id, err := r.send(typ, body)
	if err != nil {
		return reply{}, err
	}
	for {
		x, err := r.wait(15 * time.Second)
		if err != nil {
			return reply{}, err
		}
		if x.id == id {
			return x, nil
		}
	}
}
func (r *raw) close() { r.ch.Close() }

// session = one new connection with a ready sftp channel
func session() (*raw, error) {
	cl, err := dial()
	if err != nil {
		return nil, err
	}
	r, err := channel(cl)
	if err != nil {
		cl.Close()
		return nil, err
	}
	if err = r.init(); err != nil {
		cl.Close()
		return nil, err
	}
	return r, nil
}
func (r *raw) end() { r.ch.Close(); r.cl.Close() }

func (r *raw) open(p string, fl uint32) (string, uint32, error) {
	x, err := r.call(fxOpen, enc(nil).str(p).u32(fl).noattr())
	if err != nil {
		return "", 0, err
	}
	if x.typ == fxHandle {
		return x.str(), stOK, nil
	}
	s, _ := x.status()
	return "", s, nil
}
func (r *raw) closeH(h string) { r.call(fxClose, enc(nil).str(h)) }
func (r *raw) readAll(p string) ([]byte, uint32, error) {
	h, st, err := r.open(p, oRead)
	if err != nil || st != stOK {
		return nil, st, err
	}
	defer r.closeH(h)
	x, err := r.call(fxRead, enc(nil).str(h).u64(0).u32(4096))
	if err != nil {
		return nil, 0, err
	}
	if x.typ == fxData {
		return []byte(x.str()), stOK, nil
	}
	s, _ := x.status()
	return nil, s, nil
}

func (r *raw) write(p, data string, fl uint32) (uint32, error) {
	h, st, err := r.open(p, fl)
	if err != nil || st != stOK {
		return st, err
	}
	defer r.closeH(h)
	x, err := r.call(fxWrite, enc(nil).str(h).u64(0).str(data))
	if err != nil {
		return 0, err
	}
	s, _ := x.status()
	return s, nil
}

func (r *raw) st(typ byte, body enc) uint32 { // status of a call, 999 on connection error, 1000+type when not a status
	x, err := r.call(typ, body)
	if err != nil {
		return 999
	}
	if s, ok := x.status(); ok {
		return s
	}
	return 1000 + uint32(x.typ)
}
