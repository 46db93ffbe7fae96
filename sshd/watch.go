package sshd

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/login"
)

// Watch watches the open connections until ctx ends. It sends keep-alive requests, ends
// sessions that were idle or open for too long, and looks up their users again every
// Recheck. A session ends within Recheck if the directory or the rules no longer allow
// the user. Changed rights apply from the next operation on.
func (s *Server) Watch(ctx context.Context) {
	var reviewing sync.WaitGroup
	defer reviewing.Wait()
	reviewing.Go(func() { s.review(ctx) })
	tick := time.Tick(time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick:
			for _, c := range s.connections() {
				c.enforceLimits(now)
			}
		}
	}
}

// review looks up the users of open sessions again until ctx ends. Limits do not wait for
// it, because a directory may be slow.
func (s *Server) review(ctx context.Context) {
	tick := time.Tick(time.Second)
	checked, share := time.Now(), 0
	shares := int(min(maxShares, max(1, s.Recheck/time.Second)))
	each := s.Recheck / time.Duration(shares)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick:
			s.lapse(ctx, now)
			if s.Recheck == 0 || now.Sub(checked) < each {
				continue
			}
			if checked = checked.Add(each); now.Sub(checked) >= each {
				checked = now // reviews that a slow directory has delayed are not made up for, because that would take longer and longer
			}
			s.reconsider(ctx, func(g *login.Grant) bool { return shareOf(g.User.Name, shares) == share })
			share = (share + 1) % shares
		}
	}
}

// maxShares is in how many parts users are looked up again, one after the other within
// Recheck. To ask for thousands at once would be a burst for the directory, in which
// logins wait. More and smaller parts would need more searches.
const maxShares = 6

// shareOf is the part that a name belongs to: all sessions of a user to the same.
func shareOf(name string, shares int) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % uint32(shares))
}

// enforceLimits ends c if c has reached one of its limits, and sends a keep-alive request
// if the client has been silent.
func (c *conn) enforceLimits(now time.Time) {
	g := c.grant.Load()
	if g == nil {
		return // LoginGrace limits a login
	}
	l, idle := g.Policy.Limits, c.idle(now)
	l.Idle = cmp.Or(l.Idle, c.srv.Idle)
	switch {
	case l.Idle > 0 && idle >= l.Idle:
		c.close(event.Idle)
	case l.SessionTime > 0 && now.Sub(c.peer.Opened) >= l.SessionTime:
		c.close(event.SessionTimeOver)
	case c.srv.KeepAlive > 0 && idle >= c.srv.KeepAlive && now.Sub(c.asked) >= c.srv.KeepAlive:
		c.keepAlive(now)
	}
}

// maxUnanswered is how many keep-alive requests may get no answer.
const maxUnanswered = 3

// keepAlive sends a keep-alive request, as OpenSSH does. Any answer counts.
func (c *conn) keepAlive(now time.Time) {
	c.asked = now
	if c.silent.Add(1) > maxUnanswered {
		c.close(event.ClientSilent)
		return
	}
	go func() {
		if _, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			c.silent.Store(0)
		}
	}()
}

// Reconsider looks up the users of all open sessions again, many at once, and
// decides again what they may do. Call it after the rules have changed.
func (s *Server) Reconsider(ctx context.Context) {
	s.reviews.Add(1) // a login that is under way now is reviewed when it ends
	s.reconsider(ctx, func(*login.Grant) bool { return true })
}

// reconsider is Reconsider for the sessions whose grant matches.
func (s *Server) reconsider(ctx context.Context, matches func(*login.Grant) bool) {
	grants := map[*conn]*login.Grant{}
	names := map[string]bool{} // a user with ten sessions is looked up once
	for _, c := range s.connections() {
		if g := c.grant.Load(); g != nil && matches(g) {
			grants[c] = g
			names[g.User.Name] = true
		}
	}
	if len(names) == 0 {
		return
	}
	answers := s.Gate.Directory.LookupMany(directory.Fresh(ctx), slices.Sorted(maps.Keys(names)))
	for c, g := range grants {
		a := answers[g.User.Name]
		next, err := s.Gate.Review(g, a.User, a.Err)
		if err == nil && !c.grant.CompareAndSwap(g, next) {
			s.reviewConn(ctx, c)
			continue
		}
		c.reviewed(g, next, err)
	}
}

// lapse reviews sessions at the moment when the hours of a rule begin or end: all at once,
// because one after the other each would wait for a directory that does not answer.
func (s *Server) lapse(ctx context.Context, now time.Time) {
	s.reconsider(ctx, func(g *login.Grant) bool {
		until := g.Policy.ValidUntil
		return !until.IsZero() && !now.Before(until)
	})
}

// reviewConn reviews c alone.
func (s *Server) reviewConn(ctx context.Context, c *conn) {
	c.reviewed(s.Gate.Recheck(ctx, &c.grant))
}

// reviewed reports what a review has changed, or ends the session.
func (c *conn) reviewed(before, after *login.Grant, err error) {
	switch {
	case err != nil:
		c.revoke(err)
	case after != before:
		c.explainChange(before, after)
	}
}

// explainChange reports changed rights to the sinks and to the person.
func (c *conn) explainChange(from, to *login.Grant) {
	switch {
	case from.SameRights(to):
	case to.Restriction != nil && from.Restriction == nil:
		c.emit(event.Event{Type: event.RightsChanged, Reason: login.ReasonOf(to.Restriction)})
		c.notify(to.Instruction())
	default:
		c.emit(event.Event{
			Type:   event.RightsChanged,
			Fields: map[string]string{"rules": strings.Join(to.Policy.Rules, ", "), "rules_hash": c.srv.Gate.Rules.Hash()},
			Detail: fmt.Sprintf("rules: %s; before: %s", strings.Join(to.Policy.Rules, ", "), strings.Join(from.Policy.Rules, ", ")),
		})
		c.notify("What you may do here has changed.")
	}
}

// notify writes a line to the standard error of all sessions of c. Clients show it to
// the person. A client that does not read would block, so notify uses a goroutine, one
// at a time.
func (c *conn) notify(line string) {
	if !c.notifying.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.survive()
		defer c.notifying.Store(false)
		for _, s := range c.runningSessions() {
			io.WriteString(s.ch.Stderr(), line+"\r\n") // a terminal needs the CR; it does no harm elsewhere
		}
	}()
}

// revoke ends a session that err no longer allows.
func (c *conn) revoke(err error) {
	reason := login.ReasonOf(err)
	line := cmp.Or(login.Sentence(err), "You may not go on here.") + " This session has ended."
	if !c.ending.CompareAndSwap(nil, &ending{event.Revoked, reason.String(), line}) {
		return // it is already being ended
	}
	c.emit(event.Event{Type: event.LoginRevoked, Reason: reason, Detail: err.Error()})
	c.expel()
}

// expel ends a connection whose ending has been set. All sessions show its line and end,
// so that the client can leave by itself. If the client does not leave, it gets the line
// once more with DISCONNECT, and the connection is closed.
func (c *conn) expel() {
	why := c.ending.Load()
	c.closeSoon(why.reason)
	go func() {
		defer c.survive()
		for _, s := range c.runningSessions() {
			io.WriteString(s.ch.Stderr(), why.line+"\r\n")
			s.sendStatus(statusRevoked)
			s.ch.Close() // without EOF, because the service may be writing
		}
		if len(c.runningSessions()) == 0 {
			c.close(why.reason)
		}
	}()
}

// statusRevoked is the exit status of a service that was ended.
const statusRevoked = 255
