package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Nginx starts a balancer on any port for servers with these addresses, to which it sends
// the PROXY protocol. It returns its address.
func Nginx(t testing.TB, servers ...string) (addr string) {
	t.Helper()
	Need(t, "nginx")
	p := &Peer{Name: "nginx", Dir: t.TempDir()}
	addr = net.JoinHostPort("127.0.0.1", freePort(t))
	config := fmt.Sprintf(nginxConfig, p.Dir, strings.Join(servers, " max_fails=1;\n    server "), addr)
	file := filepath.Join(p.Dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.command = func() *exec.Cmd { return command("nginx", "-c", file, "-e", "stderr") }
	p.ready = accepts(addr)
	p.run(t, p.Start)
	return addr
}

const nginxConfig = `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
error_log stderr;
pid %s/pid;
events {}
stream {
  upstream sftp {
    server %s max_fails=1;
  }
  server {
    listen %s;
    proxy_pass sftp;
    proxy_protocol on;
    proxy_connect_timeout 2s;
    proxy_timeout 1h;
  }
}
`
