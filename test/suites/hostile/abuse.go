package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	mrand "math/rand"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

func sshLayer() {
	rawTCP := func(b []byte, hold time.Duration) {
		c, err := net.DialTimeout("tcp", cfg.addr, 5*time.Second)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(hold + 3*time.Second))
		c.Write(b)
		io.CopyN(io.Discard, c, 64)
		time.Sleep(hold)
	}
	id := []byte("SSH-2.0-hostile\r\n")
	check("ssh: garbage before and after the banner", func() string {
		r := mrand.New(mrand.NewSource(1))
		g := make([]byte, 70000)
		r.Read(g)
		for _, b := range [][]byte{
			nil, []byte("GET / HTTP/1.0\r\n\r\n"), []byte("SSH-1.5-old\r\n"), []byte("SSH-2.0-" + strings.Repeat("A", 1<<20)), bytes.Repeat([]byte("x\r\n"), 20000), g,
			append(id[:len(id):len(id)], g...), append(id[:len(id):len(id)], 0xff, 0xff, 0xff, 0xff), append(id[:len(id):len(id)], 0, 0, 0, 1, 0), append(id[:len(id):len(id)], 0, 0, 0, 12, 10, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
			append(id[:len(id):len(id)], append([]byte{0x7f, 0xff, 0xff, 0xff, 4}, g...)...),
		} {
			rawTCP(b, 0)
		}
		return ""
	})
	check("ssh: 60 idle connections before auth, then a login", func() string {
		var cs []net.Conn
		defer func() {
			for _, c := range cs {
				c.Close()
			}
		}()
		for i := 0; i < 60; i++ {
			c, err := elsewhere().Dial("tcp", cfg.addr)
			if err == nil {
				cs = append(cs, c)
			}
			if i%2 == 0 && err == nil {
				c.Write(id)
			}
		}
		t := time.Now()
		if a := alive(); a != "" {
			return "cannot log in beside them: " + a
		}
		return fmt.Sprintf("ok login in %.1f s", time.Since(t).Seconds())
	})
	tryAuth := func(user string, a ...ssh.AuthMethod) error {
		c, err := ssh.Dial("tcp", cfg.addr, &ssh.ClientConfig{User: user, Auth: a, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second})
		if err == nil {
			c.Close()
		}
		return err
	}
	check("auth: none, empty and odd credentials refused", func() string {
		if tryAuth(cfg.user) == nil {
			return "`none` let me in"
		}
		for _, p := range []string{"", " ", cfg.pass + "\x00", cfg.pass + " ", "\x00", "*", strings.Repeat("p", 1000), strings.Repeat("p", 30000)} {
			if cfg.pass != "" && tryAuth(cfg.user, ssh.Password(p)) == nil {
				return fmt.Sprintf("password %.20q (%d bytes) accepted", p, len(p))
			}
		}
		return ""
	})
	check("auth: odd user names (LDAP, path, NUL) refused", func() string {
		for _, u := range []string{"", "*", cfg.user + "*", cfg.user[:1] + "*", cfg.user + ")(uid=*", "*)(objectClass=*", "*))(|(uid=*", "..", "../../etc", "/", "a/b", cfg.user + "\x00", cfg.user + "\x00x", cfg.user + "/..", "uid=" + cfg.user, "\\2a", "\xff\xfe", strings.Repeat("u", 30000), "-oProxyCommand", "root"} {
			if u == cfg.user {
				continue
			}
			if tryAuth(u, ssh.Password(cfg.pass)) == nil {
				return fmt.Sprintf("logged in as %.40q", u)
			}
		}
		return ""
	})
	check("auth: spaces around the name refused", func() string {
		for _, u := range []string{" " + cfg.user, cfg.user + " ", cfg.user + "\t", cfg.user + "\n"} {
			if tryAuth(u, ssh.Password(cfg.pass)) == nil {
				return fmt.Sprintf("logged in as %q (a second spelling of one account: matters for throttling and logs)", u)
			}
		}
		return ""
	})
	check("auth: key of another, unsigned probe", func() string {
		sig, err := ssh.ParsePrivateKey([]byte(otherKey()))
		if err != nil {
			return "n/a " + err.Error()
		}
		if tryAuth(cfg.user, ssh.PublicKeys(sig)) == nil {
			return "foreign key accepted"
		}
		return ""
	})
	check("ssh: 120 session channels on one connection", func() string {
		cl, err := dial()
		if err != nil {
			return err.Error()
		}
		defer cl.Close()
		ok := 0
		var rs []*raw
		for i := 0; i < 120; i++ {
			r, err := channel(cl)
			if err != nil {
				continue
			}
			if r.init() == nil {
				ok++
			}
			rs = append(rs, r)
		}
		if len(rs) == 0 {
			return "not one"
		}
		if _, err := rs[0].call(fxStat, enc(nil).str(in)); err != nil {
			return "first channel no longer answers: " + err.Error()
		}
		return fmt.Sprintf("ok %d opened", ok)
	})
	check("ssh: odd channel and global requests", func() string {
		on := func(f func(cl *ssh.Client)) string {
			cl, err := dial()
			if err != nil {
				return err.Error()
			}
			done := make(chan bool)
			go func() { f(cl); close(done) }()
			select {
			case <-done:
			case <-time.After(4 * time.Second):
			}
			cl.Close()
			return ""
		}
		junk := []byte{0xff, 0xff, 0xff, 0xff}
		for _, t := range []string{"", "x", "keepalive@openssh.com", "no-more-sessions@x", "hostkeys-prove-00@openssh.com", "tcpip-forward", "streamlocal-forward@openssh.com", strings.Repeat("g", 5000)} {
			if r := on(func(cl *ssh.Client) { cl.SendRequest(t, true, junk) }); r != "" {
				return r
			}
		}
		for _, t := range []string{"x11", "direct-streamlocal@openssh.com", "direct-tcpip", "tun@openssh.com", "auth-agent@openssh.com", "session\x00"} {
			if r := on(func(cl *ssh.Client) {
				if c, q, err := cl.OpenChannel(t, junk); err == nil {
					go ssh.DiscardRequests(q)
					c.Close()
				}
			}); r != "" {
				return r
			}
		}
		for _, t := range []string{"pty-req", "env", "exec", "shell", "subsystem", "window-change", "signal", "x11-req", "auth-agent-req@openssh.com", "eow@openssh.com", "break", ""} {
			if r := on(func(cl *ssh.Client) {
				ch, q, err := cl.OpenChannel("session", nil)
				if err == nil {
					go ssh.DiscardRequests(q)
					ch.SendRequest(t, true, []byte{0, 0, 0xff, 0xff, 1})
				}
			}); r != "" {
				return r
			}
		}
		return ""
	})
}

func elsewhere() *net.Dialer {
	d := &net.Dialer{Timeout: 5 * time.Second}
	if strings.HasPrefix(cfg.addr, "127.") {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}
	}
	return d
}

// bare sends bytes on a fresh sftp channel of a shared connection and sees whether anything hangs
func bare(cl *ssh.Client, doInit bool, b []byte, wait time.Duration) (got []reply, closed bool, err error) {
	r, err := channel(cl)
	if err != nil {
		return nil, false, err
	}
	defer r.close()
	if doInit {
		if err = r.init(); err != nil {
			return
		}
	}
	r.sendBytes(b)
	r.ch.CloseWrite()
	for {
		x, e := r.wait(wait)
		if e == errTimeout {
			return got, false, nil
		}
		if e != nil {
			return got, true, nil
		}
		got = append(got, x)
	}
}

func protocol() {
	var mu sync.Mutex
	var shared *ssh.Client
	get := func() *ssh.Client {
		mu.Lock()
		defer mu.Unlock()
		if shared != nil {
			if _, _, e := shared.SendRequest("keepalive@openssh.com", true, nil); e == nil {
				return shared
			}
			shared.Close()
		}
		shared, _ = dial()
		return shared
	}
	each := func(doInit bool, pk [][]byte) string {
		for i, b := range pk {
			cl := get()
			if cl == nil {
				return fmt.Sprintf("no connection after packet %d", i)
			}
			if _, _, err := bare(cl, doInit, b, 1500*time.Millisecond); err != nil {
				if cl = get(); cl == nil {
					return fmt.Sprintf("no connection after packet %d: %v", i, err)
				}
				if _, _, err = bare(cl, doInit, b, time.Second); err != nil {
					return fmt.Sprintf("packet %d: %v", i, err)
				}
			}
		}
		return ""
	}
	check("sftp: bad lengths", func() string {
		var p [][]byte
		for _, n := range []uint32{0, 1, 2, 4, 256*1024 + 1, 1 << 20, 1 << 24, 1 << 28, 0x7fffffff, 0x80000000, 0xffffffff} {
			p = append(p, enc(nil).u32(n), append(enc(nil).u32(n), fxStat), append(enc(nil).u32(n), bytes.Repeat([]byte{fxStat, 0}, 3000)...))
		}
		return each(true, p)
	})
	ops := map[byte]enc{fxOpen: enc(nil).str(in + "/a").u32(1).noattr(), fxClose: enc(nil).str("h"), fxRead: enc(nil).str("h").u64(0).u32(1), fxWrite: enc(nil).str("h").u64(0).str("data"), fxLstat: enc(nil).str(in), fxFstat: enc(nil).str("h"), fxSetstat: enc(nil).str(in).noattr(), fxFsetstat: enc(nil).str("h").noattr(), fxOpendir: enc(nil).str(in), fxReaddir: enc(nil).str("h"), fxRemove: enc(nil).str(in + "/no"), fxMkdir: enc(nil).str(in + "/a/b/c").noattr(), fxRmdir: enc(nil).str(in + "/no"), fxRealpath: enc(nil).str("."), fxStat: enc(nil).str(in), fxRename: enc(nil).str(in + "/no").str(in + "/no2"), fxReadlink: enc(nil).str(in), fxSymlink: enc(nil).str("t").str(in + "/a/b/c"), fxExtended: enc(nil).str("statvfs@openssh.com").str(in)}
	check("sftp: every request cut at every byte", func() string {
		var p [][]byte
		for t, b := range ops {
			full := append(enc(nil).u8(t).u32(7), b...)
			step := 1
			if len(full) > 24 {
				step = len(full) / 16
			}
			for n := 1; n < len(full); n += step {
				p = append(p, frame(full[:n]))
			}
		}
		return each(true, p)
	})
	check("sftp: string lengths past the packet", func() string {
		var p [][]byte
		for t := range ops {
			for _, n := range []uint32{5, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffb} {
				p = append(p, frame(enc(nil).u8(t).u32(7).u32(n)), frame(append(enc(nil).u8(t).u32(7).u32(n), "abc"...)))
			}
		}
		return each(true, p)
	})
	check("sftp: attributes with huge extension counts", func() string {
		var p [][]byte
		for _, t := range []byte{fxSetstat, fxMkdir} {
			for _, n := range []uint32{1, 0x7fffffff, 0xffffffff} {
				p = append(p, frame(enc(nil).u8(t).u32(7).str(in+"/z").u32(0x80000000).u32(n)), frame(enc(nil).u8(t).u32(7).str(in+"/z").u32(0xffffffff).u64(1).u32(n).u32(n)))
			}
		}
		return each(true, p)
	})
	check("sftp: before INIT, twice INIT, odd versions", func() string {
		p := [][]byte{frame(append(enc(nil).u8(fxStat).u32(1), enc(nil).str(in)...)), frame(enc(nil).u8(fxInit)), frame(enc(nil).u8(fxInit).u32(0)), frame(enc(nil).u8(fxInit).u32(0xffffffff)), frame(enc(nil).u8(fxInit).u32(3).u32(0xffffffff)), frame(enc(nil).u8(fxVersion).u32(3))}
		if r := each(false, p); r != "" {
			return r
		}
		if r := each(true, [][]byte{frame(enc(nil).u8(fxInit).u32(3)), frame(enc(nil).u8(fxVersion).u32(3))}); r != "" {
			return r
		}
		cl := get()
		if cl == nil {
			return "no connection"
		}
		r, err := channel(cl)
		if err != nil {
			return err.Error()
		}
		defer r.close()
		r.sendBytes(frame(enc(nil).u8(fxInit).u32(6)))
		x, err := r.wait(5 * time.Second)
		if err != nil || x.typ != fxVersion || len(x.body) < 4 {
			return fmt.Sprintf("INIT 6 not answered with VERSION: type %d, %v", x.typ, err)
		}
		if v := binary.BigEndian.Uint32(x.body); v > 6 {
			return fmt.Sprint("VERSION ", v)
		}
		return ""
	})
	check("sftp: unknown types (UNSUPPORTED is best)", func() string {
		var wrong []string
		good, silent, cut := 0, 0, 0
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer func() { s.end() }()
		for _, t := range []int{0, 21, 22, 50, 99, 106, 150, 199, 202, 240, 255} {
			id, _ := s.send(byte(t), enc(nil).str("x"))
			x, err := s.wait(1500 * time.Millisecond)
			switch st, ok := x.status(); {
			case err == errTimeout:
				silent++
			case err != nil:
				cut++
			case ok && x.id == id && (st == stUnsup || st == stBad || st == stFailure):
				good++
			default:
				wrong = append(wrong, fmt.Sprintf("%d: type %d status %d", t, x.typ, st))
			}
			if err != nil {
				s.end()
				if s, err = session(); err != nil {
					return err.Error()
				}
			}
		}
		if x, err := s.call(fxExtended, enc(nil).str("no-such@example.org").str("x")); err != nil {
			wrong = append(wrong, "unknown extended: "+err.Error())
		} else if st, ok := x.status(); !ok || st == stOK {
			wrong = append(wrong, "unknown extended not refused")
		}
		if wrong != nil {
			return strings.Join(wrong, ", ")
		}
		return fmt.Sprintf("ok %d refused by status, %d unanswered, %d ended the session", good, silent, cut)
	})
	check("sftp: handles: unknown, closed, foreign, wrong kind", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		o, err := session()
		if err != nil {
			return err.Error()
		}
		defer o.end()
		s.write(in+"/hf", "data", oWrite|oCreat)
		fh, st, _ := s.open(in+"/hf", oRead|oWrite)
		if st != stOK {
			return fmt.Sprint("open: ", st)
		}
		dx, _ := s.call(fxOpendir, enc(nil).str(in))
		dh := dx.str()
		ask := func(c *raw, h string) []uint32 {
			return []uint32{c.st(fxRead, enc(nil).str(h).u64(0).u32(4)), c.st(fxWrite, enc(nil).str(h).u64(0).str("EVIL")), c.st(fxFsetstat, enc(nil).str(h).u32(1).u64(0)), c.st(fxReaddir, enc(nil).str(h)), c.st(fxExtended, enc(nil).str("fstatvfs@openssh.com").str(h)), c.st(fxExtended, enc(nil).str("fsync@openssh.com").str(h))}
		}
		for n, h := range map[string]string{"other session": fh, "empty": "", "random": "zzzz", "long": strings.Repeat("h", 100000), "dir of other": dh} {
			for i, r := range ask(o, h) {
				if r == stOK || r >= 1000 {
					return fmt.Sprintf("%s handle: request %d answered %d", n, i, r)
				}
				if r == 999 && n == "long" {
					if o, err = session(); err != nil {
						return err.Error()
					}
				} else if r == 999 {
					return n + " handle: connection lost"
				}
			}
		}
		for i, r := range ask(s, dh)[:3] {
			if r == stOK || r >= 999 {
				return fmt.Sprintf("directory handle: request %d answered %d", i, r)
			}
		}
		if r := s.st(fxReaddir, enc(nil).str(fh)); r == stOK || r >= 999 {
			return fmt.Sprint("READDIR on a file: ", r)
		}
		s.closeH(fh)
		for i, r := range ask(s, fh) {
			if r == stOK || r >= 1000 {
				return fmt.Sprintf("closed handle: request %d answered %d", i, r)
			}
		}
		if r := s.st(fxClose, enc(nil).str(fh)); r == stOK {
			return "double close answered OK"
		}
		if b, _ := os.ReadFile(lin + "/hf"); string(b) != "data" {
			return fmt.Sprintf("file is %q", b)
		}
		return ""
	})
	check("sftp: huge read lengths and offsets", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		s.write(in+"/hf", strings.Repeat("d", 1000), oWrite|oCreat|oTrunc)
		h, st, _ := s.open(in+"/hf", oRead|oWrite)
		if st != stOK {
			return fmt.Sprint(st)
		}
		for _, n := range []uint32{0, 1 << 20, 1 << 28, 0x7fffffff, 0x80000000, 0xffffffff} {
			for _, o := range []uint64{0, 999, 1000, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
				if _, err := s.call(fxRead, enc(nil).str(h).u64(o).u32(n)); err != nil {
					return fmt.Sprintf("read %d@%d: %v", n, o, err)
				}
			}
		}
		for _, o := range []uint64{1<<63 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 3} {
			if _, err := s.call(fxWrite, enc(nil).str(h).u64(o).str("xxxx")); err != nil {
				return fmt.Sprintf("write @%d: %v", o, err)
			}
		}
		for _, z := range []uint64{1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
			if r := s.st(fxFsetstat, enc(nil).str(h).u32(1).u64(z)); r == 999 {
				return "fsetstat size: lost"
			}
		}
		s.st(fxFsetstat, enc(nil).str(h).u32(1).u64(0))
		s.closeH(h)
		s.st(fxRemove, enc(nil).str(in+"/hf"))
		return ""
	})
	check("sftp: names: NUL, long, deep, raw bytes", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer func() { s.end() }()
		for _, n := range []string{strings.Repeat("n", 256), strings.Repeat("n", 4096), strings.Repeat("n", 65536), strings.Repeat("d/", 2500) + "x", strings.Repeat("/", 60000), strings.Repeat("../", 20000), strings.Repeat("./", 30000)} {
			for _, t := range []byte{fxStat, fxOpendir, fxRemove, fxRealpath, fxReadlink} {
				if _, err := s.call(t, enc(nil).str(in+"/"+n)); err != nil {
					s.end()
					if s, err = session(); err != nil {
						return err.Error()
					}
				}
			}
			if s.st(fxMkdir, enc(nil).str(in+"/"+n).noattr()) == 999 {
				s.end()
				if s, err = session(); err != nil {
					return err.Error()
				}
			}
		}
		if st, err := s.write(in+"/nul\x00tail", "x", oWrite|oCreat); err != nil {
			s.end()
			if s, err = session(); err != nil {
				return err.Error()
			}
		} else if st == stOK {
			if _, err := os.Stat(lin + "/nul"); err == nil {
				return "name cut at NUL"
			}
		}
		for _, n := range []string{"\xff\xfe\x80", "caf\xe9", "new\nline", "tab\tq\"uote", "\x1b[31mred", "ünï-日本-😀", "-rf", "*", "back\\slash", " lead", "trail ", "a:b", "~", "..."} {
			st, err := s.write(in+"/"+n, "x", oWrite|oCreat|oTrunc)
			if err != nil {
				return fmt.Sprintf("%q: %v", n, err)
			}
			if st != stOK {
				continue
			} // refusing is allowed, mangling is not
			if _, err := os.Lstat(lin + "/" + n); err != nil {
				return fmt.Sprintf("%q answered OK but is not on disk under that name", n)
			}
			x, _ := s.call(fxOpendir, enc(nil).str(in))
			found := false
			for {
				y, err := s.call(fxReaddir, enc(nil).str(x.str()))
				if err != nil || y.typ != fxName {
					break
				}
				for _, m := range y.names() {
					if m == n {
						found = true
					}
				}
			}
			s.closeH(x.str())
			if !found {
				return fmt.Sprintf("%q is not in the listing", n)
			}
			if r := s.st(fxRemove, enc(nil).str(in+"/"+n)); r != stOK {
				return fmt.Sprintf("%q cannot be removed (%d)", n, r)
			}
		}
		return ""
	})
	check("sftp: root and dot targets", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		for _, p := range []string{"/", ".", "..", "", "//", "/..", "/."} {
			s.st(fxRmdir, enc(nil).str(p))
			s.st(fxRemove, enc(nil).str(p))
			s.st(fxRename, enc(nil).str(p).str(in+"/root"))
			s.st(fxRename, enc(nil).str(in).str(p))
			s.st(fxMkdir, enc(nil).str(p).noattr())
		}
		s.st(fxRename, enc(nil).str(in).str(in+"/self"))
		s.st(fxRename, enc(nil).str(in).str(in))
		if _, err := os.Stat(lin); err != nil {
			return err.Error()
		}
		return ""
	})
	check("sftp: 6,000 random mutations", func() string {
		r := mrand.New(mrand.NewSource(42))
		keys := []byte{fxOpen, fxClose, fxRead, fxWrite, fxLstat, fxFstat, fxFsetstat, fxOpendir, fxReaddir, fxMkdir, fxRealpath, fxStat, fxRename, fxReadlink, fxSymlink, fxExtended}
		for c := 0; c < 60; c++ {
			cl := get()
			if cl == nil {
				return fmt.Sprintf("no connection at round %d", c)
			}
			var b []byte
			for i := 0; i < 100; i++ {
				t := keys[r.Intn(len(keys))]
				p := append(enc(nil).u8(t).u32(uint32(i)), ops[t]...)
				for k := r.Intn(4); k > 0; k-- {
					switch r.Intn(3) {
					case 0:
						p[5+r.Intn(len(p)-5)] ^= 1 << r.Intn(8)
					case 1:
						p[5+r.Intn(len(p)-5)] = byte(r.Intn(256))
					case 2:
						p = p[:5+r.Intn(len(p)-4)]
						if len(p) < 6 {
							p = append(p, 0)
						}
					}
				}
				b = append(b, frame(p)...)
			}
			if _, _, err := bare(cl, true, b, 300*time.Millisecond); err != nil && get() == nil {
				return fmt.Sprintf("round %d: %v", c, err)
			}
		}
		return ""
	})
	if shared != nil {
		shared.Close()
	}
}

func volume() {
	check("10,000 STATs pipelined, all answered", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		var b []byte
		const N = 10000
		for i := 1; i <= N; i++ {
			b = append(b, frame(append(enc(nil).u8(fxStat).u32(uint32(i)), enc(nil).str(in)...))...)
		}
		go s.sendBytes(b)
		seen := map[uint32]bool{}
		for len(seen) < N {
			x, err := s.wait(15 * time.Second)
			if err != nil {
				return fmt.Sprintf("%d of %d: %v", len(seen), N, err)
			}
			if seen[x.id] || x.typ != fxAttrs {
				return fmt.Sprintf("id %d type %d again or wrong", x.id, x.typ)
			}
			seen[x.id] = true
		}
		return ""
	})
	check("10,000 READs of 32 KiB, replies not taken for 5 s", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		s.write(in+"/big", strings.Repeat("B", 32000), oWrite|oCreat|oTrunc)
		h, st, _ := s.open(in+"/big", oRead)
		if st != stOK {
			return fmt.Sprint("open ", st)
		}
		cl, err := dial()
		if err != nil {
			return err.Error()
		}
		defer cl.Close()
		ch, q, err := cl.OpenChannel("session", nil)
		if err != nil {
			return err.Error()
		}
		go ssh.DiscardRequests(q)
		ch.SendRequest("subsystem", true, ssh.Marshal(struct{ N string }{"sftp"})) // nobody reads this channel: the window fills
		ch.Write(frame(enc(nil).u8(fxInit).u32(3)))
		ch.Write(frame(append(enc(nil).u8(fxOpen).u32(1), enc(nil).str(in+"/big").u32(1).noattr()...)))
		var b []byte
		const N = 10000
		for i := 1; i <= N; i++ {
			b = append(b, frame(append(enc(nil).u8(fxRead).u32(uint32(i)), enc(nil).str(h).u64(0).u32(32000)...))...)
		}
		done := make(chan error, 1)
		go func() { _, e := ch.Write(b); done <- e }()
		go s.sendBytes(b)
		time.Sleep(5 * time.Second)
		n := 0
		for n < N {
			x, err := s.wait(20 * time.Second)
			if err != nil {
				return fmt.Sprintf("%d of %d: %v", n, N, err)
			}
			if x.typ != fxData {
				return fmt.Sprintf("type %d", x.typ)
			}
			n++
		}
		return ""
	})
	check("6,000 open handles, then released", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		s.write(in+"/hf", "x", oWrite|oCreat)
		var hs []string
		refused := 0
		for i := 0; i < 6000; i++ {
			h, st, err := s.open(in+"/hf", oRead)
			if err != nil {
				s.end()
				s = nil
				refused = -1
				break
			}
			if st == stOK {
				hs = append(hs, h)
			} else {
				refused++
				if refused > 50 {
					break
				}
			}
		}
		if a := alive(); a != "" {
			return fmt.Sprintf("with %d handles held others cannot work: %s", len(hs), a)
		}
		if s == nil {
			return fmt.Sprintf("ok connection ended by the server after %d", len(hs))
		}
		for _, h := range hs {
			s.closeH(h)
		}
		if _, st, err := s.open(in+"/hf", oRead); err != nil || st != stOK {
			return fmt.Sprintf("cannot open after closing %d: %d %v", len(hs), st, err)
		}
		s.end()
		return fmt.Sprintf("ok %d held, %d refused", len(hs), refused)
	})
	check("300 sessions cut in the middle of a write", func() string {
		var wg sync.WaitGroup
		for w := 0; w < 6; w++ {
			wg.Add(1)
			go func(w int) {
				defer wg.Done()
				for i := 0; i < 50; i++ {
					c, err := net.Dial("tcp", cfg.addr)
					if err != nil {
						continue
					}
					cc, ch, rq, err := ssh.NewClientConn(c, cfg.addr, &ssh.ClientConfig{User: cfg.user, Auth: cfg.auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second})
					if err != nil {
						c.Close()
						continue
					}
					cl := ssh.NewClient(cc, ch, rq)
					if r, err := channel(cl); err == nil && r.init() == nil {
						if h, st, _ := r.open(fmt.Sprintf("%s/cut%d", in, w), oWrite|oCreat); st == stOK {
							r.send(fxWrite, enc(nil).str(h).u64(0).str(strings.Repeat("c", 30000)))
							r.sendBytes(enc(nil).u32(30000).u8(fxWrite))
						}
					}
					if i%2 == 0 {
						c.(*net.TCPConn).SetLinger(0)
					}
					c.Close()
					cl.Close()
				}
			}(w)
		}
		wg.Wait()
		return ""
	})
	check("directory of 5,000 names listed whole", func() string {
		for i := 0; i < 5000; i++ {
			if i == 0 {
				os.Mkdir(lin+"/many", 0o755)
			}
			f, err := os.Create(fmt.Sprintf("%s/many/%s-%d", lin, strings.Repeat("n", 200), i))
			if err != nil {
				return "n/a " + err.Error()
			}
			f.Close()
		}
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		x, err := s.call(fxOpendir, enc(nil).str(in+"/many"))
		if err != nil || x.typ != fxHandle {
			return fmt.Sprint("opendir ", x.typ, err)
		}
		n, big := map[string]bool{}, 0
		for {
			y, err := s.call(fxReaddir, enc(nil).str(x.str()))
			if err != nil {
				return err.Error()
			}
			if y.typ != fxName {
				break
			}
			if len(y.body)+5 > big {
				big = len(y.body) + 5
			}
			for _, m := range y.names() {
				if m != "." && m != ".." {
					if n[m] {
						return "twice: " + m[190:]
					}
					n[m] = true
				}
			}
		}
		if len(n) != 5000 {
			return fmt.Sprintf("%d names", len(n))
		}
		if big > 256*1024 {
			return fmt.Sprintf("a NAME reply of %d bytes (OpenSSH's client takes 262144)", big)
		}
		return fmt.Sprintf("ok largest reply %d bytes", big)
	})
}
