package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/crypto/ssh"
)

var (
	token, in, lin string
	out            []string
	base           map[string]string
)

func owner(fi fs.FileInfo) (int, int) { s := fi.Sys().(*syscall.Stat_t); return int(s.Uid), int(s.Gid) }

// snapshot of everything outside that must not change
func snapshot() map[string]string {
	m := map[string]string{}
	for _, o := range out {
		filepath.Walk(o, func(p string, fi fs.FileInfo, err error) error {
			if err != nil {
				return nil
			}
			s := fi.Sys().(*syscall.Stat_t)
			c := ""
			if fi.Mode().IsRegular() {
				b, _ := os.ReadFile(p)
				c = string(b)
			}
			u := fmt.Sprint(s.Uid)
			mt := ""
			if !fi.IsDir() {
				mt = fi.ModTime().String()
			}
			m[p] = fmt.Sprint(fi.Mode(), u, s.Nlink, mt, c)
			return nil
		})
	}
	return m
}

func diffOutside() string {
	now := snapshot()
	var d []string
	for p, v := range base {
		if w, ok := now[p]; !ok {
			d = append(d, "removed "+p)
		} else if w != v {
			d = append(d, "changed "+p)
		}
	}
	for p := range now {
		if _, ok := base[p]; !ok {
			d = append(d, "created "+p)
		}
	}
	if len(d) > 6 {
		d = append(d[:6], "…")
	}
	return strings.Join(d, ", ")
}

// reset puts the outside back so that one hole does not fail every later check
func reset() {
	for _, o := range out {
		filepath.Walk(o, func(p string, fi fs.FileInfo, err error) error {
			if err == nil {
				if _, ok := base[p]; !ok {
					os.RemoveAll(p)
					if fi.IsDir() {
						return filepath.SkipDir
					}
				}
			}
			return nil
		})
		os.MkdirAll(filepath.Join(o, "d"), 0o777)
		os.Chmod(o, 0o777)
		p := filepath.Join(o, "secret")
		os.WriteFile(p, []byte(token+"\n"), 0o666)
		os.Chmod(p, 0o666)
	}
	base = snapshot()
}

func containment() {
	if cfg.jail == "" {
		check("containment (all)", func() string { return "n/a no JAIL_ROOT: the server is not chrooted" })
		return
	}
	up := strings.Repeat("../", 20)
	var bad []string
	for _, o := range out {
		bad = append(bad, o+"/secret", up+strings.TrimPrefix(o, "/")+"/secret", in+"/"+up+strings.TrimPrefix(o, "/")+"/secret",
			"/"+up+strings.TrimPrefix(o, "/")+"/secret", "//"+o+"/secret", "/./"+o+"/secret", "/proc/self/root"+o+"/secret",
			"/proc/1/root"+o+"/secret", "/proc/self/cwd/"+up+o+"/secret", "/dev/fd/../../../.."+o+"/secret",
			in+"/..\\..\\"+up+o+"/secret", in+"/%2e%2e/%2e%2e/"+o+"/secret", o+"/secret\x00", in+"/x\x00/"+up+o+"/secret")
	}
	bad = append(bad, "../"+filepath.Base(cfg.jail)+"-evil/secret", "/../"+filepath.Base(cfg.jail)+"-evil/secret", cfg.rdir+"/../../"+filepath.Base(cfg.jail)+"-evil/secret")
	pw := []string{"/etc/passwd", up + "etc/passwd", "/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/self/maps", "/proc/self/mem", "/dev/sda", "/dev/vda", "/etc/shadow", "/root/.ssh/id_rsa"}
	leak := func(b []byte) bool { return bytes.Contains(b, []byte(token)) || bytes.Contains(b, []byte("root:x:")) }
	insideExists := func(p string) bool { // a path that really exists under the jail is no leak
		_, err := os.Lstat(filepath.Join(cfg.jail, filepath.Clean("/"+strings.ReplaceAll(p, "\x00", ""))))
		return err == nil
	}
	check("traversal: read", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer func() { s.end() }()
		for _, p := range append(append([]string{}, bad...), pw...) {
			b, st, err := s.readAll(p)
			if err != nil {
				if s, err = session(); err != nil {
					return "no new session after " + fmt.Sprintf("%q", p)
				}
				continue
			}
			if leak(b) || (st == stOK && len(b) > 0 && !insideExists(p)) {
				return fmt.Sprintf("READ %q: %.60q", p, b)
			}
		}
		return ""
	})
	check("traversal: stat, lstat, opendir, readlink", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer func() { s.end() }()
		for _, p := range append(append([]string{}, bad...), pw...) {
			for _, t := range []byte{fxStat, fxLstat, fxOpendir, fxReadlink} {
				q := p
				if t == fxOpendir {
					q = strings.TrimSuffix(p, "/secret")
				}
				x, err := s.call(t, enc(nil).str(q))
				if err != nil {
					if s, err = session(); err != nil {
						return "dead after " + q
					}
					continue
				}
				if _, isSt := x.status(); !isSt && !insideExists(q) {
					return fmt.Sprintf("type %d on %q answered %d", t, q, x.typ)
				}
			}
		}
		return ""
	})
	check("traversal: create, mkdir, remove, rename, chmod", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer func() { s.end() }()
		s.write(in+"/mine", "x", oWrite|oCreat|oTrunc)
		for _, p := range bad {
			n := strings.Replace(p, "/secret", "/new", 1)
			s.write(n, "pwn", oWrite|oCreat|oTrunc)
			s.write(p, "pwn", oWrite)
			s.st(fxMkdir, enc(nil).str(n+"d").noattr())
			s.st(fxRemove, enc(nil).str(p))
			s.st(fxRmdir, enc(nil).str(strings.Replace(p, "/secret", "/d", 1)))
			s.st(fxRename, enc(nil).str(in+"/mine").str(n))
			s.st(fxRename, enc(nil).str(p).str(in+"/stolen"))
			s.st(fxSetstat, enc(nil).str(p).u32(4).u32(0o777|0o4000))
			s.st(fxSetstat, enc(nil).str(p).u32(1).u64(0))
			if s.st(fxRealpath, enc(nil).str(".")) == 999 {
				if s, err = session(); err != nil {
					return "dead after " + p
				}
			}
		}
		d := diffOutside()
		reset()
		if b, _ := os.ReadFile(lin + "/stolen"); leak(b) {
			return "STOLEN by rename; " + d
		}
		return d
	})
	check("realpath shows no real path", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		for _, p := range []string{".", "", "/", "..", up, in, "/proc/self/root"} {
			x, err := s.call(fxRealpath, enc(nil).str(p))
			if err != nil {
				return err.Error()
			}
			for _, n := range x.names() {
				if strings.HasPrefix(n, cfg.jail) || strings.Contains(n, "..") {
					return fmt.Sprintf("%q -> %q", p, n)
				}
			}
		}
		return ""
	})
	// OpenSSH-style argument order (target, link); the draft's order is tried too.
	type lk struct{ name, target string }
	var links []lk
	for i, o := range out {
		rel := up + strings.TrimPrefix(o, "/")
		links = append(links, lk{fmt.Sprintf("abs%d", i), o}, lk{fmt.Sprintf("rel%d", i), rel}, lk{fmt.Sprintf("proc%d", i), "/proc/self/root" + o})
	}
	links = append(links, lk{"root", "/"}, lk{"up1", ".."}, lk{"evil", "../../../" + filepath.Base(cfg.jail) + "-evil"})
	probe := func(s *raw, l string) string {
		for _, suf := range []string{"/secret", "", "/" + strings.TrimPrefix(out[0], "/") + "/secret", "/../secret", "/etc/passwd", "/d/../secret"} {
			if b, _, _ := s.readAll(l + suf); leak(b) {
				return "READ through " + l + suf
			}
		}
		for _, f := range []uint32{oWrite, oWrite | oTrunc, oWrite | oCreat, oWrite | oAppend} {
			s.write(l+"/secret", "pwn", f)
			s.write(l, "pwn", f)
		}
		s.write(l+"/new", "pwn", oWrite|oCreat)
		s.write(l+"/new2", "pwn", oWrite|oCreat|oExcl)
		s.st(fxMkdir, enc(nil).str(l+"/newd").noattr())
		s.st(fxSetstat, enc(nil).str(l+"/secret").u32(4).u32(0o600))
		s.st(fxSetstat, enc(nil).str(l).u32(4).u32(0o700))
		s.st(fxSetstat, enc(nil).str(l+"/secret").u32(8).u32(1).u32(1))
		s.st(fxSetstat, enc(nil).str(l+"/secret").u32(1).u64(0))
		s.st(fxSetstat, enc(nil).str(l).u32(8).u32(1).u32(1))
		s.st(fxRename, enc(nil).str(l+"/secret").str(in+"/stolen"))
		s.st(fxExtended, enc(nil).str("posix-rename@openssh.com").str(l+"/secret").str(in+"/stolen2"))
		s.write(in+"/mine", "x", oWrite|oCreat)
		s.st(fxExtended, enc(nil).str("posix-rename@openssh.com").str(in+"/mine").str(l+"/secret"))
		s.write(in+"/mine", "x", oWrite|oCreat)
		s.st(fxRename, enc(nil).str(in+"/mine").str(l+"/moved"))
		s.st(fxExtended, enc(nil).str("hardlink@openssh.com").str(l+"/secret").str(in+"/hard"))
		s.st(fxExtended, enc(nil).str("hardlink@openssh.com").str(l).str(in+"/hard2"))
		s.st(fxExtended, enc(nil).str("hardlink@openssh.com").str(in+"/mine").str(l+"/hard3"))
		s.st(fxExtended, enc(nil).str("lsetstat@openssh.com").str(l+"/secret").u32(4).u32(0o4777))
		s.st(fxSymlink, enc(nil).str("x").str(l+"/sl"))
		s.st(fxRemove, enc(nil).str(l+"/secret"))
		s.st(fxRmdir, enc(nil).str(l+"/d"))
		for _, f := range []string{"stolen", "stolen2", "hard", "hard2"} {
			if b, _, _ := s.readAll(in + "/" + f); leak(b) {
				return "got the secret as " + f + " through " + l
			}
			s.st(fxRemove, enc(nil).str(in+"/"+f))
		}
		if x, err := s.call(fxOpendir, enc(nil).str(l)); err == nil && x.typ == fxHandle {
			for {
				y, err := s.call(fxReaddir, enc(nil).str(x.str()))
				if err != nil || y.typ != fxName {
					break
				}
				for _, n := range y.names() {
					if n == "secret" {
						return "LISTED the outside through " + l
					}
				}
			}
		}
		return ""
	}
	for _, how := range []string{"made over SFTP", "planted on disk"} {
		check("symlinks out of the root, "+how, func() string {
			s, err := session()
			if err != nil {
				return err.Error()
			}
			defer func() { s.end() }()
			var bads []string
			for _, l := range links {
				name := "sl-" + l.name
				os.Remove(lin + "/" + name)
				if how == "planted on disk" {
					os.Symlink(l.target, lin+"/"+name)
					if fi, err := os.Stat(cfg.lroot); err == nil {
						u, g := owner(fi)
						os.Lchown(lin+"/"+name, u, g)
					}
				} else {
					s.st(fxSymlink, enc(nil).str(l.target).str(in+"/"+name))
				}
				if r := probe(s, in+"/"+name); r != "" {
					bads = append(bads, r)
				}
				if d := diffOutside(); d != "" {
					bads = append(bads, "through "+l.target+": "+d)
					reset()
				}
				if s.st(fxRealpath, enc(nil).str(".")) == 999 {
					if s, err = session(); err != nil {
						return "dead after link " + l.name
					}
				}
				os.Remove(lin + "/" + name)
			}
			if len(bads) > 4 {
				bads = append(bads[:4], "…")
			}
			return strings.Join(bads, "; ")
		})
	}
	check("hardlink to the outside", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		for i, p := range bad {
			if strings.ContainsRune(p, 0) {
				continue
			}
			s.st(fxExtended, enc(nil).str("hardlink@openssh.com").str(p).str(fmt.Sprintf("%s/hl%d", in, i)))
			if b, _, _ := s.readAll(fmt.Sprintf("%s/hl%d", in, i)); leak(b) {
				return "LINKED " + p
			}
		}
		return diffOutside()
	})
	check("symlink chains and loops", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		s.st(fxSymlink, enc(nil).str("loop").str(in+"/loop"))
		for i := 0; i < 60; i++ {
			s.st(fxSymlink, enc(nil).str(fmt.Sprintf("c%d", i+1)).str(fmt.Sprintf("%s/c%d", in, i)))
		}
		s.st(fxSymlink, enc(nil).str(up+out[0][1:]).str(in+"/c60"))
		for _, p := range []string{"/loop", "/loop/x", "/c0/secret", "/c40/secret"} {
			if b, _, err := s.readAll(in + p); err != nil {
				return err.Error()
			} else if leak(b) {
				return "READ " + p
			}
		}
		return ""
	})
	check("setuid and device bits not kept", func() string {
		s, err := session()
		if err != nil {
			return err.Error()
		}
		defer s.end()
		s.write(in+"/su", "x", oWrite|oCreat)
		s.st(fxSetstat, enc(nil).str(in+"/su").u32(4).u32(0o104755))
		fi, err := os.Stat(lin + "/su")
		if err != nil {
			return "n/a file not there: " + err.Error()
		}
		if fi.Mode()&os.ModeSetuid != 0 {
			if u, _ := owner(fi); u == 0 {
				return "setuid root file made"
			}
			return "ok setuid bit kept, but not for root"
		}
		return ""
	})
	scp()
	check("exec of anything else is refused", func() string {
		for _, c := range []string{"id", "sh -c id", "/bin/sh", "cat /etc/passwd", "scp", "scp -f", "scp; id", "scp -f /etc/passwd; id", "scp -f $(id)", "scp -S /bin/sh -f x", "scp -oProxyCommand=id -f x", "rsync --server .", "sftp-server", "", "passwd root", "passwd; id", "passwd\nid"} {
			o, err := execOut(c, nil)
			if err == errTimeout {
				continue
			}
			if leak(o) || bytes.Contains(o, []byte("uid=")) {
				return fmt.Sprintf("%q ran: %.50q", c, o)
			}
		}
		return ""
	})
	check("shell, pty, forwarding, agent refused", func() string {
		cl, err := dial()
		if err != nil {
			return err.Error()
		}
		defer cl.Close()
		var r []string
		if c, err := cl.Dial("tcp", cfg.addr); err == nil {
			b := make([]byte, 8)
			go func(k io.Closer) { time.Sleep(3 * time.Second); k.Close() }(c)
			if d, ok := c.(net_); ok {
				d.SetReadDeadline(time.Now().Add(2 * time.Second))
			}
			n, _ := c.Read(b)
			if n > 0 {
				r = append(r, "direct-tcpip works")
			}
			c.Close()
		}
		if l, err := cl.Listen("tcp", "127.0.0.1:0"); err == nil {
			r = append(r, "tcpip-forward works")
			l.Close()
		}
		if s, err := cl.NewSession(); err == nil {
			if s.Setenv("LD_PRELOAD", "/x") == nil {
				r = append(r, "LD_PRELOAD accepted")
			}
			s.Close()
		}
		if s, err := cl.NewSession(); err == nil {
			w, _ := s.StdinPipe()
			o, _ := s.StdoutPipe()
			if s.Shell() == nil {
				io.WriteString(w, "echo Q$((6*7))Q\n")
				b := make([]byte, 4096)
				d := time.AfterFunc(2*time.Second, func() { s.Close() })
				n, _ := o.Read(b)
				d.Stop()
				if bytes.Contains(b[:n], []byte("Q42Q")) {
					r = append(r, "a shell runs")
				}
			}
			s.Close()
		}
		return strings.Join(r, ", ")
	})
}

type net_ interface{ SetReadDeadline(time.Time) error }

func execOut(cmd string, stdin []byte) ([]byte, error) {
	cl, err := dial()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	s, err := cl.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var b bytes.Buffer
	s.Stdout = &b
	s.Stdin = bytes.NewReader(stdin)
	ch := make(chan error, 1)
	go func() { ch <- s.Run(cmd) }()
	select {
	case err = <-ch:
		return b.Bytes(), err
	case <-time.After(4 * time.Second):
		cl.Close()
		<-ch
		return b.Bytes(), errTimeout
	}
}

func scp() {
	works := false
	check("scp: plain upload works (control)", func() string {
		o, err := execOut("scp -t "+in, []byte("C0644 3 scpok\nabc\x00"))
		if b, _ := os.ReadFile(lin + "/scpok"); string(b) == "abc" {
			works = true
			return ""
		}
		return fmt.Sprintf("n/a server has no scp (%.40q %v)", o, err)
	})
	up := strings.Repeat("../", 20)
	check("scp: download of the outside", func() string {
		if !works {
			return "n/a no scp"
		}
		for _, o := range out {
			for _, p := range []string{o, up + o[1:], in + "/" + up + o[1:], "'" + o + "/../" + filepath.Base(o), "../" + filepath.Base(cfg.jail) + "-evil"} {
				for _, f := range []string{"-f", "-r -f", "-p -f", "-rpf"} {
					b, _ := execOut("scp "+f+" -- "+p+"/secret", bytes.Repeat([]byte{0}, 16))
					c, _ := execOut("scp "+f+" "+p, bytes.Repeat([]byte{0}, 64))
					if bytes.Contains(append(b, c...), []byte(token)) {
						return "READ " + f + " " + p
					}
				}
			}
		}
		return ""
	})
	check("scp: upload names and targets outside", func() string {
		if !works {
			return "n/a no scp"
		}
		for _, o := range out {
			for _, n := range []string{"../../.." + o + "/new", up + o[1:] + "/new", o + "/new", "..", ".", "", "a/b", "../x", "x\x00y"} {
				execOut("scp -t "+in, []byte("C0644 3 "+n+"\nabc\x00"))
				execOut("scp -r -t "+in, []byte("D0755 0 "+n+"\nC0644 3 new\nabc\x00E\n"))
			}
			execOut("scp -t "+o, []byte("C0644 3 new\nabc\x00"))
			execOut("scp -t "+up+o[1:], []byte("C0644 3 new\nabc\x00"))
			execOut("scp -r -t "+in, []byte("D0755 0 ..\nD0755 0 ..\nD0755 0 ..\nC0644 3 new\nabc\x00E\nE\nE\n"))
			execOut("scp -r -t "+in, []byte("D0755 0 a\nE\nE\nE\nE\nC0644 3 new\nabc\x00"))
			os.Symlink(o, lin+"/scpl")
			execOut("scp -t "+in+"/scpl", []byte("C0644 3 new\nabc\x00"))
			execOut("scp -r -t "+in, []byte("D0777 0 scpl\nC0644 3 new2\nabc\x00E\n"))
			os.Remove(lin + "/scpl")
		}
		d := diffOutside()
		if d != "" {
			reset()
		}
		if _, err := os.Stat(filepath.Dir(lin) + "/x"); err == nil {
			os.Remove(filepath.Dir(lin) + "/x")
			d += " name ../x left the target directory"
		}
		return d
	})
	check("scp: malformed control lines", func() string {
		if !works {
			return "n/a no scp"
		}
		for _, l := range []string{"C0644 99999999999999999999 x\n", "C0644 -1 x\n", "C9999 3 x\nabc\x00", "Cxxxx 3 x\n", "C0644\n", "\n", "\x01err\n", "\x02fatal\n", "T1 2 3\n", "T99999999999999999999 0 99999999999999999999 0\nC0644 1 t\nx\x00", "E\n", "Z\n", strings.Repeat("A", 200000), "C0644 9223372036854775807 big\nabc", "D0755 0 " + strings.Repeat("n", 70000) + "\n", strings.Repeat("D0755 0 d\n", 3000)} {
			execOut("scp -r -t "+in, []byte(l))
		}
		return ""
	})
}

// races: a directory is swapped for a link to the outside while other sessions work below it
func races() {
	if cfg.jail == "" {
		return
	}
	run := func(name string, swap func(stop chan bool)) {
		check(name, func() string {
			os.RemoveAll(lin + "/race")
			fi, _ := os.Stat(cfg.lroot)
			u, g := owner(fi)
			os.Mkdir(lin+"/race", 0o755)
			os.Chown(lin+"/race", u, g)
			os.Mkdir(lin+"/race/d", 0o777)
			os.Chmod(lin+"/race/d", 0o777)
			os.WriteFile(lin+"/race/d/secret", []byte("inside\n"), 0o666)
			os.Chmod(lin+"/race/d/secret", 0o666)
			os.Symlink(out[0], lin+"/race/l")
			os.Lchown(lin+"/race/l", u, g)
			os.Chown(lin+"/race/d", u, g)
			stop := make(chan bool)
			done := make(chan bool)
			go func() { swap(stop); close(done) }()
			res := make(chan string, 4)
			end := time.Now().Add(8 * time.Second)
			n := make([]int, 4)
			for w := 0; w < 4; w++ {
				go func(w int) {
					s, err := session()
					if err != nil {
						res <- err.Error()
						return
					}
					defer s.end()
					p := in + "/race/d"
					for i := 0; time.Now().Before(end) && i < 20000; i++ {
						n[w]++
						switch w {
						case 0:
							if b, _, _ := s.readAll(p + "/secret"); bytes.Contains(b, []byte(token)) {
								res <- fmt.Sprintf("READ the outside after %d tries", i)
								return
							}
						case 1:
							s.write(p+"/pwn", "x", oWrite|oCreat)
							s.st(fxRemove, enc(nil).str(p+"/pwn"))
						case 2:
							s.st(fxMkdir, enc(nil).str(p+"/pd").noattr())
							s.st(fxRmdir, enc(nil).str(p+"/pd"))
							s.st(fxSetstat, enc(nil).str(p+"/secret").u32(4).u32(0o640+uint32(i%2)))
						case 3:
							if x, err := s.call(fxStat, enc(nil).str(p+"/secret")); err == nil && x.typ == fxAttrs && bytes.Contains(x.body, []byte{0, 0, 0, 0, 0, 0, 0, byte(len(token) + 1)}) {
								res <- fmt.Sprintf("STAT of the outside after %d tries", i)
								return
							}
							s.st(fxRename, enc(nil).str(p+"/pwn").str(p+"/pwn2"))
							s.st(fxSymlink, enc(nil).str("x").str(p+"/psl"))
						}
					}
					res <- ""
				}(w)
			}
			var bads []string
			for w := 0; w < 4; w++ {
				if r := <-res; r != "" {
					bads = append(bads, r)
				}
			}
			close(stop)
			<-done
			if d := diffOutside(); d != "" {
				bads = append(bads, "WROTE outside: "+d)
				reset()
			}
			if len(bads) == 0 {
				return fmt.Sprintf("ok %v tries", n)
			}
			return strings.Join(bads, "; ")
		})
	}
	run("race: directory<->symlink swapped on disk", func(stop chan bool) {
		a, _ := syscall.BytePtrFromString(lin + "/race/d")
		b, _ := syscall.BytePtrFromString(lin + "/race/l")
		const atCwd = -100
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c := atCwd
			syscall.Syscall6(316, uintptr(c), uintptr(unsafe.Pointer(a)), uintptr(c), uintptr(unsafe.Pointer(b)), 2, 0) // renameat2 RENAME_EXCHANGE
			if i%64 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	run("race: directory<->symlink swapped over SFTP", func(stop chan bool) {
		s, err := session()
		if err != nil {
			<-stop
			return
		}
		defer s.end()
		r := in + "/race/"
		mv := func(a, b string) { s.st(fxRename, enc(nil).str(r+a).str(r+b)) }
		for {
			select {
			case <-stop:
				return
			default:
			}
			mv("d", "t")
			mv("l", "d")
			mv("d", "l")
			mv("t", "d")
		}
	})
}

var _ = ssh.Dial
