package main

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/hashicorp/go-hclog"
)

// sockets are those that systemd, or the process before an upgrade, has opened for this
// one, as sd_listen_fds(3) passes them, and that are not used yet.
type sockets []net.Listener

func inheritSockets() (sockets, error) {
	var s sockets
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		f.Close()
		if _, tcp := l.(*net.TCPListener); err == nil && !tcp {
			err = fmt.Errorf("%s is not a TCP address", l.Addr())
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("use a socket that was passed (LISTEN_FDS): %w", err)
		}
		s = append(s, l)
	}
	return s, nil
}

// listen uses the passed socket for an address of the configuration, or opens it if none
// was passed. Port 0 is any port.
func (s *sockets) listen(network, address string) (net.Listener, error) {
	want, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(*s, func(l net.Listener) bool {
		is := l.Addr().(*net.TCPAddr)
		if want.Port != 0 && want.Port != is.Port {
			return false
		}
		if anywhere := want.IP == nil || want.IP.IsUnspecified(); anywhere {
			v4 := strings.HasSuffix(network, "4")
			return is.IP.IsUnspecified() && v4 == (is.IP.To4() != nil)
		}
		return want.IP.Equal(is.IP) && want.Zone == is.Zone
	})
	if i < 0 {
		return net.Listen(network, address)
	}
	l := (*s)[i]
	*s = slices.Delete(*s, i, i+1)
	return l, nil
}

// giveUp closes what no address of the configuration has asked for.
func (s *sockets) giveUp(log hclog.Logger) {
	for _, l := range *s {
		log.Warn("a socket that was passed is closed: it is for none of the listen addresses in the configuration", "address", l.Addr())
	}
	s.close()
}

func (s *sockets) close() {
	for _, l := range *s {
		l.Close()
	}
	*s = nil
}
