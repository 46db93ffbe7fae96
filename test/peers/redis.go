package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A RedisServer is a Redis for the time of a test.
type RedisServer struct {
	*Peer
	URL string
}

// Redis starts a Redis that keeps nothing on disk, with more arguments. The port stays
// the same when it is killed and started again.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	Need(t, "redis")
	server, err := lookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	port, err := FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	p := &Peer{Name: "redis", Dir: t.TempDir()}
	p.command = func() *exec.Cmd {
		return exec.Command(server, append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", p.Dir}, args...)...)
	}
	p.ready = func() error { return ping(addr) }
	return &RedisServer{p.run(t, p.Start), "redis://" + addr}
}

// Sentinel starts a sentinel that watches r, under the name berth, and makes a replica
// the master soon after r is gone.
func (r *RedisServer) Sentinel(t testing.TB) *RedisServer {
	t.Helper()
	server, err := lookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	port, err := FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{Name: "sentinel", Dir: t.TempDir()}
	host, masterPort, _ := net.SplitHostPort(strings.TrimPrefix(r.URL, "redis://"))
	config := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor berth %s %s 1\nsentinel down-after-milliseconds berth 300\nsentinel failover-timeout berth 2000\n", port, host, masterPort)
	file := filepath.Join(p.Dir, "sentinel.conf") // which the sentinel writes, too
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	p.command = func() *exec.Cmd { return exec.Command(server, file, "--sentinel") }
	p.ready = func() error { return ping(addr) }
	return &RedisServer{p.run(t, p.Start), "redis://" + addr}
}

// ping asks a Redis or a sentinel. An error is an answer, too.
func ping(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err = fmt.Fprint(c, "PING\r\n"); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err
}
