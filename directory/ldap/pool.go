package ldap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// A server is one of the URLs, and whether it answers.
type server struct {
	url   string
	host  string
	dial  Dialer
	ldaps bool // TLS from the start

	dialPlain Dialer // to the port without TLS, for connections that are sealed
	found     bool   // DNS names it; the settings do not

	// guarded by pool.mu
	down    error         // why the server is not asked; nil: it answers
	retry   time.Time     // when it may be asked again, if no other answers
	doubted bool          // the server was silent, and a probe is testing whether it is down
	took    time.Duration // to connect to it the last time
	traffic Traffic       // without the fields that Traffic fills in

	refused  error     // the service account could not bind
	rebindAt time.Time // when it may try again
}

// newServer returns the server of a URL that Settings.Check has accepted.
func newServer(raw string, by *resolver) *server {
	u, _ := url.Parse(raw)
	to := func(port string) Dialer {
		return func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Resolver: by.hosts}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
		}
	}
	s := &server{url: raw, host: u.Hostname(), dial: to(cmp.Or(u.Port(), usualPort[u.Scheme])), ldaps: u.Scheme == "ldaps"}
	switch s.dialPlain = s.dial; {
	case s.ldaps && u.Port() == strconv.Itoa(catalogTLSPort):
		s.dialPlain = to(strconv.Itoa(catalogPort))
	case s.ldaps:
		s.dialPlain = to(usualPort["ldap"])
	}
	return s
}

// usualPort is the port of a URL without one.
var usualPort = map[string]string{"ldap": ldap.DefaultLdapPort, "ldaps": ldap.DefaultLdapsPort}

const (
	// maxIdle is how long an unused connection is kept. Firewalls drop idle
	// connections silently. So a connection that was not used for checkAfter is
	// tested before its next use.
	maxIdle    = time.Minute
	checkAfter = time.Second

	// minPatience is how long a server may be silent at least before it is
	// doubted. See pool.patience.
	minPatience = 500 * time.Millisecond

	// A server that took d to fail is not asked again for backOff*d, even if no
	// other answers. So a server that refuses connections is tried again at once,
	// and not every login waits for one that hangs.
	backOff    = 4
	maxBackOff = 30 * time.Second

	// rebind is how long a refused service account is not tried again on a server.
	// Otherwise the directory could lock it.
	rebind = 10 * time.Second
)

// A pool holds the connections for searches, bound as the service account, and
// knows which servers answer. Its fields below mu are guarded by it.
type pool struct {
	c       *Client
	slots   chan struct{} // one for each connection in use
	ctx     context.Context
	cancel  context.CancelFunc
	probes  sync.WaitGroup
	fixed   []*server // the servers of the settings
	locator *locator  // finds the servers that DNS names; nil: DNS is not asked

	mu      sync.Mutex
	servers []*server // in order of preference; never changed in place
	idle    []*conn   // the last one was used last
	busy    map[*conn]bool
	closed  bool
}

func newPool(c *Client, servers []*server) *pool {
	p := &pool{c: c, fixed: servers, servers: servers, slots: make(chan struct{}, c.settings.PoolSize), busy: map[*conn]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

var errClosed = errors.New("directory is closed")

func (p *pool) locked(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// take returns a connection bound as the service account; with anew, one that was not
// used before. Give it back with put.
func (p *pool) take(ctx context.Context, anew bool) (cn *conn, err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a connection: %w", context.Cause(ctx))
	}
	if !anew {
		cn = p.reuse(ctx)
	}
	if cn == nil {
		if cn, err = p.connect(ctx, p.c.asService()); err != nil {
			<-p.slots
			return nil, err
		}
	}
	p.locked(func() { p.busy[cn] = true })
	return cn, nil
}

// put gives a connection back, with the error of its request. A spent one is closed.
func (p *pool) put(cn *conn, err error) {
	defer func() { <-p.slots }()
	p.mu.Lock()
	delete(p.busy, cn)
	keep := !p.closed && !spent(err) && !cn.IsClosing() && cn.server.down == nil
	if keep {
		cn.pooled = true
		p.idle = append(p.idle, cn)
	}
	p.mu.Unlock()
	if !keep {
		cn.close()
	}
}

// reuse returns an idle connection that works; nil if there is none.
func (p *pool) reuse(ctx context.Context) *conn {
	for {
		cn := p.unused()
		if cn == nil || time.Since(cn.used) < checkAfter {
			return cn
		}
		if err := cn.ping(ctx, p.patience(cn.server)); err == nil || answered(err) {
			return cn
		}
		_ = cn.raw.Close()
		if ctx.Err() != nil {
			return nil
		}
		p.doubt(cn.server)
	}
}

// unused returns the idle connection that was used last, and closes those that
// are dead or have been idle for too long.
func (p *pool) unused() (found *conn) {
	var dead []*conn
	p.mu.Lock()
	p.idle = slices.DeleteFunc(p.idle, func(cn *conn) bool {
		if p.fresh(cn) {
			return false
		}
		dead = append(dead, cn)
		return true
	})
	if last := len(p.idle) - 1; last >= 0 {
		found, p.idle = p.idle[last], p.idle[:last]
	}
	p.mu.Unlock()
	for _, cn := range dead {
		cn.close()
	}
	return found
}

// fresh reports whether an idle connection can be used: it is to the first server
// that answers. So the pool returns to the first server of the settings when that
// is back.
func (p *pool) fresh(cn *conn) bool {
	first := slices.IndexFunc(p.servers, (*server).good)
	return !cn.IsClosing() && time.Since(cn.used) < maxIdle && first >= 0 && cn.server == p.servers[first]
}

func (s *server) good() bool { return s.down == nil && !s.doubted }

// A use is what a new connection is for.
type use struct {
	service bool                               // bound as the service account
	prepare func(context.Context, *conn) error // makes the connection ready; nil: it is
}

// connect dials the servers, those that answer first, until one is ready. An answer
// of a server, such as a refused bind, ends the attempts.
func (p *pool) connect(ctx context.Context, as use) (*conn, error) {
	waiting, cancel := context.WithTimeout(ctx, p.c.settings.ConnectTimeout)
	defer cancel()
	if _, err := p.listed(waiting); err != nil {
		return nil, err
	}
	var errs []error
	servers := p.order()
	last := len(servers) - 1
	for i := 0; i < len(servers); i++ {
		s := servers[i]
		if i > last && p.isDown(s) {
			continue // it failed meanwhile
		}
		limit := p.c.settings.ConnectTimeout
		if i < last {
			limit = p.patience(s)
		}
		start := time.Now()
		cn, err := p.connectTo(ctx, s, limit, as)
		if err == nil {
			return cn, nil
		}
		if i < last && errors.Is(err, errNoAnswer) && ctx.Err() == nil {
			p.doubt(s)
			servers = append(servers, s) // again, with more time, if no other answers
			continue
		}
		err = fmt.Errorf("%s: %w", s.url, err)
		if !unwell(err) {
			return nil, err
		}
		errs = append(errs, err)
		took := time.Since(start)
		if ctx.Err() != nil { // the caller has given up, and the server may be up
			p.silent(s, took)
			break
		}
		p.fail(s, err, took)
	}
	if len(errs) == 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closed {
			return nil, errClosed
		}
		for _, s := range p.servers {
			errs = append(errs, s.down)
		}
	}
	return nil, cmp.Or(errors.Join(errs...), errors.New("no server answers")) // all servers may be back just now
}

func (p *pool) connectTo(ctx context.Context, s *server, limit time.Duration, as use) (*conn, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("connecting: %w (%v)", errNoAnswer, limit))
	defer cancel()
	cn, err := p.c.dial(ctx, s, as)
	if err != nil {
		return nil, err
	}
	if as.prepare != nil {
		if err := as.prepare(ctx, cn); err != nil {
			cn.close()
			return nil, err
		}
	}
	p.locked(func() { s.took = time.Since(start) })
	return cn, nil
}

// patience is how long s may be silent before it is doubted: a multiple of the
// time it took to connect to s, which is several round trips and a bind.
func (p *pool) patience(s *server) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(max(minPatience, 4*s.took), p.c.settings.ConnectTimeout)
}

// order returns the servers to try: those that answer, in the order of the
// settings; then those that are doubted; then those that may be tried again.
func (p *pool) order() []*server {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	var well, doubted, due []*server
	for _, s := range p.servers {
		switch {
		case s.good():
			well = append(well, s)
		case s.down == nil:
			doubted = append(doubted, s)
		case !time.Now().Before(s.retry):
			due = append(due, s)
		}
	}
	return slices.Concat(well, doubted, due)
}

// fail marks a server as down and starts to probe it. took is how long it took to
// fail.
func (p *pool) fail(s *server, err error, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.locator != nil {
		select {
		case p.locator.again <- struct{}{}:
		default:
		}
	}
	first := s.down == nil
	s.down = err
	s.retry = time.Now().Add(min(backOff*took, maxBackOff))
	if !first {
		return
	}
	s.traffic.Failures++
	p.c.log.Warn("directory server is down", "url", s.url, "error", err)
	p.probes.Go(func() { p.probe(s) })
	if slices.ContainsFunc(p.servers, (*server).good) {
		for cn := range p.busy { // requests that wait for s go to another server
			if cn.server == s {
				_ = cn.raw.Close()
			}
		}
	}
}

// blame decides whether err, which came after took, means that the server of cn is
// down. If a pooled connection was closed, the server may still answer. A server
// that is silent may be busy with a long search, so a probe tests it.
func (c *Client) blame(ctx context.Context, cn *conn, err error, took time.Duration) {
	switch {
	case !unwell(err), errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(err, errNoAnswer):
		c.pool.doubt(cn.server)
	case errors.Is(err, context.DeadlineExceeded):
		c.pool.silent(cn.server, took)
	case !cn.pooled, answered(err):
		c.pool.fail(cn.server, err, took)
	}
}

// silent has a server tested that sent nothing for took. If took is less than the
// patience, the caller only had little time.
func (p *pool) silent(s *server, took time.Duration) {
	if took >= p.patience(s) {
		p.doubt(s)
	}
}

// doubt starts a probe of a server that was silent, one for all requests that
// wait for it. Meanwhile other servers are asked first.
func (p *pool) doubt(s *server) {
	limit := p.patience(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !s.good() {
		return
	}
	s.doubted = true
	if !slices.ContainsFunc(p.servers, (*server).good) {
		limit = p.c.settings.ConnectTimeout
	}
	p.probes.Go(func() {
		start := time.Now()
		err := p.check(s, limit)
		p.locked(func() { s.doubted = false })
		if err != nil && unwell(err) {
			p.fail(s, fmt.Errorf("%s: %w", s.url, err), time.Since(start))
		}
	})
}

// check connects to a server and asks it something.
func (p *pool) check(s *server, limit time.Duration) error {
	cn, err := p.connectTo(p.ctx, s, limit, p.c.asService())
	if err != nil {
		return err
	}
	defer cn.close()
	if err := cn.ping(p.ctx, limit); err != nil {
		return err
	}
	var lacked *noBaseError
	p.locked(func() { errors.As(s.down, &lacked) })
	if lacked != nil {
		_, _, err = read(p.ctx, p.c.searchOn(cn), lacked.base, "1.1")
	}
	return err
}

// isDown reports whether a server is down.
func (p *pool) isDown(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.down != nil
}

// probe tries a server until it serves a search, or DNS no longer names it.
func (p *pool) probe(s *server) {
	tick := time.NewTicker(p.c.settings.ProbeEvery)
	defer tick.Stop()
	for p.isDown(s) {
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
		if !p.names(s) {
			return
		}
		if p.check(s, p.c.settings.ConnectTimeout) == nil {
			p.locked(func() { s.down = nil })
			p.c.log.Info("directory server is back", "url", s.url)
		}
	}
}

// names reports whether s is one of the servers.
func (p *pool) names(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.servers, s)
}

// ping reads the root DSE, which everybody may read (RFC 4512, section 5.1).
func (cn *conn) ping(ctx context.Context, limit time.Duration) error {
	return cn.do(ctx, limit, func() error {
		_, err := cn.Search(&ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: anyEntry, Attributes: []string{"1.1"}})
		return err
	})
}

// asNobody is a connection without a bind.
func asNobody() use { return use{} }

// asService is a connection of the service account, if there is one.
func (c *Client) asService() use { return use{service: true, prepare: c.bindService} }

// bindService binds cn as the service account, if there is one. A refusal is not
// repeated at once: the directory could lock the account.
func (c *Client) bindService(ctx context.Context, cn *conn) error {
	account := c.settings.account()
	if account == "" {
		return nil
	}
	p, s := c.pool, cn.server
	p.mu.Lock()
	refused, until := s.refused, s.rebindAt
	p.mu.Unlock()
	if time.Now().Before(until) {
		return refused
	}
	err := c.bindBy(ctx, cn)
	if err != nil && !unwell(err) {
		p.locked(func() { s.refused, s.rebindAt = err, time.Now().Add(rebind) })
	}
	return err
}

// bindBy binds cn in the way that the settings name.
func (c *Client) bindBy(ctx context.Context, cn *conn) error {
	switch by := c.settings.Bind; {
	case by.Keytab != "":
		return c.bindTicket(ctx, cn)
	case by.Certificate != "":
		if err := cn.do(ctx, c.settings.RequestTimeout, cn.ExternalBind); err != nil {
			return fmt.Errorf("bind with the certificate %s: %w", by.Certificate, err)
		}
		return nil
	}
	password, err := c.bindPassword()
	if err != nil {
		return err
	}
	a, err := c.bind(ctx, cn, c.settings.BindDN, password)
	if err != nil {
		return fmt.Errorf("bind as %q: %w", c.settings.BindDN, err)
	}
	v, ok := c.verdictOn(a)
	if ok && v.why == nil {
		return nil
	}
	code := uint16(a.code)
	if code == ldap.LDAPResultSuccess { // the bind succeeded, but the account may do nothing
		code = ldap.LDAPResultInsufficientAccessRights
	}
	err = ldap.NewError(code, errors.New(a.detail()))
	if v.why != nil {
		err = fmt.Errorf("%w: %w", v.why, err)
	}
	return fmt.Errorf("bind as %q: %w", c.settings.BindDN, err)
}

// close ends the probes and the idle connections. Those in use end when they
// are put back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	p.cancel()
	for _, cn := range idle {
		cn.close()
	}
	p.probes.Wait()
}
