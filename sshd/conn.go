package sshd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/early"
	"berth/sshd/event"
	"berth/sshd/hostkey"
	"berth/sshd/state"
)

// A conn is one connection. serve runs it from accept to close; login is filled
// while authentication runs, in one goroutine; from then on grant is what it
// may do, and may be replaced while sessions run.
type conn struct {
	srv    *Server
	nc     net.Conn
	id     string
	remote netip.AddrPort
	source netip.Addr // against whom misbehaviour is held; none: nobody
	opened time.Time

	client string // identification string, once known
	user   string // canonical name, once proved
	userID string
	method string
	grant  atomic.Pointer[grant]

	release func() // ends the count of this session, once it is one
	tried   bool   // to log in: what came of it has been held against the source

	// Set by handshake.
	meter    *meter
	ssh      *ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request

	established atomic.Pointer[ssh.ServerConn] // ssh, for Watch
	asked       time.Time                      // when a sign of life was last asked for; only Watch looks at it
	silent      atomic.Int32                   // how often it stayed away

	pace      fs.Pace // of all its channels together
	openFiles atomic.Int32
	moved     struct{ read, written atomic.Int64 } // bytes of files
	last      atomic.Int64                         // when the client last asked for something, in Unix nanoseconds

	mu       sync.Mutex
	sessions map[*session]struct{} // that run
	telling  atomic.Bool           // the client is being told something

	closing sync.Once
	ending  atomic.Pointer[ending] // why we closed it, nil if the client did
}

// An ending is why a connection was closed from our side.
type ending struct {
	reason event.Reason
	detail string
}

// A grant is what authentication ended with.
type grant struct {
	policy       *policy.Policy
	restricted   error         // if set, only the password can be changed, and why
	certificates []certificate // what the user logged in with
	factors      []string      // what the user proved
	keys         []string      // with which keys of the directory, marshalled

	passwordChanged time.Time // when the user's password last was
	ownChange       bool      // the user has changed it since, in the login
}

// restriction says in a sentence what has to be done first.
func (g *grant) restriction() string {
	return sentence(g.restricted) + " Change it with: ssh HOST passwd"
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, id: sessionID(), opened: time.Now(), release: func() {}}
	if _, direct := nc.(*net.TCPConn); direct {
		c.remote = addrPort(nc.RemoteAddr()) // behind a balancer it takes a wait to know
	}
	c.touch()
	return c
}

func sessionID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// firstWait is how long the client's KEXINIT is waited for. All common clients
// send it unasked; one that does not is served all the same.
const firstWait = 300 * time.Millisecond

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer c.survive()
	defer c.nc.Close()
	stop := context.AfterFunc(ctx, func() { c.close(event.ShuttingDown) })
	defer stop()
	defer func() { c.release() }()

	if err := c.identify(); err != nil {
		c.ended(err)
		return
	}
	loggedIn, err := c.srv.State.Admit(c.source)
	if err != nil {
		c.emit(event.Event{Type: event.ConnectionRefused, Reason: reasonOf(err), Detail: err.Error()})
		return
	}
	defer loggedIn()
	if !c.begin(ctx) {
		return
	}
	loggedIn()
	c.established.Store(c.ssh)
	c.serveChannels(ctx)
	c.ended(nil)
}

// identify finds out where the connection comes from. Nothing is ever held
// against a balancer: everybody would be kept out with it.
func (c *conn) identify() error {
	p, ok := c.nc.(*proxied)
	own, err := false, error(nil)
	if ok {
		own, err = p.own()
	}
	c.remote = addrPort(c.nc.RemoteAddr())
	if !own {
		c.source = c.remote.Addr()
	}
	return err
}

// begin runs the connection until somebody has logged in, and reports whether
// they have. It does so on a goroutine of its own: the stack that key exchange
// and login grow goes with it, and is not held by a session that idles for days.
func (c *conn) begin(ctx context.Context) bool {
	err := errPanic
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.survive()
		err = c.handshake(ctx)
	}()
	<-done
	if err != nil {
		c.ended(err)
	}
	return err == nil
}

// errGrace is the end of a login that took too long.
var errGrace = errors.New("login grace over")

// errPanic is the end of a login that did not get as far as an error.
var errPanic = errors.New("internal error")

// handshake looks at the client, exchanges keys and authenticates.
func (c *conn) handshake(ctx context.Context) error {
	nc, hello, err := early.Look(c.nc, c.srv.identification(), c.opened.Add(c.srv.LoginGrace), firstWait)
	if err != nil {
		return err
	}
	c.client = hello.Version
	l := &login{conn: c, ctx: ctx}
	c.meter = newMeter(nc, func() { c.close(event.TooMuchUnread) })
	c.ssh, c.channels, c.requests, err = ssh.NewServerConn(c.meter, l.config(hello))
	if err != nil {
		l.failed()
		nc.Close()
		if time.Since(c.opened) >= c.srv.LoginGrace {
			// The library has two goroutines at the connection, and tells what the
			// slower one met.
			err = fmt.Errorf("%w: %w", errGrace, err)
		}
		return err
	}
	g, ok := c.ssh.Permissions.ExtraData[grantKey{}].(*grant)
	if !ok { // no way into a session without a policy
		c.ssh.Close()
		return errors.New("authenticated without a policy")
	}
	c.grant.Store(g)
	return nc.SetDeadline(time.Time{})
}

// touch notes that the client is doing something.
func (c *conn) touch() { c.last.Store(time.Now().UnixNano()) }

func (c *conn) idle(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, c.last.Load()))
}

// busy reports whether a transfer is under way that a drain waits for.
func (c *conn) busy(now time.Time) bool {
	if c.openFiles.Load() > 0 {
		return true
	}
	return c.grant.Load() != nil && c.idle(now) < quiet && c.srv.drained(now) < lastOpens
}

// close ends the connection from our side; the first reason goes into its last
// event.
func (c *conn) close(reason event.Reason) {
	c.closing.Do(func() {
		c.ending.CompareAndSwap(nil, &ending{reason: reason})
		c.nc.Close()
	})
}

// emit fills in what all events of a connection share.
func (c *conn) emit(e event.Event) {
	e.Session, e.Remote = c.id, c.remote
	if e.User == "" {
		e.User, e.UserID = c.user, c.userID
	}
	c.srv.Events.Emit(e)
}

// ended tells how the connection ended. One that never said anything is a
// health probe: it is counted and not logged.
func (c *conn) ended(err error) {
	if errors.Is(err, early.ErrProbe) {
		c.emit(event.Event{Type: event.ProbeSeen})
		return
	}
	e := event.Event{Type: event.ConnectionClosed, Client: c.client, Duration: time.Since(c.opened)}
	if why := c.ending.Load(); why != nil {
		e.Reason, e.Detail = why.reason, why.detail
	} else if err != nil {
		e.Reason, e.Detail = handshakeReason(err), err.Error()
		c.penalize(e.Reason)
	}
	c.emit(e)
}

// penalties is what is held against the source of a connection that did not
// become a session.
var penalties = map[event.Reason]state.Kind{
	event.LoginGraceOver:   state.GraceExceeded,
	event.NotSSH:           state.BadProtocol,
	event.NotAuthenticated: state.NoLogin,
	event.HandshakeFailed:  state.NoLogin,
}

func (c *conn) penalize(reason event.Reason) {
	if kind, ok := penalties[reason]; ok && !c.tried {
		c.srv.State.Penalize(c.source, kind)
	}
}

// handshakeReason is the code for a connection that ended before it was a
// session.
func handshakeReason(err error) event.Reason {
	var refused *ssh.ServerAuthError
	var timeout net.Error
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &refused):
		return event.NotAuthenticated
	case errors.Is(err, errHeader):
		return event.ProxyHeader
	case errors.Is(err, early.ErrNotSSH), errors.Is(err, early.ErrTooLong):
		return event.NotSSH
	case errors.Is(err, errGrace), errors.Is(err, early.ErrTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return event.LoginGraceOver
	case errors.Is(err, hostkey.ErrNoSignature):
		return event.HostKeyUnavailable
	case errors.As(err, &negotiation):
		return event.NoCommonAlgorithm
	default:
		return event.HandshakeFailed
	}
}

// survive ends the connection in which something panicked, and no other one.
// It is deferred on every goroutine that handles what a client sent.
func (c *conn) survive() {
	if r := recover(); r != nil {
		c.srv.Log.Error("panic: please report it", "session", c.id, "panic", r, "stack", string(debug.Stack()))
		c.close(event.InternalError)
	}
}

// closeSoon lets the client read what was sent and leave by itself, and closes
// the connection if it does not.
func (c *conn) closeSoon(reason event.Reason) {
	time.AfterFunc(quiet, func() { c.close(reason) })
}

// restrictedTo returns err if it only asks for another password, else nil.
func restrictedTo(err error) error {
	if errors.Is(err, directory.ErrPasswordExpired) || errors.Is(err, directory.ErrMustChange) {
		return err
	}
	return nil
}
