package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// FreePort returns a port that nobody listens on at addr, over TCP or UDP. No other
// call returns it while this process runs, in any process. The system does not give
// it to anybody who asks for any port. So a server that has not started yet, or is
// killed and started again, finds it free.
func FreePort(addr string) (port string, err error) {
	const first, last = 10_000, 30_000 // below net.ipv4.ip_local_port_range
	for range 100 {
		port = strconv.Itoa(first + rand.IntN(last-first))
		if err = reserve(port); err != nil {
			continue
		}
		address := net.JoinHostPort(addr, port)
		var l net.Listener
		if l, err = net.Listen("tcp", address); err != nil {
			continue
		}
		l.Close()
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", address); err == nil {
			return port, pc.Close()
		}
	}
	return "", err
}

func freePort(t testing.TB) string {
	t.Helper()
	port, err := FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reserve fails if a process has reserved the port. A socket with a name keeps the
// others away, in this network namespace, until this process ends: nothing closes it.
func reserve(port string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@berth-test-port-" + port}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("reserve port %s: %w", port, err)
	}
	return nil
}
