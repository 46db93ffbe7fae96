package ldap

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"berth/directory"
)

// Lockout implements directory.Directory. An error means that the service account
// may not read the policy, or that no server answers.
func (c *Client) Lockout(ctx context.Context, u *directory.User) (threshold int, window time.Duration, err error) {
	read := map[string]func(context.Context, *directory.User) (policy, error){
		"active_directory": c.adLockout,
		"freeipa":          c.ipaLockout,
	}[c.settings.Kind]
	if read == nil {
		read = c.policyLockout
	}
	p, err := read(ctx, u)
	if err != nil {
		return 0, 0, fmt.Errorf("lock-out policy for %q: %w", u.Name, err)
	}
	return p.failures, p.window, nil
}

// psoAttribute names the fine-grained policy of a user, on Active Directory.
const psoAttribute = "msDS-ResultantPSO"

// adLockout reads the fine-grained policy of the user, or else the domain's.
func (c *Client) adLockout(ctx context.Context, u *directory.User) (policy, error) {
	e, _, err := read(ctx, c.search, u.DN, "(objectClass=*)", psoAttribute)
	if err != nil {
		return policy{}, err
	}
	dn, threshold, window := domainOf(c.settings.Base), "lockoutThreshold", "lockOutObservationWindow"
	if pso := e.first(psoAttribute); pso != "" {
		dn, threshold, window = pso, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow"
	}
	if e, _, err = read(ctx, c.search, dn, "(objectClass=*)", threshold, window); err != nil {
		return policy{}, err
	}
	n, err := strconv.Atoi(e.first(threshold))
	if err != nil {
		return policy{}, fmt.Errorf("%q cannot be read", dn)
	}
	return policy{failures: n, window: interval(e.first(window))}, nil
}

// policyLockout reads the policy entry that applies to the user.
func (c *Client) policyLockout(ctx context.Context, u *directory.User) (policy, error) {
	e, _, err := read(ctx, c.search, u.DN, "(objectClass=*)", "pwdPolicySubentry")
	if err != nil {
		return policy{}, err
	}
	p, err := c.policyOf(ctx, c.search, e)
	switch {
	case err == nil && p.missing != "":
		err = fmt.Errorf("%s cannot be read", p.missing)
	case err == nil && p == strictest:
		err = fmt.Errorf("no policy entry can be read")
	}
	return p, err
}

// ipaLockout reads the policies of the KDC and takes the one that locks first.
func (c *Client) ipaLockout(ctx context.Context, _ *directory.User) (policy, error) {
	entries, err := all(ctx, c.search, domainOf(c.settings.Base), "(objectClass=krbPwdPolicy)", "krbPwdMaxFailure", "krbPwdFailureCountInterval")
	if err != nil {
		return policy{}, err
	}
	if len(entries) == 0 {
		return policy{}, fmt.Errorf("no krbPwdPolicy entry can be read")
	}
	var first policy
	for _, e := range entries {
		n, err := strconv.Atoi(e.first("krbPwdMaxFailure"))
		if err == nil && n > 0 && (first.failures == 0 || n < first.failures) {
			first.failures = n
		}
		first.window = max(first.window, seconds(e.first("krbPwdFailureCountInterval")))
	}
	return first, nil
}
