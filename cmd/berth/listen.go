package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/sshd"
	"berth/sshd/admin"
)

// running is what a server in service listens on.
type running struct {
	listeners []net.Listener
	sockets   []net.Listener // the TCP sockets of listeners, admin and console
	admin     net.Listener   // nil if there is none
	console   net.Listener   // nil if there is none
	socket    net.Listener   // nil if there is none
	aside     string         // the name of socket when another process has taken over
	people    *directories
}

// close closes what could be opened when something else could not.
func (r *running) close() {
	for _, l := range append(r.listeners, r.admin, r.console, r.socket) {
		if l != nil {
			l.Close()
		}
	}
}

// listen opens every port before anything is served.
func listen(cfg *config.Config, log hclog.Logger) (_ *running, err error) {
	r := &running{}
	inherited, err := inheritSockets()
	if err != nil {
		return nil, err
	}
	defer inherited.close()
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, a := range addresses(cfg) {
		l, err := inherited.listen(a.Network, a.Address)
		if err != nil {
			return nil, listenError(a, err)
		}
		r.sockets = append(r.sockets, l)
		switch a.Key {
		case "console.listen":
			r.console = l
		case "admin.listen":
			r.admin = l
		default:
			r.listeners = append(r.listeners, sshd.Behind(l, cfg.SSH.ProxyFrom))
		}
	}
	inherited.giveUp(log)
	return r, nil
}

// addresses returns where to serve SSH and HTTP.
func addresses(cfg *config.Config) []config.Address {
	all := cfg.Addresses()
	if cfg.Console.Listen != "" {
		all = append(all, config.Address{Key: "console.listen", Network: "tcp", Address: cfg.Console.Listen})
	}
	if cfg.Admin.Listen != "" {
		all = append(all, config.Address{Key: "admin.listen", Network: "tcp", Address: cfg.Admin.Listen})
	}
	return all
}

// listenError names the key of an address that cannot be listened on, the cause, and
// what would be right.
func listenError(a config.Address, err error) error {
	var cause syscall.Errno
	if !errors.As(err, &cause) {
		return fmt.Errorf("%s: %s: %w", a.Key, a.Address, err)
	}
	remedy := map[syscall.Errno]string{
		syscall.EADDRINUSE:    `: another program listens there, and "ss -ltnp" shows which`,
		syscall.EADDRNOTAVAIL: `: this machine has another address: "ip address" shows all`,
		syscall.EACCES:        ": ports below 1024 are for root, or need CAP_NET_BIND_SERVICE",
	}[cause]
	return fmt.Errorf("%s: %s: %w%s", a.Key, a.Address, cause, remedy)
}

// openSocket listens for operators.
func (r *running) openSocket(path string) (err error) {
	if path == "" {
		return nil
	}
	if r.socket, err = admin.ListenSocket(path); err != nil {
		r.close()
		return fmt.Errorf("admin.socket: %w", err)
	}
	return nil
}

// stepAside gives up for another process what only one process can have, the name of
// the socket for operators and the pid file, until back is called.
func (r *running) stepAside(path string, pid *pidFile) (back func(), err error) {
	if r.socket != nil {
		if r.aside, err = admin.StepAside(r.socket, path); err != nil {
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
	}
	pid.yield()
	return func() {
		if r.socket != nil {
			_ = admin.StepBack(r.socket, r.aside, path) // otherwise its name stays aside
			r.aside = ""
		}
		pid.write()
	}, nil
}

// removeAside removes the name that the socket has had since another process took over.
func (r *running) removeAside() {
	if r.aside != "" {
		os.Remove(r.aside)
	}
}

// status is the line of the supervisor about a server that serves.
func (r *running) status() string {
	var addresses []string
	for _, l := range r.listeners {
		addresses = append(addresses, l.Addr().String())
	}
	return "listening on " + strings.Join(addresses, ", ")
}
