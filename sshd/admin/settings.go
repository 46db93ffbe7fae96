package admin

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"berth/sshd/check"
)

// Settings says where operators' tools can ask.
type Settings struct {
	Listen      string `mapstructure:"listen"`       // address and port; empty: nowhere
	AllowRemote bool   `mapstructure:"allow_remote"` // listen on an address that other machines can reach; nothing here asks who they are
	Socket      string `mapstructure:"socket"`       // Unix socket for "berth sessions", "kick", "drain", "reload" and "penalties", which only the user of the server and root reach; empty: nowhere
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings { return Settings{Listen: "127.0.0.1:9022"} }

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	wrong.If(len(s.Socket) > longestSocket, "socket: %q: longer than the %d bytes that a Unix socket may have", s.Socket, longestSocket)
	err := s.checkListen()
	wrong.If(err != nil, "%w", err)
	return wrong
}

// longestSocket is the room in sockaddr_un of Linux, without the NUL at its end.
const longestSocket = 107

func (s *Settings) checkListen() error {
	if s.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q: must be an address and a port, such as 127.0.0.1:9022", s.Listen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("listen: %q: port %q must be a number from 0 to 65535", s.Listen, port)
	}
	if !s.AllowRemote && !loopback(host) {
		return fmt.Errorf("listen: %q: other machines could reach it: use %s, or set allow_remote: true if a firewall protects it", s.Listen, net.JoinHostPort("127.0.0.1", port))
	}
	return nil
}

// loopback reports whether host is certain to be this machine. The only name that is
// certain is localhost (RFC 6761 section 6.3).
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
