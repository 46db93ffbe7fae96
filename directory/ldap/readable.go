package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// readable reports whether the service account may read the attributes of account
// state.
func (r *reporter) readable(ctx context.Context, e entry) {
	const what = "account state"
	if !r.c.mayHide() {
		return
	}
	hidden, err := r.c.hiddenNow(ctx, e.dn)
	if err != nil {
		r.add(Bad, what, err.Error())
		return
	}
	if len(hidden) > 0 {
		r.add(Bad, what, "%s cannot be read of %q: let the service account read it; until then nobody may log in, unless unreadable_state is allow",
			strings.Join(hidden, ", "), e.dn)
	}
	open := slices.DeleteFunc(r.c.stateAttributes(), func(a string) bool { return slices.Contains(hidden, a) })
	r.add(OK, what, "%s can be read", strings.Join(open, ", "))
}

// lockouts reports, for each password policy of a user, after how many wrong
// passwords an account is locked, and whether the shield stops before.
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
			within := ""
			if window > 0 {
				within = fmt.Sprintf(" in %v", window)
			}
			r.add(OK, what, "%d wrong passwords%s lock an account (%s); the shield stops before", n, within, whose)
		}
	}
}
