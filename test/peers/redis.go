package peers

import (
	"fmt"
	"net"
	"os/exec"
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
	p.ready = func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second))
		_, err = fmt.Fprint(c, "PING\r\n")
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // an error is an answer, too
		}
		return err
	}
	return &RedisServer{p.run(t, p.Start), "redis://" + addr}
}
