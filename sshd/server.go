// Package sshd serves files over SSH: it accepts connections, authenticates
// people against a directory, resolves what they may do, and runs the services
// they ask for: sftp, scp, passwd and a few short commands. There is no shell
// and no forwarding.
//
// A connection is one conn from accept to close: package login decides who it is
// and what they may do, a session answers one of its channels, and service.go
// has the table of what a session can run. Start at Server.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
)

// Server is an SSH server for files. All fields are set before Serve and not
// changed after. Serve may be called for several listeners at once.
type Server struct {
	Settings
	Gate   *login.Gate                                      // who may log in, and stay
	Open   func(*policy.Policy, *fs.Pace) (*fs.View, error) // opens the files of a policy, at the pace of the session
	Events event.Sink
	Log    hclog.Logger

	// Refusing, if set, returns why no new work may begin now, or nil. The reason is that
	// events cannot be written, and the administrator wants no service without events.
	Refusing func() error

	budget   budget
	mu       sync.Mutex
	conns    map[*conn]struct{}
	running  sync.WaitGroup             // connections
	draining atomic.Pointer[time.Time]  // since when; nil: not
	loops    map[net.Listener]time.Time // when each Serve was last alive
	reviews  atomic.Int64               // how often all open sessions have been reviewed
}

// Serve accepts connections until ctx ends or Shutdown is called, and then
// waits for those it accepted. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.plan()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer s.running.Wait()
	defer l.Close()
	defer s.beat(l, false)
	timed, _ := l.(interface{ SetDeadline(time.Time) error })
	for {
		if timed != nil && timed.SetDeadline(time.Now().Add(beatEvery)) == nil {
			s.beat(l, true)
		}
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			// Most likely there are no file descriptors left. Open sessions continue, and
			// the next client can connect when one of them has ended.
			s.Log.Error("accept a connection", "error", err)
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		s.accept(ctx, nc)
	}
}

// beatEvery is the longest time after which Serve notes that it is alive.
const beatEvery = 2 * time.Second

// beat records that Serve is alive for l, or has ended. It locks mu, as accept does, so
// a deadlock is noticed.
func (s *Server) beat(l net.Listener, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loops[l] = time.Now(); !alive {
		delete(s.loops, l)
	}
}

// Alive reports whether every Serve was ready to accept connections within the last ten
// seconds. It blocks if the server is blocked.
func (s *Server) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.loops {
		if time.Since(seen) > 5*beatEvery {
			return false
		}
	}
	return true
}

// Bounds, in bytes, of one person and of all: for data that services have not read, and
// for the growth of windows.
const (
	maxUserUnread  = 96 << 20
	maxTotalUnread = 512 << 20
	maxUserWindow  = 64 << 20
	maxTotalWindow = 256 << 20
)

// plan sets the limits of the budget, and makes the maps for the first Serve.
func (s *Server) plan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns, s.loops = map[*conn]struct{}{}, map[net.Listener]time.Time{}
	}
	s.budget.perUser = holding{files: s.MaxUserFiles, channels: s.MaxUserChannels, unread: maxUserUnread, window: maxUserWindow}
	s.budget.total = holding{files: s.MaxFiles, unread: maxTotalUnread, window: maxTotalWindow}
}

// refusing returns why no new work may begin now.
func (s *Server) refusing() error {
	if s.Refusing == nil {
		return nil
	}
	return s.Refusing()
}

// accept starts a goroutine for nc, or closes it when there is no room.
func (s *Server) accept(ctx context.Context, nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason := s.full(); reason != (event.Reason{}) {
		nc.Close()
		c.emit(event.Event{Type: event.ConnectionRefused, Reason: reason})
		return
	}
	s.conns[c] = struct{}{}
	s.running.Go(func() {
		defer s.forget(c)
		c.serve(ctx)
	})
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// full returns why there is no room for one more connection. If there is, the Reason is
// zero.
func (s *Server) full() event.Reason {
	switch {
	case s.draining.Load() != nil:
		return event.ShuttingDown
	case s.MaxConnections > 0 && len(s.conns) >= s.MaxConnections:
		return event.TooManyConnections
	case s.refusing() != nil:
		return event.EventsLost
	}
	return event.Reason{}
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Bounds of a drain.
const (
	// quiet is how long a connection must have had no request and no open file before
	// it is closed. It is longer than the pause between two files of one transfer.
	quiet = time.Second
	// lastOpens is how long files can still be opened. Otherwise a client that moves one
	// file after another would be cut off within a file at the end.
	lastOpens = 5 * time.Second
)

// drained returns how long the server has been shutting down; 0: it is not.
func (s *Server) drained(now time.Time) time.Duration {
	since := s.draining.Load()
	if since == nil {
		return 0
	}
	return now.Sub(*since)
}

// Linger waits until all connections have ended by themselves, or ctx ends. Nothing
// changes for them; another process accepts the new ones.
func (s *Server) Linger(ctx context.Context) {
	for len(s.connections()) > 0 && sleep(ctx, quiet/4) {
	}
}

// Shutdown refuses new connections and closes those that move no files. The others
// may finish their present file until ctx ends. The caller closes the listeners.
// Shutdown returns nil if no transfer was cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	now := time.Now()
	s.draining.Store(&now)
	for {
		conns := s.connections()
		if len(conns) == 0 {
			return nil
		}
		for _, c := range conns {
			if !c.busy(time.Now()) {
				c.close(event.ShuttingDown)
			}
		}
		if sleep(ctx, quiet/4) {
			continue
		}
		for _, c := range conns {
			c.close(event.ShuttingDown)
		}
		return fmt.Errorf("connections cut off at the end of the drain: %d: %w", len(conns), ctx.Err())
	}
}

// sleep waits for d and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
