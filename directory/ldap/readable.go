package ldap

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/directory"
)

// readable reports whether the service account may read what the state of an
// account is in: an attribute that may not be read looks like one that is not
// set. See hiddenState; 389 DS tells the right to read itself.
func (r *reporter) readable(ctx context.Context, e entry) {
	if !r.c.mayHide() {
		return
	}
	var can, cannot []string
	for _, s := range r.c.kind.state {
		if s.rare {
			continue
		}
		for _, a := range s.attributes {
			may, err := r.mayRead(ctx, e.dn, a)
			switch {
			case err != nil:
				r.add(Note, "account state", "whether %s can be read is not known: %v", a, err)
			case may:
				can = append(can, a)
			default:
				cannot = append(cannot, a)
			}
		}
	}
	if len(can) > 0 {
		r.add(OK, "account state", "%s can be read", strings.Join(can, ", "))
	}
	if len(cannot) > 0 {
		r.add(Bad, "account state", "%s cannot be read of %q: let the service account read it; until then nobody may log in, unless unreadable_state is allow",
			strings.Join(cannot, ", "), e.dn)
	}
}

func (r *reporter) mayRead(ctx context.Context, dn, attribute string) (bool, error) {
	if !r.rights {
		return r.c.comparable(ctx, dn, attribute)
	}
	rights, err := r.c.rightsOn(ctx, r.c.search, r.c.settings.BindDN, dn, attribute)
	return strings.Contains(rights, "r"), err
}

// lockouts reports when wrong passwords lock an account and what the shield
// makes of it, for each password policy that a user has.
func (r *reporter) lockouts(ctx context.Context, entries []entry) {
	const what = "lock-out"
	c := r.c
	shield := c.settings.Shield.Threshold
	if shield < 0 {
		r.add(Warning, what, "the shield is off (shield.threshold: %d): guesses here can lock accounts", shield)
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		policy := e.first(psoAttribute) + e.first("pwdPolicySubentry")
		if seen[foldDN(policy)] {
			continue
		}
		seen[foldDN(policy)] = true
		whose := "the default policy"
		if policy != "" {
			whose = policy
		}
		n, window, err := c.Lockout(ctx, &directory.User{Name: c.loginName(e), DN: e.dn})
		switch {
		case err != nil && shield == 0:
			r.add(Warning, what, "%v: let the service account read it, or set shield.threshold; until then the shield assumes %d", err, directory.AssumedThreshold)
		case err != nil:
			r.add(Note, what, "%v: shield.threshold says %d", err, shield)
		case n > 0 && shield > n:
			r.add(Bad, what, "%d wrong passwords lock an account (%s), but shield.threshold says %d: leave it out", n, whose, shield)
		case n == 0:
			r.add(OK, what, "wrong passwords lock no account (%s)", whose)
		default:
			r.add(OK, what, "%d wrong passwords%s lock an account (%s); the shield stops before", n, within(window), whose)
		}
	}
}

func within(window time.Duration) string {
	if window == 0 {
		return ""
	}
	return fmt.Sprintf(" in %v", window)
}
