//go:build unix

package sshd

import (
	"net"
	"syscall"
	"testing"
)

// remembering is a listener that keeps what it has accepted.
type remembering struct {
	net.Listener
	accepted chan *net.TCPConn
}

func (r remembering) Accept() (net.Conn, error) {
	nc, err := r.Listener.Accept()
	if err == nil {
		r.accepted <- nc.(*net.TCPConn)
	}
	return nc, err
}

// TestTCPKeepAlive checks that the operating system probes a silent peer,
// because before the login nothing else does.
func TestTCPKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := remembering{l, make(chan *net.TCPConn, 1)}
	f := start(t)
	served := make(chan error, 1)
	go func() { served <- f.Serve(t.Context(), r) }()
	f.addr = l.Addr().String()
	c := f.must(t)
	raw, err := (<-r.accepted).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var on int
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		on, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	}); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	if on == 0 {
		t.Error("SO_KEEPALIVE is not set on a session's socket")
	}
	c.Close()
	l.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}
