package test

import (
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestClockJumps sets the clock of a server forward and back by hours, while a session
// is open, a file is being written and an address is kept out. Nothing of this ends or
// grows, logins work, and the chain of events is whole.
//
// The server is built with a changed runtime of Go, whose wall clock is off by a number
// of seconds in its memory: Go does not ask the C library, so faketime cannot do it.
func TestClockJumps(t *testing.T) {
	if !slices.Contains(strings.Split(os.Getenv("BERTH_PEERS"), ","), "clock") {
		t.Skip("this runs only when BERTH_PEERS names clock: all of Go is built anew")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the clock of Go's runtime is in assembly for each processor; this is for amd64")
	}
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	edit(t, file, "admin:", "admission: {exempt: [127.0.0.1/32], penalties: {login_failed: 5m}}\nadmin:")
	edit(t, file, "    uploads: atomic\n", "    uploads: atomic\n    limits: {session_time: 1h, idle: 30m}\n")
	program := filepath.Join(t.TempDir(), "berth")
	buildWithClock(t, program)
	s, err := startServer(program, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	clock := openClock(t, program, s.cmd.Process.Pid)

	client := aliceFiles(t, s.addr, demo)
	f, err := client.Create("long")
	if err != nil {
		t.Fatal(err)
	}
	wrong := func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: 20 * time.Second}
		nc, err := d.DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			return err
		}
		defer nc.Close()
		_, _, _, err = ssh.NewClientConn(nc, s.addr, &ssh.ClientConfig{User: "bob", Auth: []ssh.AuthMethod{ssh.Password("bob-wrong-1")}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		return err
	}
	if err := wrong(); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	left := keptOut(t, program, file)
	if left <= 0 || left > 5*time.Minute {
		t.Fatalf("127.0.0.9 is kept out for %v, want up to 5m", left)
	}
	record := filepath.Join(demo, "events.jsonl")
	for i, jump := range []time.Duration{7 * time.Hour, -9 * time.Hour, 0} { // from the true time
		clock.set(jump)
		if _, err := f.Write([]byte(fmt.Sprintln("block", i))); err != nil {
			t.Errorf("%v: write: %v", jump, err)
		}
		hour := func() string { return `{"time":"` + time.Now().Add(jump).UTC().Format("2006-01-02T15") }
		before := hour()
		again, err := dialAlice(s.addr, demo)
		if err != nil {
			t.Errorf("%v: a login: %v", jump, err)
		} else {
			again.Close()
		}
		if now := keptOut(t, program, file); now <= 0 || now > left {
			t.Errorf("%v: 127.0.0.9 is kept out for %v, before it was %v", jump, now, left)
		} else {
			left = now
		}
		if err := wrong(); err == nil || !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%v: an address that is kept out: %v, want a closed connection", jump, err)
		}
		if body, _, err := httpGet(t.Context(), "http://"+s.admin+"/readyz"); err != nil || !strings.HasPrefix(body, "ready") {
			t.Errorf("%v: %q, %v; want it ready", jump, body, err)
		}
		eventually(t, "an event that begins "+before, func() bool {
			text := readFile(t, record)
			return strings.Contains(text, before) || strings.Contains(text, hour()) // the hour may have ended
		})
	}
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if r, err := client.Open("long"); err != nil {
		t.Error(err)
	} else if text, err := io.ReadAll(r); err != nil || string(text) != "block 0\nblock 1\nblock 2\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
	verify := exec.Command(program, "events", "verify", record, "--key", filepath.Join(demo, "ssh_host_ed25519_key.pub"))
	if out, err := verify.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "intact: ") {
		t.Errorf("the chain of events: %v\n%s", err, out)
	}
}

// keptOut is for how long the server keeps an address out; 0 if it keeps none.
func keptOut(t *testing.T, program, file string) time.Duration {
	t.Helper()
	out, err := exec.Command(program, "penalties", "--json", "--config", file).Output()
	if err != nil {
		t.Fatalf("berth penalties: %v\n%s", err, out)
	}
	var p struct {
		Source string
		Left   time.Duration `json:"left_ns"`
	}
	if err := json.Unmarshal(out, &p); len(out) > 0 && (err != nil || p.Source != "127.0.0.9/32") {
		t.Fatalf("%v: %s", err, out)
	}
	return p.Left
}

// clockVar is in seconds.
const clockVar = "jump"

// buildWithClock builds berth with a runtime whose wall clock is off by clockVar.
func buildWithClock(t *testing.T, program string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src, dir := filepath.Join(strings.TrimSpace(string(root)), "src/runtime"), t.TempDir()
	replaced := map[string]string{}
	for name, change := range map[string][2]string{
		"time_linux_amd64.s": {"time·now<ABIInternal>", "·trueNow<ABIInternal>"},
		"timeasm.go": {"func time_now() (sec int64, nsec int32, mono int64)\n", `func time_now() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = trueNow()
	return sec + ` + clockVar + `, nsec, mono
}

func trueNow() (sec int64, nsec int32, mono int64)

var ` + clockVar + ` int64 // is written by a test, into the memory of the process
`},
	} {
		text := readFile(t, filepath.Join(src, name))
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("runtime/%s has changed: look for where time.now is", name)
		}
		replaced[filepath.Join(src, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(text, change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "berth/cmd/berth")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A processClock is the variable in the memory of a server.
type processClock struct {
	t      *testing.T
	memory *os.File
	at     int64
}

func openClock(t *testing.T, program string, pid int) *processClock {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "runtime."+clockVar })
	if i < 0 || f.Type != elf.ET_EXEC {
		t.Fatalf("%s has no runtime.%s at a fixed address", program, clockVar)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	return &processClock{t, memory, int64(symbols[i].Value)}
}

// set makes the server's clock differ from the true one.
func (c *processClock) set(d time.Duration) {
	c.t.Helper()
	if _, err := c.memory.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(d.Seconds()))), c.at); err != nil {
		c.t.Fatal(err)
	}
}
