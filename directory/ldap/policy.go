package ldap

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/directory"
)

// A policy is what a password policy says, as far as it matters here.
type policy struct {
	maxAge     time.Duration // of a password; 0: it does not expire
	lockFor    time.Duration // after too many wrong passwords; 0: until an administrator unlocks
	mustChange bool          // after a reset by an administrator
	failures   int           // wrong passwords that lock an account; 0: none do
	window     time.Duration // in which they are counted; 0: for ever
}

// policiesFor is how long policies are remembered.
const policiesFor = 5 * time.Minute

var policyAttributes = []string{
	"cn", "pwdMaxAge", "pwdLockout", "pwdLockoutDuration", "pwdMustChange", "pwdMaxFailure", "pwdFailureCountInterval",
}

func readPolicy(e entry) policy {
	p := policy{
		maxAge:     seconds(e.first("pwdMaxAge")),
		lockFor:    seconds(e.first("pwdLockoutDuration")),
		mustChange: isTrue(e.first("pwdMustChange")),
		window:     seconds(e.first("pwdFailureCountInterval")),
	}
	if isTrue(e.first("pwdLockout")) {
		p.failures, _ = strconv.Atoi(e.first("pwdMaxFailure"))
	}
	return p
}

// strictest is taken where no policy can be read: an account marked as reset or
// locked then stays so.
var strictest = policy{mustChange: true}

// policies remembers the policy entries of a directory.
type policies struct {
	mu    sync.Mutex
	until time.Time
	byDN  map[string]policy // by the key of the DN
	usual directory.DN      // of the default policy; zero if there is none
}

// policyOf returns the policy for an entry, where policies are entries.
func (c *Client) policyOf(ctx context.Context, search searchFunc, e entry) (policy, error) {
	if !c.usesPpolicy() {
		return policy{}, nil
	}
	byDN, usual, err := c.loadPolicies(ctx, search)
	if err != nil {
		return policy{}, err
	}
	dn := directory.DNOf(e.first("pwdPolicySubentry"))
	if dn.IsZero() {
		dn = usual
	}
	if p, ok := byDN[dn.Key()]; ok {
		return p, nil
	}
	return strictest, nil
}

func (c *Client) usesPpolicy() bool {
	for _, r := range c.kind.state {
		for _, a := range r.attributes {
			if a == "pwdPolicySubentry" {
				return true
			}
		}
	}
	return false
}

func (c *Client) loadPolicies(ctx context.Context, search searchFunc) (map[string]policy, directory.DN, error) {
	p := &c.policies
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byDN != nil && c.now().Before(p.until) {
		return p.byDN, p.usual, nil
	}
	entries, err := all(ctx, search, c.settings.GroupBase, "(objectClass=pwdPolicy)", policyAttributes...)
	if err != nil {
		return nil, directory.DN{}, err
	}
	byDN := make(map[string]policy, len(entries))
	for _, e := range entries {
		byDN[foldDN(e.dn)] = readPolicy(e)
	}
	p.byDN, p.usual, p.until = byDN, c.usualPolicy(entries), c.now().Add(policiesFor)
	return p.byDN, p.usual, nil
}

// usualPolicy guesses which entry is the default policy: slapd keeps that in its
// own configuration.
func (c *Client) usualPolicy(entries []entry) directory.DN {
	if c.settings.PasswordPolicy != "" {
		return directory.DNOf(c.settings.PasswordPolicy)
	}
	for _, e := range entries {
		if len(entries) == 1 || strings.EqualFold(e.first("cn"), "default") {
			return directory.DNOf(e.dn)
		}
	}
	return directory.DN{}
}
