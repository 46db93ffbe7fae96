package sshd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"berth/sshd/early"
)

// headerWait is how long a balancer may take to send the PROXY header.
const headerWait = 5 * time.Second

// Behind returns l with the PROXY protocol, versions 1 and 2. Connections from the
// trusted networks must send a header; their RemoteAddr is then that of the client.
// A header from any other address is ignored, so the connection fails as "not SSH".
// Without trusted networks Behind returns l itself.
func Behind(l net.Listener, trusted []netip.Prefix) net.Listener {
	if len(trusted) == 0 {
		return l
	}
	return &behind{l, trusted}
}

type behind struct {
	net.Listener
	trusted []netip.Prefix
}

// SetDeadline is that of the listener, which a TCP listener has.
func (b *behind) SetDeadline(t time.Time) error {
	if timed, ok := b.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		return timed.SetDeadline(t)
	}
	return errors.ErrUnsupported
}

func (b *behind) Accept() (net.Conn, error) {
	nc, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	from := addrPort(nc.RemoteAddr()).Addr().WithZone("")
	if !slices.ContainsFunc(b.trusted, func(n netip.Prefix) bool { return n.Contains(from) }) {
		return nc, nil
	}
	h := &heard{Conn: nc}
	return &proxied{proxyproto.NewConn(h, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(headerWait)), h}, nil
}

// A proxied connection comes from a balancer.
type proxied struct {
	*proxyproto.Conn
	heard *heard
}

// CloseWrite is that of the connection, which a TCP connection has.
func (p *proxied) CloseWrite() error {
	if half, ok := p.heard.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// heard records whether any byte has arrived.
type heard struct {
	net.Conn
	anything atomic.Bool
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.anything.Store(true)
	}
	return n, err
}

// errHeader means that a balancer sent something else than a valid header.
var errHeader = errors.New("no usable PROXY header")

// own waits for the header, and reports whether the connection is the
// balancer's own, as in health probes. The error is early.ErrProbe if it sent
// nothing.
func (p *proxied) own() (bool, error) {
	if h := p.ProxyHeader(); h != nil {
		return h.Command.IsLocal() || h.SourceAddr == nil, nil
	}
	_, err := p.Read(nil) // returns the error if there is no header
	if !p.heard.anything.Load() {
		return true, early.ErrProbe
	}
	return true, fmt.Errorf("%w: %w", errHeader, err)
}
