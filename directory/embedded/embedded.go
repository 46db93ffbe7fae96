// Package embedded is an LDAP server in this process, filled from an LDIF file.
// It is for demonstrations, tests, small sites and accounts that must work while
// the real directory does not. It opens no port: the LDAP client uses a connection
// in memory, see Server.Dial.
//
// # The file
//
// The LDIF file (RFC 2849) is the database. Changes of passwords, failed logins,
// locks and SSH keys are written to it before the client gets an answer. Comments
// stay in front of their entries. To add or remove entries, edit the file and call
// Reload. A file that was edited and not yet reloaded is never overwritten.
//
// A userPassword may be in the clear there, and is then hashed, or be {SSHA},
// {SSHA256}, {SSHA512}, {CRYPT} with $2b$, $5$ or $6$, {PBKDF2-SHA256} or
// {ARGON2}. The attributes that refuse logins are those of OpenLDAP and 389 DS:
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
// It supports the part of LDAP version 3 (RFC 4511) that the client needs: simple
// bind, search, modify of keys, Password Modify (RFC 3062), and the password policy
// control of draft-behera-ldap-password-policy-10. It has no TLS, no schema, no
// referrals and no replication. Start at Open.
package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Settings say what a Server serves.
type Settings struct {
	LDIF   string // the file; it must exist
	Policy Policy // for the passwords of users; zero means DefaultPolicy

	hashMemory uint32 // KiB; tests make it cheap
}

// serviceDN is the account of the program that the directory is for. It may
// read everything but passwords, change SSH keys, and change a password for a
// user whose old one it knows. It is not in the file.
const serviceDN = "cn=berth"

// A Server is a running directory. Its methods are safe for concurrent use.
type Server struct {
	policy   Policy
	password string // of the service account, made at the start
	log      hclog.Logger
	store    *store
	now      func() time.Time

	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	mu     sync.Mutex     // held while a connection begins or the server ends
	served sync.WaitGroup // every connection
}

// Open reads the LDIF file and hashes the passwords that are in the clear in it. An
// error about the file says file:line and what would be right there. Call Close to
// end the server.
func Open(s Settings, log hclog.Logger) (*Server, error) {
	log = cmp.Or(log, hclog.NewNullLogger())
	s.Policy = cmp.Or(s.Policy, DefaultPolicy())
	s.hashMemory = cmp.Or(s.hashMemory, argonMemory)
	h, err := newHasher(s.hashMemory)
	if err != nil {
		return nil, err
	}
	st := &store{file: s.LDIF, policy: s.Policy, hasher: h, log: log, unsaved: map[string]bool{}}
	if err := st.reload(); err != nil {
		return nil, err
	}
	srv := &Server{policy: s.Policy, password: rand.Text(), log: log, store: st, now: time.Now}
	srv.ctx, srv.stop = context.WithCancel(context.Background())
	log.Info("embedded directory ready", "file", s.LDIF, "base", srv.Base(), "entries", len(st.tree().entries))
	return srv, nil
}

// Base is the DN below which all entries are.
func (s *Server) Base() string { return s.store.tree().base.String() }

// Service returns the DN and the password of the service account. The password
// is another one at each start.
func (s *Server) Service() (dn, password string) { return serviceDN, s.password }

// Dial connects an LDAP client to the server, in memory.
func (s *Server) Dial(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	return client, s.begin(server)
}

// Serve serves clients of l until Close, which also closes l. Whatever they
// send, passwords included, crosses l in the clear.
func (s *Server) Serve(l net.Listener) error {
	stop := context.AfterFunc(s.ctx, func() { l.Close() })
	defer stop()
	for {
		nc, err := l.Accept()
		if err == nil {
			err = s.begin(nc)
		}
		if s.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("port of the embedded directory: %w", err)
		}
	}
}

func (s *Server) begin(nc net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		nc.Close()
		return fmt.Errorf("embedded directory: %w", net.ErrClosed)
	}
	s.served.Go(func() { s.serve(nc) })
	return nil
}

// Check returns why Reload would fail. It changes nothing.
func (s *Server) Check() error { return s.store.check() }

// Reload reads the LDIF file again. After an error, which has file:line, the
// server still uses what it had.
func (s *Server) Reload() error {
	if err := s.store.reload(); err != nil {
		return err
	}
	s.log.Info("embedded directory reloaded", "entries", len(s.store.tree().entries))
	return nil
}

// Close ends the server and all its connections. It returns when the requests under
// way have ended.
func (s *Server) Close() error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.served.Wait()
	return nil
}
