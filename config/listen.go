package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// An Address is where to listen, as net.Listen takes it, and the key that says so.
type Address struct{ Key, Network, Address string }

// Addresses returns where to serve SSH. "0.0.0.0:22" is IPv4 only. "[::]:22" is
// IPv6 and IPv4, unless an IPv4 address with this port is listed beside it.
func (cfg *Config) Addresses() []Address {
	all := make([]Address, len(cfg.Listen))
	v4 := map[string]bool{} // ports
	for i, address := range cfg.Listen {
		all[i] = Address{"listen", "tcp", address}
		host, port, _ := net.SplitHostPort(address)
		if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().Is4() {
			all[i].Network, v4[port] = "tcp4", true
		}
	}
	for i, address := range cfg.Listen {
		if host, port, _ := net.SplitHostPort(address); host == "::" && v4[port] {
			all[i].Network = "tcp6"
		}
	}
	return all
}

// checkListen finds addresses that are wrong on every machine.
func (cfg *Config) checkListen() []error {
	if len(cfg.Listen) == 0 {
		return []error{errors.New("listen: missing: must name at least one address, such as :22")}
	}
	var errs []error
	type place struct {
		key, host string
		port      int
	}
	var taken []place
	add := func(key, address string) {
		host, name, err := net.SplitHostPort(address)
		if err != nil || name == "" {
			errs = append(errs, fmt.Errorf("%s: %q: must be host:port or :port, such as 127.0.0.1:2022", key, address))
			return
		}
		port, err := net.LookupPort("tcp", name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %q: the port must be a number from 0 to 65535", key, address))
			return
		}
		for _, t := range taken {
			if port != 0 && port == t.port && overlap(host, t.host) {
				errs = append(errs, fmt.Errorf("%s: %q: %s has this port already: one of them is enough", key, address, t.key))
				return
			}
		}
		taken = append(taken, place{key, host, port})
	}
	for i, address := range cfg.Listen {
		add(fmt.Sprintf("listen[%d]", i), address)
	}
	if cfg.Admin.Listen != "" && len(cfg.Admin.Check()) == 0 {
		add("admin.listen", cfg.Admin.Listen)
	}
	if cfg.Console.Listen != "" && len(cfg.Console.Check()) == 0 {
		add("console.listen", cfg.Console.Listen)
	}
	return errs
}

// overlap reports whether a server cannot listen on both hosts with the same port. An
// empty host is every address, "0.0.0.0" every one of IPv4, and "::" every one of IPv6.
func overlap(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	x, y = x.Unmap(), y.Unmap()
	switch {
	case a == "" || b == "":
		return true
	case cmp.Or(errX, errY) != nil:
		return a == b // a name is not looked up here
	case x.Is4() != y.Is4():
		return false
	}
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}
