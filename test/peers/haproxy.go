package peers

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// HAProxy starts a balancer with a configuration, which has it listen on addr.
func HAProxy(t testing.TB, addr, config string) *Peer {
	t.Helper()
	Need(t, "haproxy")
	program, err := lookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{Name: "haproxy", Dir: t.TempDir()}
	file := filepath.Join(p.Dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.command = func() *exec.Cmd { return exec.Command(program, "-db", "-f", file) }
	p.ready = func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
	return p.run(t, p.Start)
}
