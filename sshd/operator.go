package sshd

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
)

// Sessions describes the open sessions for an operator, oldest first.
// Connections on which nobody has logged in are not among them.
func (s *Server) Sessions() []admin.Session { return describe(s.sessions("")) }

// Kick ends the session with the id who, or all of the user with the name who,
// whatever its case, and returns what they were. It keeps nobody from coming
// back: that is for the directory or a rule.
func (s *Server) Kick(who string) []admin.Session {
	conns := s.sessions(who)
	kicked := describe(conns)
	for _, c := range conns {
		if c.ending.CompareAndSwap(nil, &ending{reason: event.EndedByOperator}) {
			c.expel(event.EndedByOperator, "An operator has ended this session.")
		}
	}
	return kicked
}

// sessions returns the connections of who, or all, on which somebody has logged
// in, oldest first.
func (s *Server) sessions(who string) []*conn {
	conns := slices.DeleteFunc(s.open(), func(c *conn) bool {
		return c.grant.Load() == nil || (who != "" && who != c.id && !strings.EqualFold(who, c.user))
	})
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Or(a.opened.Compare(b.opened), cmp.Compare(a.id, b.id)) })
	return conns
}

func describe(conns []*conn) []admin.Session {
	now := time.Now()
	var all []admin.Session
	for _, c := range conns {
		all = append(all, admin.Session{
			ID: c.id, User: c.user, Remote: c.remote, Method: c.method, Client: c.client,
			Since: c.opened, Idle: c.idle(now), Files: int(c.openFiles.Load()),
			Read: c.moved.read.Load(), Written: c.moved.written.Load(), Services: c.services(),
		})
	}
	return all
}

// services names what runs on c.
func (c *conn) services() []string {
	names := []string{} // not null in JSON
	for _, s := range c.runs() {
		if sv := s.service.Load(); sv != nil {
			names = append(names, sv.name)
		}
	}
	slices.Sort(names)
	return names
}
