package sshd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/policy"
)

// serveWhoami shows people what berth explain says of them, as far as it is
// about themselves.
func serveWhoami(_ context.Context, s *session, _ string) (uint32, error) {
	g, now := s.grant.Load(), time.Now()
	u := g.policy.User
	why := s.srv.Policy.Explain(policy.Request{User: u, Remote: s.remote.Addr(), Method: s.method, Time: now})
	var text strings.Builder
	if err := why.ForUser().WriteText(&text); err != nil {
		return 1, err
	}
	if !u.State.PasswordExpires.IsZero() {
		fmt.Fprintf(&text, "\npassword expires %s\n", expiry(u.State.PasswordExpires, now))
	}
	if g.restricted != nil {
		fmt.Fprintf(&text, "\n%s\n", g.restriction())
	}
	for line := range strings.Lines(text.String()) {
		s.say(s.ch, strings.TrimSuffix(line, "\n"))
	}
	return 0, nil
}
