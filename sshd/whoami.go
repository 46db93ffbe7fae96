package sshd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// serveWhoami shows people what the server knows of them, without host paths.
func serveWhoami(_ context.Context, s *session, _ string) (uint32, error) {
	g := s.grant.Load()
	u, p := g.policy.User, g.policy
	line := func(name, format string, args ...any) {
		s.say(s.ch, fmt.Sprintf("%-10s", name+":")+fmt.Sprintf(format, args...))
	}
	line("user", "%s", u.Name)
	line("dn", "%s", u.DN)
	for _, gr := range u.Groups {
		line("group", "%s (%s)", gr.Name, gr.Via)
	}
	line("rules", "%s", strings.Join(p.Rules, ", "))
	if !u.State.PasswordExpires.IsZero() {
		line("password", "expires %s", expiry(u.State.PasswordExpires, time.Now()))
	}
	if g.restricted != nil {
		line("password", "%s", sentence(g.restricted))
	}
	for _, a := range p.Access {
		line("folder", "%-20s %s", a.Path, a.Ops)
	}
	return 0, nil
}
