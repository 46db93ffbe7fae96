// hostile: sends what no honest client would send to an SFTP/SCP server and reports whether anything outside
// the user's root could be read or changed, whether the server stayed up, and whether its memory stayed bounded.
// Configuration by environment; see README.md. Loopback only unless ALLOW_NON_LOOPBACK=1.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

type config struct {
	addr, user, pass, rdir, lroot, jail string
	auth                                []ssh.AuthMethod
	pids                                []int
	rssMB                               int
}

var (
	cfg             config
	pass, total, na int
	only            string
)

func env(k, d string) string {
	if v := os.Getenv(k); v != "" {
		return v
	}
	return d
}

// check runs f; it returns "" for ok, "n/a…" for not applicable, or what went wrong. A dead server fails any check.
func check(name string, f func() string) {
	if only != "" && !strings.Contains(name, only) {
		return
	}
	t0 := time.Now()
	ch := make(chan string, 1)
	go func() {
		defer func() {
			if e := recover(); e != nil {
				ch <- fmt.Sprint("tool panic: ", e)
			}
		}()
		ch <- f()
	}()
	var msg string
	select {
	case msg = <-ch:
	case <-time.After(90 * time.Second):
		msg = "hung for 90 s"
	}
	if !strings.HasPrefix(msg, "n/a") {
		if a := alive(); a != "" {
			msg = strings.TrimPrefix(msg+"; ", "; ") + "server not usable afterwards: " + a
		}
	}
	st := "ok  "
	switch {
	case strings.HasPrefix(msg, "n/a"):
		st = "n/a "
		na++
	case msg == "" || strings.HasPrefix(msg, "ok"):
		pass++
		total++
	default:
		st = "FAIL"
		total++
	}
	fmt.Printf("%s %s\n     %.2fs %s\n", st, name, time.Since(t0).Seconds(), msg)
}

func alive() string {
	for _, p := range cfg.pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", p)); err != nil {
			return fmt.Sprintf("process %d is gone", p)
		}
	}
	var last error
	for i := 0; i < 5; i++ {
		s, err := session()
		if err == nil {
			x, err := s.call(fxStat, enc(nil).str(cfg.rdir))
			s.end()
			if err == nil && x.typ == fxAttrs {
				return ""
			}
			last = fmt.Errorf("stat %s: type %d %v", cfg.rdir, x.typ, err)
		} else {
			last = err
		}
		time.Sleep(500 * time.Millisecond)
	}
	return last.Error()
}

// memory of the server's process tree (PSS, so that forked workers do not count shared pages twice)
func tree() []int {
	kids := map[int][]int{}
	ds, _ := os.ReadDir("/proc")
	for _, d := range ds {
		if p, err := strconv.Atoi(d.Name()); err == nil {
			b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
			if err != nil {
				continue
			}
			if i := bytes.LastIndexByte(b, ')'); i > 0 {
				f := strings.Fields(string(b[i+1:]))
				if len(f) > 1 {
					pp, _ := strconv.Atoi(f[1])
					kids[pp] = append(kids[pp], p)
				}
			}
		}
	}
	var out []int
	q := append([]int{}, cfg.pids...)
	for len(q) > 0 {
		p := q[0]
		q = append(q[1:], kids[p]...)
		out = append(out, p)
	}
	return out
}

func memMB() int {
	kb := 0
	for _, p := range tree() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		for _, l := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(l, "Pss:") {
				f := strings.Fields(l)
				n, _ := strconv.Atoi(f[1])
				kb += n
			}
		}
	}
	return kb / 1024
}

func fds() int {
	n := 0
	for _, p := range cfg.pids {
		d, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p))
		n += len(d)
	}
	return n
}

func main() {
	only = os.Getenv("ONLY")
	host := env("HOST", "127.0.0.1")
	if ip := net.ParseIP(host); (ip == nil || !ip.IsLoopback()) && host != "localhost" && os.Getenv("ALLOW_NON_LOOPBACK") != "1" {
		fmt.Println("HOST is not loopback")
		fmt.Println("0/0 passed")
		os.Exit(2)
	}
	cfg = config{
		addr: net.JoinHostPort(host, env("PORT", "22")), user: os.Getenv("SFTP_USER"), pass: os.Getenv("SFTP_PASS"),
		rdir: os.Getenv("REMOTE_DIR"), lroot: os.Getenv("LOCAL_ROOT"), jail: os.Getenv("LOCAL_ROOT"),
	}
	if b, err := os.ReadFile(os.Getenv("SFTP_KEY")); err == nil {
		if s, err := ssh.ParsePrivateKey(b); err == nil {
			cfg.auth = append(cfg.auth, ssh.PublicKeys(s))
		}
	}
	if cfg.pass != "" {
		cfg.auth = append(cfg.auth, ssh.Password(cfg.pass))
	}
	for _, s := range strings.FieldsFunc(os.Getenv("SERVER_PID"), func(r rune) bool { return r == ',' || r == ' ' }) {
		p, _ := strconv.Atoi(s)
		cfg.pids = append(cfg.pids, p)
	}
	cfg.rssMB, _ = strconv.Atoi(env("RSS_LIMIT_MB", "400"))
	if a := alive(); a != "" {
		fmt.Println("cannot use the server at all:", a)
		fmt.Println("0/1 passed")
		os.Exit(1)
	}

	// a private corner inside, and three places outside that only containment protects
	tok := make([]byte, 12)
	rand.Read(tok)
	token = "TOKEN-" + hex.EncodeToString(tok)
	sub := "hostile-" + hex.EncodeToString(tok[:4])
	in = strings.TrimSuffix(cfg.rdir, "/") + "/" + sub
	lin = filepath.Join(cfg.lroot, sub)
	fi, err := os.Stat(cfg.lroot)
	if err != nil {
		fmt.Println(err)
		fmt.Println("0/1 passed")
		os.Exit(1)
	}
	uid, gid := owner(fi)
	os.Mkdir(lin, 0o755)
	os.Chown(lin, uid, gid)
	if cfg.jail != "" {
		out = []string{filepath.Join(os.TempDir(), sub), strings.TrimSuffix(cfg.jail, "/") + "-evil"}
		for _, o := range out {
			os.MkdirAll(filepath.Join(o, "d"), 0o777)
			os.Chmod(o, 0o777)
			os.Chmod(filepath.Join(o, "d"), 0o777)
			p := filepath.Join(o, "secret")
			os.WriteFile(p, []byte(token+"\n"), 0o666)
			os.Chmod(p, 0o666)
		}
		base = snapshot()
	}
	m0, f0 := memMB(), fds()
	var peak int64
	stop := make(chan bool)
	if len(cfg.pids) > 0 {
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(250 * time.Millisecond):
				}
				if m := int64(memMB()); m > atomic.LoadInt64(&peak) {
					atomic.StoreInt64(&peak, m)
				}
			}
		}()
	}
	containment()
	races()
	sshLayer()
	protocol()
	volume()
	check("memory bounded", func() string {
		if len(cfg.pids) == 0 {
			return "n/a no SERVER_PID"
		}
		time.Sleep(2 * time.Second)
		p := int(atomic.LoadInt64(&peak))
		s := fmt.Sprintf("start %d MiB, peak %d, end %d (limit +%d)", m0, p, memMB(), cfg.rssMB)
		if p-m0 > cfg.rssMB {
			return s
		}
		return "ok " + s
	})
	check("no descriptors left behind", func() string {
		if len(cfg.pids) == 0 {
			return "n/a no SERVER_PID"
		}
		n := 0
		for i := 0; i < 20; i++ {
			if n = fds(); n <= f0+8 {
				return fmt.Sprintf("ok %d -> %d", f0, n)
			}
			time.Sleep(500 * time.Millisecond)
		}
		return fmt.Sprintf("%d -> %d", f0, n)
	})
	check("nothing outside was changed", func() string {
		if cfg.jail == "" {
			return "n/a no JAIL_ROOT"
		}
		return diffOutside()
	})
	close(stop)
	os.RemoveAll(lin)
	for _, o := range out {
		os.RemoveAll(o)
	}
	if na > 0 {
		fmt.Printf("(%d not applicable)\n", na)
	}
	fmt.Printf("%d/%d passed\n", pass, total)
	if pass != total {
		os.Exit(1)
	}
}
