// Package embedded is an LDAP server in this process, filled from an LDIF file.
// It is for demonstrations, tests, small sites and accounts that must work when
// the real directory does not. Programs reach it as they reach any directory:
// with an LDAP client over TCP.
//
// # The file
//
// The LDIF file (RFC 2849) is the database. What changes (passwords, failed logins, locks,
// SSH keys) is written back to it before the client is told; comments stay, in
// front of the entry they stand at. Entries are added and removed by editing
// the file and calling Reload. A file that was edited and not yet reloaded is
// never overwritten.
//
// A userPassword may stand there in the clear, and is then hashed, or as {SSHA},
// {SSHA256}, {SSHA512}, {CRYPT} with $2b$, $5$ or $6$, {PBKDF2-SHA256} or
// {ARGON2}. What keeps people out has the names it has in OpenLDAP and 389 DS:
//
//	nsAccountLock: TRUE                  disabled
//	pwdReset: TRUE                       must choose a new password first
//	pwdAccountLockedTime: 000001010000Z  locked until the line is removed
//	pwdStartTime, pwdEndTime             good from and until, 20260131120000Z
//
// memberOf follows from the member and uniqueMember lines of groups.
//
// # The protocol
//
// It speaks LDAP version 3 (RFC 4511): simple bind, search with paged results
// (RFC 2696), compare, modify of keys and passwords, StartTLS, Who am I
// (RFC 4532), Password Modify (RFC 3062), and the password policy control of
// draft-behera-ldap-password-policy-10. It has no schema, no referrals and no
// replication. Start at Open.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"
)

// Settings say what a Server serves and to whom.
type Settings struct {
	LDIF   string // the file; it must exist
	Listen string // host:port; empty means 127.0.0.1:0, a free port

	// ServiceDN binds with ServicePassword. It may read everything but
	// passwords, change SSH keys, and change a password for a user whose old
	// one it knows. It need not be in the file. Empty: there is no such account.
	ServiceDN       string
	ServicePassword string

	// TLS makes the one port answer StartTLS and ldaps as well as LDAP. Without
	// it, and on connections that do not use it, only loopback clients can bind.
	TLS *tls.Config

	Policy Policy // for the passwords of users; zero means DefaultPolicy

	MaxConnections int           // zero means 256
	IdleTimeout    time.Duration // of a bound connection; zero means 30 minutes

	hashMemory uint32 // KiB; tests make it cheap
}

// A Server is a running directory. Its methods are safe for concurrent use.
type Server struct {
	policy  Policy
	service service
	tls     *tls.Config
	idle    time.Duration
	log     hclog.Logger

	store    *store
	listener net.Listener
	slots    *semaphore.Weighted // one a connection
	now      func() time.Time

	stop   context.CancelFunc
	served sync.WaitGroup // the accept loop and every connection
}

// Open reads the LDIF file, hashes the passwords that stand in it in the clear,
// and starts to serve. An error about the file says file:line and what would be
// right there. Call Close to end the server.
func Open(s Settings, log hclog.Logger) (*Server, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if s.Policy == (Policy{}) {
		s.Policy = DefaultPolicy()
	}
	if err := s.Policy.check(); err != nil {
		return nil, fmt.Errorf("password policy of the embedded directory: %w", err)
	}
	account, err := newService(s.ServiceDN, s.ServicePassword)
	if err != nil {
		return nil, fmt.Errorf("service account of the embedded directory: %w", err)
	}
	if s.hashMemory == 0 {
		s.hashMemory = argonMemory
	}
	h, err := newHasher(s.hashMemory)
	if err != nil {
		return nil, err
	}
	st, err := openStore(s.LDIF, s.Policy, h, log)
	if err != nil {
		return nil, err
	}
	if s.Listen == "" {
		s.Listen = "127.0.0.1:0"
	}
	ctx, stop := context.WithCancel(context.Background())
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		stop()
		return nil, fmt.Errorf("opening the embedded directory's port: %w", err)
	}
	if s.MaxConnections <= 0 {
		s.MaxConnections = 256
	}
	if s.IdleTimeout <= 0 {
		s.IdleTimeout = 30 * time.Minute
	}
	srv := &Server{
		policy: s.Policy, service: account, tls: s.TLS, idle: s.IdleTimeout, log: log,
		store: st, listener: l, slots: semaphore.NewWeighted(int64(s.MaxConnections)), now: time.Now, stop: stop,
	}
	log.Info("embedded directory ready", "url", srv.URL(), "base", srv.Base(), "entries", len(st.tree().entries))
	srv.served.Go(func() { srv.accept(ctx) })
	return srv, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is the server's address for an LDAP client: "ldap://127.0.0.1:40001".
// With TLS the same port answers ldaps too.
func (s *Server) URL() string { return "ldap://" + s.Addr().String() }

// Base is the DN below which all entries are.
func (s *Server) Base() string { return s.store.tree().base.String() }

// Reload reads the LDIF file again. On an error, which says file:line, the
// server goes on with what it had.
func (s *Server) Reload() error {
	if err := s.store.reload(); err != nil {
		return err
	}
	s.log.Info("embedded directory reloaded", "entries", len(s.store.tree().entries))
	return nil
}

// Close ends the server and all its connections, and returns when everything
// that they had begun is done.
func (s *Server) Close() error {
	s.stop()
	err := s.listener.Close()
	s.served.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept serves each connection until ctx ends.
func (s *Server) accept(ctx context.Context) {
	for {
		nc, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			s.log.Warn("embedded directory cannot accept", "error", err)
			if !pause(ctx, 100*time.Millisecond) {
				return
			}
			continue
		}
		if !s.slots.TryAcquire(1) {
			s.log.Warn("embedded directory has too many connections", "remote", nc.RemoteAddr().String())
			nc.Close()
			continue
		}
		s.served.Go(func() {
			defer s.slots.Release(1)
			s.serve(ctx, nc)
		})
	}
}

// pause waits for d and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
