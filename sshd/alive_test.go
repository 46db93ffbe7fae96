package sshd

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// quietListener has no connections. It keeps to deadlines until it is stuck.
type quietListener struct {
	deadline time.Time
	stuck    atomic.Int64 // nanoseconds
	closed   chan struct{}
	once     sync.Once
}

func (l *quietListener) SetDeadline(t time.Time) error { l.deadline = t; return nil }
func (l *quietListener) Addr() net.Addr                { return &net.TCPAddr{} }
func (l *quietListener) Close() error                  { l.once.Do(func() { close(l.closed) }); return nil }

func (l *quietListener) Accept() (net.Conn, error) {
	select {
	case <-time.After(time.Until(l.deadline) + time.Duration(l.stuck.Load())):
		return nil, os.ErrDeadlineExceeded
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// TestAlive: a server is alive while each of its loops comes round, whether or not
// anybody connects, and while it has none.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &Server{Log: hclog.NewNullLogger()}
		good := &quietListener{closed: make(chan struct{})}
		bad := &quietListener{closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		for _, l := range []net.Listener{good, bad} {
			go func() {
				if err := srv.Serve(ctx, Behind(l, nil)); err != nil {
					t.Error(err)
				}
			}()
		}
		alive := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if srv.Alive() != want {
				t.Errorf("%s: alive is %t", when, !want)
			}
		}
		time.Sleep(time.Hour)
		alive("while nobody connects", true)
		bad.stuck.Store(int64(time.Minute))
		time.Sleep(20 * time.Second)
		alive("while one loop is stuck", false)
		bad.stuck.Store(0)
		time.Sleep(time.Minute)
		alive("when it goes on", true)
		cancel()
		time.Sleep(time.Hour)
		alive("at the end", true)
	})
}

// TestLinger: it ends with the last connection, or with its context.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &conn{}
		srv := &Server{conns: map[*conn]struct{}{c: {}}}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		srv.Linger(ctx)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("with a connection it took %v, want all the time there is", took)
		}
		time.AfterFunc(time.Minute, func() { srv.forget(c) })
		began = time.Now()
		srv.Linger(t.Context())
		if took := time.Since(began); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("it took %v, want until the connection ended after a minute", took)
		}
	})
}
