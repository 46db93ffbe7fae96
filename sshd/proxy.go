package sshd

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerWait is how long a balancer may take to say who it speaks for.
const headerWait = 5 * time.Second

// Behind returns l with the PROXY protocol, versions 1 and 2, demanded of
// connections from the trusted networks: their RemoteAddr is the client's, as
// the balancer has it. A header from anywhere else is not looked at, and so is
// no SSH. Without trusted networks it returns l itself.
func Behind(l net.Listener, trusted []netip.Prefix) net.Listener {
	if len(trusted) == 0 {
		return l
	}
	return &proxyproto.Listener{
		Listener: l,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			from := addrPort(o.Upstream).Addr()
			if slices.ContainsFunc(trusted, func(n netip.Prefix) bool { return n.Contains(from) }) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
		ReadHeaderTimeout: headerWait,
	}
}

// addrPort is a TCP address, with IPv4 as itself; zero for any other kind.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
