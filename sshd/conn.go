package sshd

import (
	"cmp"
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

	"berth/fs"
	"berth/sshd/early"
	"berth/sshd/event"
	"berth/sshd/hostkey"
	"berth/sshd/login"
	"berth/sshd/state"
)

// A conn is one connection. serve runs it from accept to close, in one goroutine. Code
// that has loaded a grant may read ssh and the fields that are set before it.
type conn struct {
	srv    *Server
	nc     net.Conn
	peer   login.Peer
	client string // identification string, once known

	ssh      *ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
	grant    atomic.Pointer[login.Grant] // nil until the login succeeds; a re-check replaces it

	asked  time.Time    // when the last keep-alive request was sent; only Watch uses it
	silent atomic.Int32 // keep-alive requests without an answer

	pace  fs.Pace                              // of all its channels together
	open  sync.Map                             // the keys are each *observedFile
	moved struct{ read, written atomic.Int64 } // bytes of files
	last  atomic.Int64                         // when the client last asked for something, in nanoseconds since peer.Opened

	sessions  sync.Map    // the keys are each *session that runs
	notifying atomic.Bool // the client is being sent a line

	closing sync.Once
	ending  atomic.Pointer[ending] // why the server closed it, nil if the client did
}

// An ending is why the server closed a connection.
type ending struct {
	reason event.Reason
	detail string
	line   string // for the person; empty: farewells has it, or there is none
}

// farewells are the sentences for users whose sessions the server ends.
var farewells = map[event.Reason]string{
	event.Idle:            "This session was idle for too long.",
	event.SessionTimeOver: "This session was open for as long as it may be.",
	event.ShuttingDown:    "The server is shutting down.",
	event.TooMuchUnread:   "More was sent than the server can take.",
	event.InternalError:   "Internal error of the server.",
}

// farewellWait is how long a client may take to read what was sent before the
// farewell.
const farewellWait = 5 * time.Second

func newConn(s *Server, nc net.Conn) *conn {
	var id [8]byte
	rand.Read(id[:]) // never fails
	c := &conn{srv: s, nc: nc, peer: login.Peer{Session: hex.EncodeToString(id[:]), Opened: time.Now()}}
	if _, direct := nc.(*net.TCPConn); direct {
		c.peer.Remote = addrPort(nc.RemoteAddr()) // behind a balancer it is known after the PROXY header
	}
	return c
}

// Waits for the client.
const (
	// helloWait is how long the identification string may take. Clients send it
	// immediately. Without this bound a silent connection would count as a login under
	// way for the whole login grace.
	helloWait = 10 * time.Second
	// kexInitWait is how long the server waits for the client's KEXINIT. All common
	// clients send it immediately. Others are served too.
	kexInitWait = 300 * time.Millisecond
)

func (c *conn) serve(ctx context.Context) {
	defer c.survive()
	defer c.nc.Close()
	stop := context.AfterFunc(ctx, func() { c.close(event.ShuttingDown) })
	defer stop()

	release, err := c.enter(ctx)
	if err != nil {
		return
	}
	defer release()
	c.chargeUnread(c.grant.Load().User.Identity) // no re-check changes the identity
	c.serveChannels(ctx)
	c.ended(nil, true)
}

// enter runs the connection until somebody has logged in, and reports it if nobody does.
// It is not a part of serve, whose stack an idle session keeps.
func (c *conn) enter(ctx context.Context) (release func(), err error) {
	if err := c.identify(); err != nil {
		c.ended(err, false)
		return nil, err
	}
	loggedIn, err := c.srv.Gate.State.Admit(c.peer.Source)
	if err != nil {
		c.emit(event.Event{Type: event.ConnectionRefused, Reason: login.ReasonOf(err), Detail: err.Error()})
		return nil, err
	}
	defer loggedIn()
	return c.login(ctx, loggedIn)
}

// identify finds out where the connection comes from. A balancer gets no penalties,
// because they would keep out everybody behind it.
func (c *conn) identify() error {
	p, ok := c.nc.(*proxied)
	own, err := false, error(nil)
	if ok {
		own, err = p.own()
	}
	c.peer.Remote = addrPort(c.nc.RemoteAddr())
	if !own {
		c.peer.Source = c.peer.Remote.Addr()
	}
	return err
}

var errGrace = errors.New("login grace over")

// errPanic is the error of a login in which something panicked.
var errPanic = errors.New("internal error")

// login runs the connection until somebody has logged in, on a goroutine of its own. The
// large stack of key exchange and login ends with that goroutine; an idle session does
// not keep it.
func (c *conn) login(ctx context.Context, leaves func()) (release func(), err error) {
	a := &login.Attempt{}
	err = errPanic
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.survive()
		err = c.handshake(ctx, leaves, &a)
	}()
	<-done
	if err == nil {
		return a.Succeeded(), nil
	}
	if penalized, tried := a.Failed(); !penalized {
		c.penalize(err, a.Connected(), tried)
	}
	c.ended(err, a.Connected())
	return nil, err
}

// handshake waits for the client's first words, exchanges keys and authenticates with
// attempt, which it sets. It calls leaves when the login is no longer one of those that
// admission counts: it waits for a person, and other limits bound it.
func (c *conn) handshake(ctx context.Context, leaves func(), attempt **login.Attempt) error {
	grace := c.peer.Opened.Add(c.srv.LoginGrace)
	nc, hello, err := early.Look(c.nc, login.Identification, c.peer.Opened.Add(min(helloWait, c.srv.LoginGrace)), kexInitWait)
	if err != nil {
		return err
	}
	nc.SetDeadline(grace)
	present, gone := context.WithCancel(ctx)
	defer gone()
	nc.Ended = gone
	peer := c.peer
	peer.Waiting = func(longest time.Duration) (context.Context, func()) {
		leaves()
		last := c.peer.Opened.Add(c.srv.LoginGrace + longest) // the latest end, however often the login waits
		until := func(t time.Time) {
			grace = t
			nc.SetDeadline(t)
		}
		until(last)
		return present, func() {
			if again := time.Now().Add(c.srv.LoginGrace); again.Before(last) { // for another method
				until(again)
			}
		}
	}
	c.client = hello.Version
	reviews := c.srv.reviews.Load()
	*attempt = c.srv.Gate.Attempt(ctx, peer, hello)
	c.ssh, c.channels, c.requests, err = ssh.NewServerConn(nc, (*attempt).Config(hello))
	if err != nil {
		nc.Close()
		if !time.Now().Before(grace) {
			// Two goroutines of the library use the connection, and it returns the error of
			// the slower one.
			err = fmt.Errorf("%w: %w", errGrace, err)
		}
		return err
	}
	g, err := login.Granted(c.ssh.Permissions)
	if err != nil {
		c.ssh.Close()
		return err
	}
	c.grant.Store(g)
	if c.srv.reviews.Load() != reviews {
		c.srv.reviewConn(ctx, c) // the rules have changed since the decision
	}
	return nc.SetDeadline(time.Time{})
}

func (c *conn) touch() { c.last.Store(int64(time.Since(c.peer.Opened))) }

// idle returns how long ago the client last asked for something. It does not depend on
// the clock of the machine, which can be set.
func (c *conn) idle(now time.Time) time.Duration {
	return now.Sub(c.peer.Opened) - time.Duration(c.last.Load())
}

// busy reports whether c has a transfer that a drain waits for.
func (c *conn) busy(now time.Time) bool {
	for range c.open.Range {
		return true
	}
	return c.grant.Load() != nil && c.idle(now) < quiet && c.srv.drained(now) < lastOpens
}

func (c *conn) runningSessions() []*session {
	var all []*session
	for s := range c.sessions.Range {
		all = append(all, s.(*session))
	}
	return all
}

// closeSoon gives the client time to read what was sent and to leave, and then closes the
// connection.
func (c *conn) closeSoon(reason event.Reason) {
	time.AfterFunc(quiet, func() { c.close(reason) })
}

// survive ends only the connection in which something panicked. Every goroutine that
// handles data of a client defers it.
func (c *conn) survive() {
	if r := recover(); r != nil {
		c.srv.Log.Error("panic: please report it", "session", c.peer.Session, "panic", r, "stack", string(debug.Stack()))
		c.close(event.InternalError)
	}
}

// close ends the connection. Its last event has the first reason. close does not wait for
// the client.
func (c *conn) close(reason event.Reason) {
	c.closing.Do(func() {
		c.ending.CompareAndSwap(nil, &ending{reason: reason})
		if !c.farewell() {
			c.nc.Close()
		}
	})
}

// farewell sends the reason to a client that is logged in, as DISCONNECT (RFC 4253,
// section 11.1), and closes the connection soon after. It reports false if nobody is
// logged in or there is no text.
func (c *conn) farewell() bool {
	why := c.ending.Load()
	line := cmp.Or(why.line, farewells[why.reason])
	if c.grant.Load() == nil || line == "" {
		return false
	}
	lib, ok := c.ssh.Conn.(disconnecter)
	if !ok {
		return false
	}
	// A deadline would not end a write that waits for a key exchange.
	time.AfterFunc(farewellWait, func() { c.nc.Close() })
	go func() {
		defer c.survive()
		const byApplication = 11
		err := lib.Disconnect(byApplication, line)
		if half, ok := c.nc.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
			// If the connection were closed now and the client has sent something, the
			// kernel would discard what the client has not read.
			time.AfterFunc(quiet, func() { c.nc.Close() })
			return
		}
		c.nc.Close()
	}()
	return true
}

// ended reports how the connection ended. A connection that never sent anything is a
// health probe, which is counted and not logged.
func (c *conn) ended(err error, opened bool) {
	if errors.Is(err, early.ErrProbe) {
		c.emit(event.Event{Type: event.ProbeSeen})
		return
	}
	if !opened { // every closed connection was reported as opened
		c.emit(event.Event{Type: event.ConnectionOpened, Client: c.client})
	}
	e := event.Event{Type: event.ConnectionClosed, Client: c.client, Duration: time.Since(c.peer.Opened)}
	if why := c.ending.Load(); why != nil {
		e.Reason, e.Detail = why.reason, why.detail
	} else if err != nil {
		e.Reason, e.Err = handshakeReason(err, opened), err
		if e.Reason == event.NotAuthenticated {
			e.Err = errors.New("the client left without a login") // the library's text repeats every try, and each try has its event
		}
	}
	c.emit(e)
}

// handshakeReason is why a connection ended before a login. connected means that keys
// were exchanged.
func handshakeReason(err error, connected bool) event.Reason {
	timeout, ok := errors.AsType[net.Error](err)
	_, negotiation := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	switch {
	case errors.Is(err, errHeader):
		return event.ProxyHeader
	case errors.Is(err, early.ErrNotSSH), errors.Is(err, early.ErrTooLong):
		return event.NotSSH
	case errors.Is(err, errGrace), errors.Is(err, early.ErrTimeout), ok && timeout.Timeout():
		return event.LoginGraceOver
	case errors.Is(err, hostkey.ErrNoSignature):
		return event.HostKeyUnavailable
	case negotiation:
		return event.NoCommonAlgorithm
	case connected:
		return event.NotAuthenticated
	default:
		return event.HandshakeFailed
	}
}

// penalties are those for the source of a connection that did not become a session.
var penalties = map[event.Reason]state.Kind{
	event.LoginGraceOver:   state.GraceExceeded,
	event.NotSSH:           state.BadProtocol,
	event.NotAuthenticated: state.NoLogin,
	event.HandshakeFailed:  state.NoLogin,
}

// penalize gives the source a penalty, unless the server ended the connection. A client
// whose tries got no penalty was refused without a fault of its own, and has not left
// without a try.
func (c *conn) penalize(err error, connected, tried bool) {
	kind, ok := penalties[handshakeReason(err, connected)]
	if ok && !(tried && kind == state.NoLogin) && c.ending.Load() == nil && !errors.Is(err, early.ErrProbe) {
		c.srv.Gate.State.Penalize(c.peer.Source, kind)
	}
}

// emit fills in what all events of a connection share.
func (c *conn) emit(e event.Event) {
	e.Session, e.Remote = c.peer.Session, c.peer.Remote
	if g := c.grant.Load(); g != nil && e.User == "" {
		e.User, e.UserID, e.Directory = g.User.Name, g.User.ID, g.User.Source
	}
	c.srv.Events.Emit(e)
}

// addrPort returns a TCP address, with IPv4 not mapped to IPv6; zero for any other kind.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
