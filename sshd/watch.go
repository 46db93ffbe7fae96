package sshd

import (
	"context"
	"errors"
	"reflect"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event"
)

// Watch looks after the open connections until ctx ends: it asks silent
// clients whether they are still there, ends what has been idle or open for
// longer than it may, and every Recheck looks their users up again, so that
// whom the directory no longer lets in, or no rule, is out within that time,
// and others have their new rights at the next operation.
func (s *Server) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	checked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range s.open() {
				c.look(now)
				s.lapse(ctx, c, now)
			}
			if s.Recheck > 0 && now.Sub(checked) >= s.Recheck {
				checked = now
				s.Reconsider(ctx)
			}
		}
	}
}

// lapse considers c again at the moment when a rule that holds only at certain
// hours begins or ends to hold.
func (s *Server) lapse(ctx context.Context, c *conn, now time.Time) {
	g := c.grant.Load()
	if g == nil || g.policy.ValidUntil.IsZero() || now.Before(g.policy.ValidUntil) {
		return
	}
	u, err := s.Directory.Lookup(ctx, g.policy.User.Name)
	s.reconsider(c, g, u, err)
}

// look ends c if one of its limits is over, and asks the client for a sign of
// life if it has been silent.
func (c *conn) look(now time.Time) {
	g, sc := c.grant.Load(), c.established.Load()
	if g == nil || sc == nil {
		return // LoginGrace bounds it
	}
	l, idle := g.policy.Limits, c.idle(now)
	if l.Idle == 0 {
		l.Idle = c.srv.Idle
	}
	switch {
	case l.Idle > 0 && idle >= l.Idle:
		c.close("idle")
	case l.SessionTime > 0 && now.Sub(c.opened) >= l.SessionTime:
		c.close("session_time_over")
	case c.srv.KeepAlive > 0 && idle >= c.srv.KeepAlive && now.Sub(c.asked) >= c.srv.KeepAlive:
		c.ask(now)
	}
}

// unanswered is how many signs of life may stay away.
const unanswered = 3

// ask sends a keep-alive request, as OpenSSH does. Any answer will do.
func (c *conn) ask(now time.Time) {
	c.asked = now
	if c.silent.Add(1) > unanswered {
		c.close("client does not answer")
		return
	}
	sc := c.established.Load()
	go func() {
		if _, _, err := sc.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			c.silent.Store(0)
		}
	}()
}

// Reconsider looks up the users of all open sessions again, and resolves what
// they may do. Call it after the rules have changed.
func (s *Server) Reconsider(ctx context.Context) {
	type answer struct {
		user *directory.User
		err  error
	}
	seen := map[string]answer{} // a user with ten sessions is one look-up
	for _, c := range s.open() {
		g := c.grant.Load()
		if g == nil {
			continue
		}
		name := g.policy.User.Name
		a, ok := seen[name]
		if !ok {
			a.user, a.err = s.Directory.Lookup(ctx, name)
			seen[name] = a
		}
		s.reconsider(c, g, a.user, a.err)
	}
}

func (s *Server) reconsider(c *conn, g *grant, u *directory.User, err error) {
	if err == nil && u.ID != g.policy.User.ID {
		err = &directory.Refusal{Why: directory.ErrNoUser, Detail: "the name belongs to somebody else now"}
	}
	if err == nil {
		err = s.distrusted(g)
	}
	if err == nil {
		err = u.State.Err()
	}
	restricted := restrictedTo(err)
	var p *policy.Policy
	if err == nil || restricted != nil {
		p, err = s.Policy.Resolve(policy.Request{User: u, Remote: c.remote.Addr(), Method: c.method, Time: time.Now()})
	}
	switch {
	case err == nil && samePolicy(p, g.policy) && (restricted == nil) == (g.restricted == nil):
		// nothing to replace
	case err == nil:
		c.grant.Store(&grant{policy: p, restricted: restricted, certificates: g.certificates})
	case directory.Refused(err) || errors.Is(err, policy.ErrDenied) || errors.Is(err, cert.ErrRevoked) || errors.Is(err, cert.ErrAuthority):
		c.emit(event.Event{Type: event.LoginRevoked, Reason: reasonOf(err), Detail: err.Error()})
		c.close("revoked: " + reasonOf(err))
	default: // could not ask: nobody is thrown out because a server is down
		s.Log.Warn("look up a user with an open session", "user", g.policy.User.Name, "error", err)
	}
}

// samePolicy reports whether a and b grant the same, whatever else the
// directory says of the user by now.
func samePolicy(a, b *policy.Policy) bool {
	x, y := *a, *b
	x.User, y.User = nil, nil
	return reflect.DeepEqual(x, y)
}
