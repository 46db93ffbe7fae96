package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// HAProxy starts a balancer with a configuration, which has it listen on addr.
func HAProxy(t testing.TB, addr, config string) *Peer {
	t.Helper()
	Need(t, "haproxy")
	p := &Peer{Name: "haproxy", Dir: t.TempDir()}
	file := filepath.Join(p.Dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.command = func() *exec.Cmd { return command("haproxy", "-db", "-f", file) }
	p.ready = accepts(addr)
	return p.run(t, p.Start)
}
