package sshd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
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
	if err != nil && !directory.Refused(err) {
		u, err = g.policy.User, nil // the hour is over whether or not the directory answers
	}
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
		c.close(event.Idle)
	case l.SessionTime > 0 && now.Sub(c.opened) >= l.SessionTime:
		c.close(event.SessionTimeOver)
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
		c.close(event.ClientSilent)
		return
	}
	sc := c.established.Load()
	go func() {
		if _, _, err := sc.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			c.silent.Store(0)
		}
	}()
}

// Reconsider looks up the users of all open sessions again, many at once, and
// resolves what they may do. Call it after the rules have changed.
func (s *Server) Reconsider(ctx context.Context) {
	grants := map[*conn]*grant{}
	names := map[string]bool{} // a user with ten sessions is one look-up
	for _, c := range s.open() {
		if g := c.grant.Load(); g != nil {
			grants[c] = g
			names[g.policy.User.Name] = true
		}
	}
	answers := s.Directory.LookupMany(ctx, slices.Sorted(maps.Keys(names)))
	for c, g := range grants {
		a := answers[g.policy.User.Name]
		s.reconsider(c, g, a.User, a.Err)
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
		err = s.replaced(g, u)
	}
	if err == nil {
		err = u.State.Err()
	}
	next := *g
	next.restricted = restrictedTo(err)
	if err == nil || next.restricted != nil {
		next.policy, err = s.Policy.Resolve(policy.Request{User: u, Remote: c.remote.Addr(), Method: c.method, Time: time.Now()})
	}
	switch {
	case err == nil:
		if g.ownChange {
			next.passwordChanged, next.ownChange = u.State.PasswordChanged, false
		}
		if !sameGrant(g, &next) {
			c.narrow(g, &next)
		}
	case revokes(err):
		c.revoke(err)
	default: // could not ask: nobody is thrown out because a server is down
		s.Log.Warn("look up a user with an open session", "user", g.policy.User.Name, "error", err)
	}
}

// revokes reports whether err says that a session must end.
func revokes(err error) bool {
	return directory.Refused(err) || errors.Is(err, policy.ErrDenied) || errors.Is(err, cert.ErrRevoked) || errors.Is(err, cert.ErrAuthority) ||
		errors.Is(err, errKeyRemoved) || errors.Is(err, errPasswordChanged)
}

// What opened a session and would not open another one.
var (
	errKeyRemoved      = errors.New("the key is no longer in the directory")
	errPasswordChanged = errors.New("the password was changed since the login")
)

// replaced returns why what u proved to open a session proves nothing any more.
// A ticket stands for the password it was got with.
func (s *Server) replaced(g *grant, u *directory.User) error {
	if s.OnChange == onChangeKeep || u.Cached {
		return nil
	}
	for _, blob := range g.keys {
		if !slices.ContainsFunc(u.Keys, func(k directory.Key) bool { return string(k.Marshal()) == blob }) {
			return errKeyRemoved
		}
	}
	byPassword := slices.ContainsFunc(g.factors, func(f string) bool { return f == methodPassword || f == methodInteractive || f == methodTicket })
	if byPassword && !g.ownChange && u.State.PasswordChanged.After(g.passwordChanged) {
		return errPasswordChanged
	}
	return nil
}

// sameGrant reports whether there is nothing to replace: a new grant has the
// files of a session opened anew.
func sameGrant(a, b *grant) bool {
	return sameRights(a.policy, b.policy) && a.policy.ValidUntil.Equal(b.policy.ValidUntil) &&
		(a.restricted == nil) == (b.restricted == nil) && a.ownChange == b.ownChange
}

// sameRights reports whether a and b grant the same, whatever else the directory
// says of the user by now, and for however long.
func sameRights(a, b *policy.Policy) bool {
	x, y := *a, *b
	x.User, y.User = nil, nil
	x.ValidUntil, y.ValidUntil = time.Time{}, time.Time{}
	return reflect.DeepEqual(x, y)
}

// changedRules says which rules gave the rights before, and which do now.
func changedRules(a, b *policy.Policy) string {
	return fmt.Sprintf("rules: %s; before: %s", strings.Join(b.Rules, ", "), strings.Join(a.Rules, ", "))
}
