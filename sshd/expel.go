package sshd

import (
	"io"
	"maps"
	"slices"

	"berth/sshd/event"
)

// enter and leave keep the list of what runs on c, for tell.
func (c *conn) enter(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = map[*session]struct{}{}
	}
	c.sessions[s] = struct{}{}
}

func (c *conn) leave(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

func (c *conn) runs() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.sessions))
}

// tell writes a line to the standard error of all that runs on c, which clients
// show to the person. It is done beside, because a client that does not read
// would hold it up, and once at a time.
func (c *conn) tell(line string) {
	if !c.telling.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.survive()
		defer c.telling.Store(false)
		for _, s := range c.runs() {
			io.WriteString(s.ch.Stderr(), line+"\r\n") // a terminal needs the CR, and all else can do with it
		}
	}()
}

// revoke ends a session that err no longer allows.
func (c *conn) revoke(err error) {
	if !c.ending.CompareAndSwap(nil, &ending{event.Revoked, reasonOf(err).String()}) {
		return // it is on its way out
	}
	c.emit(event.Event{Type: event.LoginRevoked, Reason: reasonOf(err), Detail: err.Error()})
	line := sentence(err)
	if line == "" {
		line = "You may not go on here."
	}
	c.expel(event.Revoked, line+" This session has ended.")
}

// expel ends a connection whose reason has been set. The SSH library sends no
// disconnect message, so line goes to whatever runs, which is then ended; a
// client that does not leave by itself is cut off.
func (c *conn) expel(reason event.Reason, line string) {
	c.closeSoon(reason)
	go func() {
		defer c.survive()
		for _, s := range c.runs() {
			io.WriteString(s.ch.Stderr(), line+"\r\n")
			s.exit(statusRevoked)
		}
		if len(c.runs()) == 0 {
			c.close(reason)
		}
	}()
}

// statusRevoked is the exit status of what was ended.
const statusRevoked = 255

// narrow gives an open session other rights, from the next operation on.
func (c *conn) narrow(from, to *grant) {
	c.grant.Store(to)
	switch {
	case to.restricted != nil && from.restricted == nil:
		c.emit(event.Event{Type: event.RightsChanged, Reason: reasonOf(to.restricted)})
		c.tell(to.restriction())
	case !sameRights(from.policy, to.policy) || (to.restricted == nil) != (from.restricted == nil):
		c.emit(event.Event{Type: event.RightsChanged, Detail: changedRules(from.policy, to.policy)})
		c.tell("What you may do here has changed.")
	}
}
