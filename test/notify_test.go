package test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNotify: systemd learns when the server can be reached, that it lives, when it reads
// its configuration again, which process has taken over, and that it is going to end.
func TestNotify(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	socket := filepath.Join(demo, "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	// hear waits for the next message with this beginning.
	hear := func(prefix string) string {
		t.Helper()
		buf := make([]byte, 4096)
		systemd.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			n, err := systemd.Read(buf)
			if err != nil {
				t.Fatalf("systemd does not hear %q: %v", prefix, err)
			}
			if text := string(buf[:n]); strings.HasPrefix(text, prefix) {
				return text
			}
		}
	}
	s, err := startServer("env", demo, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=900000", berth, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, demo) })
	if text := hear("READY=1\n"); !strings.Contains(text, "STATUS=listening on "+s.addr) {
		t.Errorf("systemd hears %q, want the address %s in it", text, s.addr)
	}
	hear("WATCHDOG=1")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if text := hear("RELOADING=1\n"); !strings.Contains(text, "\nMONOTONIC_USEC=") {
		t.Errorf("systemd hears %q, which Type=notify-reload cannot use", text)
	}
	hear("READY=1\n")
	if out, err := exec.Command(berth, "upgrade", "--config", file).CombinedOutput(); err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	next := pidIn(t, demo)
	if text, want := hear("MAINPID="), fmt.Sprintf("MAINPID=%d\nREADY=1", next); text != want {
		t.Errorf("systemd hears %q, want %q", text, want)
	}
	hear("WATCHDOG=1")
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1\n")
}
