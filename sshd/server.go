// Package sshd serves files over SSH: it accepts connections, authenticates
// people against a directory, resolves what they may do, and runs the services
// they ask for: sftp, scp, passwd and a few short commands. There is no shell
// and no forwarding.
//
// A connection is one conn from accept to close: login (login.go) proves who
// it is and carries the policy, session (session.go) answers its channels,
// service (service.go) is the table of what can be run. Start at Server.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
)

// Resolver decides what a login may do. Resolve's errors wrap policy.ErrDenied.
// It is asked at every login and again for open sessions, so it may change its
// mind.
type Resolver interface {
	Resolve(policy.Request) (*policy.Policy, error)
}

// Server is an SSH server for files. All fields are set before Serve and not
// changed after. Serve may be called for several listeners at once.
type Server struct {
	Settings
	Directory directory.Directory
	Policy    Resolver
	Open      func(*policy.Policy) (fs.FS, error) // what a policy's files are
	HostKeys  []ssh.Signer                        // in order of preference
	Events    event.Sink
	Log       hclog.Logger
	Version   string // of this program, told to clients

	mu       sync.Mutex
	conns    map[*conn]struct{}
	running  sync.WaitGroup // connections
	draining bool
}

// ErrDraining is returned by Serve once Shutdown has been called.
var ErrDraining = errors.New("server is shutting down")

// Serve accepts connections until ctx ends or Shutdown is called, and then
// waits for those it accepted. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer s.running.Wait()
	defer l.Close()
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			// Out of file descriptors, most likely: those who are in go on, and
			// the next may come when one of them has left.
			s.Log.Error("accept a connection", "error", err)
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		s.accept(ctx, nc)
	}
}

// accept starts a goroutine for nc, or closes it when there is no room.
func (s *Server) accept(ctx context.Context, nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	full := s.MaxConnections > 0 && len(s.conns) >= s.MaxConnections
	if s.draining || full {
		draining := s.draining
		s.mu.Unlock()
		nc.Close()
		c.refuse(draining)
		return
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		defer s.forget(c)
		c.serve(ctx)
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// open returns the connections of this moment.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Sessions returns how many connections are open, logged in or not.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// quiet is how long a connection must have been without a request and an open
// file before a drain closes it: the pause between two files of one transfer.
const quiet = time.Second

// Shutdown refuses new connections, closes those that are not moving files,
// and gives the others until ctx ends. Listeners are the caller's to close, by
// the ctx of Serve. It returns nil when all ended by themselves.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	tick := time.NewTicker(quiet / 4)
	defer tick.Stop()
	for {
		conns := s.open()
		if len(conns) == 0 {
			return nil
		}
		for _, c := range conns {
			if !c.busy(time.Now()) {
				c.close("server is shutting down")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			conns = s.open()
			for _, c := range conns {
				c.close("server is shutting down")
			}
			if len(conns) == 0 {
				return nil
			}
			return fmt.Errorf("%d connections cut: %w", len(conns), ctx.Err())
		}
	}
}

// banner returns the text everyone sees before logging in.
func (s *Server) banner() string {
	if s.Banner == "" {
		return ""
	}
	text, err := os.ReadFile(s.Banner)
	if err != nil {
		s.Log.Warn("read the banner", "error", err)
	}
	return string(text)
}

// sleep waits for d and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
