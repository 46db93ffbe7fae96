package sshd

import (
	"errors"
	"fmt"

	"berth/directory"
)

// errTooMany refuses one session more than a rule allows.
var errTooMany = errors.New("too many sessions")

// admit counts c as a session of u unless u has limit of them already. Zero is
// no limit. forget ends the count.
func (s *Server) admit(c *conn, u *directory.User, limit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for other := range s.conns {
		if other != c && other.holder == u.ID {
			open++
		}
	}
	if limit > 0 && open >= limit {
		return fmt.Errorf("%w: %d are open, %d allowed", errTooMany, open, limit)
	}
	c.holder = u.ID
	return nil
}
