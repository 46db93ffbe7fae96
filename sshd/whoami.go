package sshd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/policy"
	"berth/sshd/login"
)

// serveWhoami shows users the output of berth explain about them, without the parts
// about the server.
func serveWhoami(_ context.Context, s *session, _ string) (uint32, error) {
	g, now := s.conn.grant.Load(), time.Now()
	u := g.User
	why := s.conn.srv.Gate.Rules.Explain(policy.Request{User: u, Remote: s.conn.peer.Remote.Addr(), Method: g.Method, Time: now})
	var text strings.Builder
	if err := why.ForUser().WriteText(&text); err != nil {
		return 1, err
	}
	switch expires := u.State.PasswordExpires; {
	case expires.IsZero():
	case expires.Before(now):
		fmt.Fprintf(&text, "\npassword expired %s\n", expires.Format(login.Day))
	default:
		fmt.Fprintf(&text, "\npassword expires %s\n", login.Expiry(expires, now))
	}
	if g.Restriction != nil {
		fmt.Fprintf(&text, "\n%s\n", g.Instruction())
	}
	for line := range strings.Lines(text.String()) {
		s.say(s.ch, strings.TrimSuffix(line, "\n"))
	}
	return 0, nil
}
