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
	port := freePort(t)
	return redis(t, t.TempDir(), "redis://", port, append([]string{"--port", port}, args...)...)
}

// RedisTLS is Redis with TLS only, for clients with a certificate. The folder tls holds
// ca.pem, and server.pem with server.key, which clients may use, too.
func RedisTLS(t testing.TB, args ...string) (r *RedisServer, tls string) {
	t.Helper()
	Need(t, "redis")
	port, dir := freePort(t), t.TempDir()
	if err := (filler{Dir: dir, now: time.Now()}).certificates(); err != nil {
		t.Fatal(err)
	}
	tls = filepath.Join(dir, "tls")
	return redis(t, dir, "rediss://", port, append([]string{
		"--port", "0", "--tls-port", port, "--tls-ca-cert-file", tls + "/ca.pem", "--tls-cert-file", tls + "/server.pem", "--tls-key-file", tls + "/server.key",
	}, args...)...), tls
}

// RedisCluster starts a cluster of three masters.
func RedisCluster(t testing.TB) (all []*RedisServer) {
	t.Helper()
	Need(t, "redis")
	create := []string{"--cluster-yes", "--cluster", "create"}
	for range 3 {
		port := freePort(t)
		all = append(all, redis(t, t.TempDir(), "redis://", port, "--port", port, "--cluster-enabled", "yes", "--cluster-port", freePort(t)))
		create = append(create, "127.0.0.1:"+port)
	}
	if out, err := exec.Command("redis-cli", create...).CombinedOutput(); err != nil {
		t.Fatalf("make a cluster: %v\n%s", err, out)
	}
	return all
}

func redis(t testing.TB, dir, scheme, port string, args ...string) *RedisServer {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", port)
	p := &Peer{Name: "redis", Dir: dir}
	p.command = func() *exec.Cmd {
		return command("redis-server", append([]string{"--bind", "127.0.0.1", "--save", "", "--dir", p.Dir}, args...)...)
	}
	p.ready = accepts(addr)
	if scheme == "redis://" {
		p.ready = func() error { return ping(addr) }
	}
	return &RedisServer{p.run(t, p.Start), scheme + addr}
}

// Sentinel starts a sentinel that watches r, under the name berth, and makes a replica
// the master soon after r is gone. More are lines of its configuration.
func (r *RedisServer) Sentinel(t testing.TB, more ...string) *RedisServer {
	t.Helper()
	port := freePort(t)
	p := &Peer{Name: "sentinel", Dir: t.TempDir()}
	host, masterPort, _ := net.SplitHostPort(strings.TrimPrefix(r.URL, "redis://"))
	config := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor berth %s %s 1\nsentinel down-after-milliseconds berth 300\nsentinel failover-timeout berth 2000\n", port, host, masterPort)
	file := filepath.Join(p.Dir, "sentinel.conf") // which the sentinel writes, too
	if err := os.WriteFile(file, []byte(config+strings.Join(more, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	p.command = func() *exec.Cmd { return command("redis-server", file, "--sentinel") }
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
