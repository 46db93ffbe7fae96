package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/login"
)

const (
	mostSessions = 1000            // may be open at once
	mostPages    = 20              // of a session at once: a browser asks for six. Others need connections and memory, too
	askTime      = 5 * time.Second // how long the directory may take before a change: an operator must be able to end a session in an outage, too
)

// A session is of somebody who has logged in.
type session struct {
	id      string // in events
	csrf    string
	from    netip.AddrPort
	began   time.Time
	grant   atomic.Pointer[login.Grant]
	seen    atomic.Int64 // Unix time of the last page
	pages   atomic.Int32 // that are being answered, streams included
	ended   chan struct{}
	release func()
}

// sessions are the open ones, by the hash of the token in the cookie. So nobody who reads
// the memory of the server can use a session.
type sessions struct {
	mu      sync.Mutex
	open    map[[sha256.Size]byte]*session
	stopped bool // no other is opened
}

// cookieName has the prefix that keeps other hosts from setting the cookie, where there is
// TLS (RFC 6265bis, section 4.1.3).
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-berth"
	}
	return "berth"
}

func setCookie(w http.ResponseWriter, r *http.Request, value string) {
	age := 0 // ends with the browser
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	c.show(w, http.StatusOK, "login.html", view{Title: say("login.title"), Node: c.Node})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		c.fail(w, http.StatusBadRequest, say("login.no_address"))
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	s := &session{id: random(8), csrf: random(32), from: from, began: time.Now(), ended: make(chan struct{})}
	loggedIn, err := c.Gate.State.Admit(from.Addr())
	if err != nil {
		c.Events.Emit(event.Event{Type: event.ConnectionRefused, Session: s.id, Remote: from, Service: read, Reason: login.ReasonOf(err), Detail: err.Error()})
		c.fail(w, http.StatusForbidden, cmp.Or(login.Sentence(err), say("login.not_now")))
		return
	}
	defer loggedIn()
	grant, release, message, err := c.Gate.Form(r.Context(), login.Form{
		Peer:   login.Peer{Session: s.id, Remote: from, Source: from.Addr(), Opened: s.began},
		Client: r.UserAgent(), Service: read,
		Name: r.PostFormValue("name"), Password: r.PostFormValue("password"), Code: strings.TrimSpace(r.PostFormValue("code")),
	})
	if err != nil {
		c.show(w, http.StatusForbidden, "login.html", view{Title: say("login.title"), Node: c.Node, Body: cmp.Or(strings.TrimSpace(message), say("login.refused"))})
		return
	}
	s.release = release
	s.grant.Store(grant)
	s.seen.Store(s.began.Unix())
	token := random(32)
	if why := c.sessions.add(token, s); why != (event.Reason{}) {
		c.closed(s, why, nil)
		sentence := say("login.too_many")
		if why == event.ShuttingDown {
			sentence = say("login.not_now")
		}
		c.fail(w, http.StatusServiceUnavailable, sentence)
		return
	}
	setCookie(w, r, token)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// add opens s. A reason is why it cannot.
func (l *sessions) add(token string, s *session) event.Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return event.ShuttingDown
	case len(l.open) >= mostSessions:
		return event.TotalSessions
	case l.open == nil:
		l.open = map[[sha256.Size]byte]*session{}
	}
	l.open[sha256.Sum256([]byte(token))] = s
	return event.Reason{}
}

// stop opens no other session, not even for a login that is under way.
func (l *sessions) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

func (l *sessions) find(token string) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[sha256.Sum256([]byte(token))]
}

// take removes s and reports whether it was open.
func (l *sessions) take(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.open)
	maps.DeleteFunc(l.open, func(_ [sha256.Size]byte, other *session) bool { return other == s })
	return len(l.open) < before
}

func (l *sessions) all() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.open))
}

// end ends s. err is why the directory or the rules no longer allow it, if they do not.
func (c *Console) end(s *session, reason event.Reason, err error) {
	if !c.sessions.take(s) {
		return
	}
	close(s.ended)
	c.closed(s, reason, err)
}

// closed reports that s has ended, and no longer counts it.
func (c *Console) closed(s *session, reason event.Reason, err error) {
	s.release()
	u := s.grant.Load().User
	e := event.Event{Session: s.id, User: u.Name, UserID: u.ID, Directory: u.Source, Remote: s.from, Service: read}
	if err != nil {
		revoked := e
		revoked.Type, revoked.Reason, revoked.Detail = event.LoginRevoked, login.ReasonOf(err), err.Error()
		c.Events.Emit(revoked)
	}
	e.Type, e.Reason, e.Duration = event.ConnectionClosed, reason, time.Since(s.began)
	c.Events.Emit(e)
}

// as gives h the session of the request, if its person may use a service. Nobody without
// a session learns more than that there is a login page. A session is used from the
// address that it was opened from: a cookie that was copied to another machine ends it.
func (c *Console) as(service string, h func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var s *session
		if cookie, err := r.Cookie(cookieName(r)); err == nil {
			s = c.sessions.find(cookie.Value)
		}
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if s != nil && (err != nil || from.Addr().Unmap() != s.from.Addr()) {
			c.end(s, event.ConsoleAddress, nil)
			s = nil
		}
		if s != nil && c.expired(s, time.Now()) {
			s = nil
		}
		if s == nil {
			setCookie(w, r, "")
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		defer s.pages.Add(-1)
		if s.pages.Add(1) > mostPages {
			c.fail(w, http.StatusTooManyRequests, say("error.too_many_pages"))
			return
		}
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				c.fail(w, http.StatusBadRequest, say("form.unreadable", err))
				return
			}
			if subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(s.csrf)) != 1 {
				c.fail(w, http.StatusForbidden, say("form.forged"))
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), askTime)
			c.reconsider(ctx, s) // before a change, the directory is asked
			cancel()
			if s.gone() {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
		}
		if s.grant.Load().Serves(service) != nil {
			c.fail(w, http.StatusForbidden, say("error.no_service", service))
			return
		}
		if r.URL.Path != "/stream" && r.URL.Path != "/result" { // requests that an open page makes by itself do not count as activity
			s.seen.Store(time.Now().Unix())
		}
		h(w, r, s)
	}
}

func (s *session) gone() bool { return isClosed(s.ended) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// expired ends s if it was open, or idle, for too long.
func (c *Console) expired(s *session, now time.Time) bool {
	switch limits := s.grant.Load().Policy.Limits; {
	case now.Sub(s.began) >= c.SessionTime, limits.SessionTime > 0 && now.Sub(s.began) >= limits.SessionTime:
		c.end(s, event.SessionTimeOver, nil)
	case now.Sub(time.Unix(s.seen.Load(), 0)) >= c.Idle:
		c.end(s, event.Idle, nil)
	}
	return s.gone()
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request, s *session) {
	c.end(s, event.Reason{}, nil)
	setCookie(w, r, "")
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// Watch ends sessions that have expired, and those whose people the directory or the rules
// no longer allow, until ctx ends. Then it ends all. A directory that does not answer delays
// nothing else.
func (c *Console) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	checked := time.Now()
	sampled := checked
	var checks sync.WaitGroup
	var checking atomic.Bool
	for {
		select {
		case <-ctx.Done():
			c.sessions.stop()
			for _, s := range c.sessions.all() {
				c.end(s, event.ShuttingDown, nil)
			}
			checks.Wait()
			c.jobs.stop()
			c.live.asking.Wait()
			return
		case now := <-tick.C:
			c.jobs.forget(now)
			if now.Sub(sampled) >= sampleEvery {
				sampled = now
				c.History.sample(c.Operators.Sessions())
			}
			everybody := c.Recheck > 0 && now.Sub(checked) >= c.Recheck
			var due []*session
			for _, s := range c.sessions.all() {
				until := s.grant.Load().Policy.ValidUntil
				if !c.expired(s, now) && (everybody || !until.IsZero() && !now.Before(until)) {
					due = append(due, s)
				}
			}
			if len(due) == 0 || !checking.CompareAndSwap(false, true) {
				continue // the next second has them as well
			}
			if everybody {
				checked = now
			}
			checks.Go(func() {
				defer checking.Store(false)
				for _, s := range due {
					c.reconsider(ctx, s)
				}
			})
		}
	}
}

// reconsider makes the decision of the login again, and ends s if it is another one now.
func (c *Console) reconsider(ctx context.Context, s *session) {
	_, next, err := c.Gate.Recheck(ctx, &s.grant)
	if err == nil {
		err = cmp.Or(next.Restriction, next.Serves(read))
	}
	if err != nil {
		c.end(s, event.Revoked, err)
	}
}

// caller is s as the operator who asks for something.
func (s *session) caller() admin.Caller {
	return admin.Caller{User: s.grant.Load().User.Name, Console: s.id}
}
