package test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// TestUpgrade replaces a server while OpenSSH's clients transfer files, and others
// connect all the time: no transfer breaks, no connection is refused, and the sessions
// of the process before end with it. A new build with a broken configuration changes
// nothing.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	edit(t, file, "    uploads: atomic\n", "") // bob writes into place, and
	const finance = "    when: {groups: [finance]}\n"
	edit(t, file, finance, finance+"    uploads: atomic\n") // alice beside the target
	edit(t, file, "admin:", "admission: {exempt: [127.0.0.0/8], max_startups: {begin: 500, rate: 100, full: 500}}\nadmin:")
	addBobsKey(t, demo)
	program, newer := filepath.Join(demo, "berth"), filepath.Join(demo, "newer")
	build(t, program, "0.1.0-test")
	build(t, newer, "0.2.0-test")
	s, err := startServer(program, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, demo) })
	operate := func(args ...string) (string, error) {
		out, err := exec.Command(program, append(args, "--config", file)...).CombinedOutput()
		return string(out), err
	}

	each, last := 3, 20*time.Second // the upgrade must be over before the first of them
	if os.Getenv("BERTH_PEERS") != "" {
		each, last = 50, time.Minute
	}
	running := startTransfers(t, s.addr, demo, each, last)
	stop := make(chan struct{})
	var knocks, refused atomic.Int32
	var knocking sync.WaitGroup
	for range 2 {
		knocking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := dialAlice(s.addr, demo)
				if err != nil {
					refused.Add(1)
					t.Errorf("a new connection: %v", err)
					return
				}
				conn.Close()
				knocks.Add(1)
			}
		})
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("ssh: {idle: never}\n"), good...), 0o600); err != nil {
		t.Fatal(err)
	}
	// The commands need a configuration, too, so the signal has to do.
	if err := s.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	recorded(t, demo, `"type":"upgrade_failed".*idle`)
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if pid := pidIn(t, demo); pid != s.cmd.Process.Pid {
		t.Errorf("after an upgrade that failed the pid file has %d, want %d", pid, s.cmd.Process.Pid)
	}

	if err := os.Rename(newer, program); err != nil { // as a package manager does
		t.Fatal(err)
	}
	out, err := operate("upgrade")
	if err != nil || !strings.Contains(out, "berth 0.2.0-test, serves now") {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	next := pidIn(t, demo)
	if next == s.cmd.Process.Pid || !strings.Contains(out, fmt.Sprintf("process %d,", next)) {
		t.Errorf("the pid file has %d after %q", next, out)
	}
	if out, err := operate("sessions"); err != nil || strings.Count(out, "OpenSSH") < 4*each {
		t.Errorf("sessions of both processes: %v\n%s", err, out)
	}
	before := knocks.Load()
	running.wait(t)
	close(stop)
	knocking.Wait()
	if knocks.Load() == before || refused.Load() > 0 {
		t.Errorf("%d connections before the upgrade, %d after it, %d refused", before, knocks.Load()-before, refused.Load())
	}
	// It has ended when nobody but this test, its parent, knows it any more.
	eventually(t, "the process before ends with its last session", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	recorded(t, demo, `"type":"server_stopped"`, `"last_stop":"upgrade"`, fmt.Sprintf(`"successor":"%d"`, next))
	if aside, _ := filepath.Glob(filepath.Join(demo, "*.sock.*")); len(aside) > 0 {
		t.Errorf("%v: left by the process before", aside)
	}
	verify := exec.Command(program, "events", "verify", filepath.Join(demo, "events.jsonl"), "--key", filepath.Join(demo, "ssh_host_ed25519_key.pub"))
	if out, err := verify.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "intact: ") {
		t.Errorf("the chain of events of both processes: %v\n%s", err, out)
	}
}

// TestUpgradeRemembers: the next process has the penalties of addresses and the wrong
// passwords of accounts.
func TestUpgradeRemembers(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	edit(t, file, "    kind: embedded\n", "    kind: embedded\n    shield: {threshold: 3}\n")
	edit(t, file, "admin:", "admission: {exempt: [127.0.0.1/32], penalties: {login_failed: 1m}}\nadmin:")
	s, err := startServer(plain, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, demo) })
	login := func(from, user, password string) error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
		nc, err := d.DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			return err
		}
		defer nc.Close()
		_, _, _, err = ssh.NewClientConn(nc, s.addr, &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		return err
	}
	for range 2 {
		if err := login("127.0.0.1", "bob", "bob-wrong-1"); err == nil {
			t.Fatal("a wrong password was accepted")
		}
	}
	if err := login("127.0.0.9", "bob", "bob-wrong-1"); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	out, err := exec.Command(plain, "upgrade", "--config", file).CombinedOutput()
	if err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	record := filepath.Join(demo, "events.jsonl")
	before := strings.Count(readFile(t, record), `"type":"login_shielded"`)
	if err := login("127.0.0.1", "bob", "bob-demo-1"); err == nil {
		t.Error("the next process has forgotten the wrong passwords of bob")
	}
	if err := login("127.0.0.1", "carol", "carol-demo-1"); err != nil {
		t.Errorf("carol, who did nothing: %v", err)
	}
	if err := login("127.0.0.9", "carol", "carol-demo-1"); err == nil {
		t.Error("the next process has forgotten the penalty of 127.0.0.9")
	}
	eventually(t, "events of both", func() bool {
		text := readFile(t, record)
		return strings.Count(text, `"type":"login_shielded"`) > before && strings.Contains(text, `"reason":"source_penalized"`)
	})
}

// TestReloadAfterUpgrade: a reload reaches the sessions that are still with the process
// before, too, whether an operator or a signal asks for it.
func TestReloadAfterUpgrade(t *testing.T) {
	t.Parallel()
	for name, reload := range map[string]func(t *testing.T, demo, file string){
		"command": func(t *testing.T, _, file string) {
			if out, err := exec.Command(plain, "reload", "--config", file).CombinedOutput(); err != nil {
				t.Fatalf("reload: %v\n%s", err, out)
			}
		},
		"signal": func(t *testing.T, demo, _ string) {
			if err := syscall.Kill(pidIn(t, demo), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			demo := filepath.Join(t.TempDir(), "demo")
			file := atomicDemo(t, demo)
			s, err := startServer(plain, demo, "serve", "--config", file)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.stop)
			t.Cleanup(func() { endSuccessor(t, demo) })
			conn, err := dialAlice(s.addr, demo)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if out, err := exec.Command(plain, "upgrade", "--config", file).CombinedOutput(); err != nil {
				t.Fatalf("upgrade: %v\n%s", err, out)
			}
			edit(t, file, "rules:\n", "rules:\n  - {name: nobody, when: {users: [alice]}, deny: true}\n")
			reload(t, demo, file)
			ended := make(chan error, 1)
			go func() { ended <- conn.Wait() }()
			select {
			case <-ended:
			case <-time.After(20 * time.Second): // the process before reviews sessions each minute, with its rules
				t.Error("a session of somebody whom the new rules deny goes on")
			}
		})
	}
}

// TestUpgradeCountsBoth: limits of sessions and quotas hold for the process before and the
// next one together. What ends or is removed in one is free in the other.
func TestUpgradeCountsBoth(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	edit(t, file, "groups: [staff]}\n", "groups: [staff]}\n    limits: {sessions: 2, quota: 1MiB}\n")
	s, err := startServer(plain, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, demo) })
	login := func() (*sftp.Client, error) {
		conn, err := dialAlice(s.addr, demo)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		files, err := sftp.NewClient(conn)
		if err != nil {
			t.Fatal(err)
		}
		go func() { // a session is a connection
			files.Wait()
			conn.Close()
		}()
		return files, nil
	}
	put := func(c *sftp.Client, name string, kib int) error {
		f, err := c.Create(name)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, kib<<10))
		return errors.Join(err, f.Close())
	}
	old, err := login()
	if err != nil {
		t.Fatal(err)
	}
	if err := put(old, "/a", 200); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(plain, "upgrade", "--config", file).CombinedOutput(); err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	next, err := login()
	if err != nil {
		t.Fatalf("the second session of two: %v", err)
	}
	if c, err := login(); err == nil {
		c.Close()
		t.Error("a third session of two, because the process before has one of them")
	}
	if err := put(old, "/b", 600); err != nil {
		t.Fatal(err)
	}
	// 1024 - 200 - 600 KiB are free, for both.
	eventually(t, "the next process knows what the one before has written", func() bool {
		err := put(next, "/c", 300)
		_ = next.Remove("/c")
		return err != nil
	})
	if err := put(next, "/d", 200); err != nil {
		t.Errorf("200 KiB in 224: %v", err)
	}
	eventually(t, "the process before knows what the next one has written", func() bool {
		err := put(old, "/e", 100)
		_ = old.Remove("/e")
		return err != nil
	})
	old.Close()
	eventually(t, "a session that has ended in the process before is free", func() bool {
		_, err := login()
		return err == nil
	})
	if _, err := login(); err == nil {
		t.Error("a third session of two")
	}
}

// build builds the program with a version.
func build(t *testing.T, program, version string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-ldflags", "-X main.release="+version, "-o", program, "berth/cmd/berth")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func pidIn(t *testing.T, demo string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(demo, "berth.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// endSuccessor ends the server that has the pid file.
func endSuccessor(t *testing.T, demo string) {
	text, err := os.ReadFile(filepath.Join(demo, "berth.pid"))
	if err != nil {
		return // there is none
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		for range 300 {
			if syscall.Kill(pid, 0) != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("process %d does not end", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// transfers are clients that move files for some seconds.
type transfers struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (r *transfers) wait(t *testing.T) {
	t.Helper()
	r.all.Wait()
	for _, err := range r.errs {
		t.Error(err)
	}
}

// startTransfers starts so many downloads, uploads into place, uploads beside the
// target, and copies by scp, each slowed down by the client to last so long. It returns
// when all have begun.
func startTransfers(t *testing.T, addr, demo string, each int, last time.Duration) *transfers {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	dir := t.TempDir()
	data := make([]byte, 2<<20)
	rand.Read(data)
	local := filepath.Join(dir, "data")
	if err := os.WriteFile(local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	limit := fmt.Sprint(int(float64(len(data)) * 8 / 1000 / last.Seconds())) // Kbit/s
	options := []string{"-F", "none", "-i", filepath.Join(demo, "keys/alice"), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + os.DevNull, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-P", port, "-l", limit}
	r := &transfers{}
	run := func(what string, i int, stdin, result string, program string, args ...string) {
		cmd := exec.Command(program, append(append([]string{}, options...), args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		r.all.Go(func() {
			out, err := cmd.CombinedOutput()
			if err == nil && result != "" {
				var got []byte
				if got, err = os.ReadFile(result); err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("%d of %d bytes arrived, or others", len(got), len(data))
				}
			}
			if err != nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.errs = append(r.errs, fmt.Errorf("%s %d: %w: %s", what, i, err, out))
			}
		})
	}
	if err := os.WriteFile(filepath.Join(demo, "shared", "big"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range each {
		down, copied := filepath.Join(dir, fmt.Sprint("down", i)), filepath.Join(dir, fmt.Sprint("copied", i))
		run("get", i, "get /shared/big "+down+"\n", down, "sftp", "-b", "-", "alice@"+host)
		run("scp", i, "", copied, "scp", "-O", "alice@"+host+":/shared/big", copied)
		for who, where := range map[string]string{"alice": "finance", "bob": "home/bob"} {
			name := fmt.Sprint("up", i)
			run("put of "+who, i, "put "+local+" "+strings.TrimPrefix("/"+where+"/", "/home/bob")+name+"\n", filepath.Join(demo, where, name), "sftp", "-b", "-", who+"@"+host)
		}
	}
	for end := time.Now().Add(last); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command(plain, "sessions", "--config", filepath.Join(demo, "berth.yaml")).Output()
		if err == nil && strings.Count(string(out), "OpenSSH") >= 4*each {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("after %v not all clients have begun: %v\n%s", last, err, out)
		}
	}
}

// addBobsKey has bob log in with alice's key, too.
func addBobsKey(t *testing.T, demo string) {
	t.Helper()
	public, err := exec.Command("ssh-keygen", "-y", "-f", filepath.Join(demo, "keys/alice")).Output()
	if err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(demo, "people.ldif"), "uid: bob\n", "uid: bob\nobjectClass: ldapPublicKey\nsshPublicKey: "+string(bytes.TrimSpace(public))+"\n")
}
