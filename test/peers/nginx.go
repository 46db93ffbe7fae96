package peers

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
)

// Nginx starts a balancer on any port for servers with these addresses, to which it sends
// the PROXY protocol. It returns its address.
func Nginx(t testing.TB, servers ...string) (addr string) {
	t.Helper()
	Need(t, "nginx")
	p := &Peer{Name: "nginx", Dir: t.TempDir()}
	addr = net.JoinHostPort("127.0.0.1", freePort(t))
	file := filepath.Join(p.Dir, "nginx.conf")
	if err := write("nginx/nginx.conf", file, struct {
		Dir, Addr string
		Servers   []string
	}{p.Dir, addr, servers}); err != nil {
		t.Fatal(err)
	}
	p.command = func() *exec.Cmd { return command("nginx", "-c", file, "-e", "stderr") }
	p.ready = accepts(addr)
	p.run(t, p.Start)
	return addr
}
