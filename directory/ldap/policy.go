package ldap

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// A policy is the part of a password policy that matters here.
type policy struct {
	maxAge     time.Duration // of a password; 0: it does not expire
	noExpiry   bool          // ignore the dates on which passwords expire (389 DS)
	maxIdle    time.Duration // since the last login, until an account is locked; 0: for ever
	lockFor    time.Duration // after too many wrong passwords; 0: until an administrator unlocks
	mustChange bool          // after a reset by an administrator
	failures   int           // wrong passwords that lock an account; 0: none do
	window     time.Duration // in which they are counted; 0: for ever
	missing    string        // DN of the policy that applies, if it cannot be read
	rules      directory.PasswordRules
}

// policiesFor is how long policies are remembered.
const policiesFor = 5 * time.Minute

var policyAttributes = []string{
	"pwdMaxAge", "pwdMaxIdle", "pwdLockout", "pwdLockoutDuration", "pwdMustChange", "pwdMaxFailure", "pwdFailureCountInterval",
	"pwdCheckQuality", "pwdMinLength", "pwdInHistory", "pwdMinAge",
}

// nsPolicyAttributes are those of 389 DS. It knows some of them by the names above
// too, but returns a value by one name only.
var nsPolicyAttributes = []string{
	"passwordExp", "passwordLockout", "passwordMaxFailure", "passwordResetFailureCount", "nsslapd-pwpolicy-local", "accountInactivityLimit",
	"passwordCheckSyntax", "passwordMinLength", "passwordMinCategories", "passwordHistory", "passwordInHistory", "passwordMinAge",
}

func readPolicy(e entry) policy {
	p := policy{
		maxAge:     seconds(e.first("pwdMaxAge")),
		maxIdle:    seconds(e.first("pwdMaxIdle")),
		lockFor:    seconds(e.first("pwdLockoutDuration")),
		mustChange: isTrue(e.first("pwdMustChange")),
		window:     seconds(e.first("pwdFailureCountInterval")),
		rules:      ppolicyRules(e),
	}
	if isTrue(e.first("pwdLockout")) {
		p.failures, _ = strconv.Atoi(e.first("pwdMaxFailure"))
	}
	return p
}

// strictest is used if no policy can be read: accounts that are marked as reset or
// locked are refused.
var strictest = policy{mustChange: true}

// stricter returns the stricter of each part of two policies.
func stricter(a, b policy) policy {
	shorter := func(a, b time.Duration) time.Duration { // 0 is none
		if a == 0 || b != 0 && b < a {
			return b
		}
		return a
	}
	longer := func(a, b time.Duration) time.Duration { // 0 is for ever
		if a == 0 || b == 0 {
			return 0
		}
		return max(a, b)
	}
	return policy{
		maxAge:     shorter(a.maxAge, b.maxAge),
		maxIdle:    shorter(a.maxIdle, b.maxIdle),
		lockFor:    longer(a.lockFor, b.lockFor),
		mustChange: a.mustChange || b.mustChange,
		failures:   int(shorter(time.Duration(a.failures), time.Duration(b.failures))),
		window:     longer(a.window, b.window),
		rules: directory.PasswordRules{
			Length: max(a.rules.Length, b.rules.Length), Kinds: max(a.rules.Kinds, b.rules.Kinds),
			History: max(a.rules.History, b.rules.History), Age: max(a.rules.Age, b.rules.Age),
		},
	}
}

// policies are the policy entries of a directory.
type policies struct {
	byDN  map[string]policy // by the key of the DN
	usual directory.DN      // of the default policy; zero if there is none
}

// policyOf returns the policy for an entry.
func (c *Client) policyOf(ctx context.Context, search searchFunc, e entry) (policy, error) {
	switch {
	case c.settings.Kind == "389ds":
		return c.nsPolicy(ctx, search, e)
	case !c.kind.ppolicy:
		return policy{}, nil
	}
	known, err := c.loadPolicies(ctx, search)
	if err != nil {
		return policy{}, err
	}
	name := cmp.Or(e.first("pwdPolicySubentry"), known.usual.String())
	if p, ok := known.byDN[foldDN(name)]; ok {
		return p, nil
	}
	if name == "" { // one of several applies, and it is not known which
		all := slices.Collect(maps.Values(known.byDN))
		if len(all) == 0 {
			return strictest, nil
		}
		p := all[0]
		for _, other := range all[1:] {
			p = stricter(p, other)
		}
		return p, nil
	}
	found, err := c.policyAt(ctx, search, name)
	if len(found.attrs) == 0 {
		return policy{mustChange: true, missing: name}, err
	}
	return readPolicy(found), err
}

// policyAt returns a policy entry by its DN, without attributes if it cannot be
// read.
func (c *Client) policyAt(ctx context.Context, search searchFunc, dn string) (entry, error) {
	if e, known := c.policyEntries.recall(foldDN(dn), c.now()); known {
		return e, nil
	}
	attributes := policyAttributes
	if c.settings.Kind == "389ds" {
		attributes = nsPolicyAttributes
	}
	e, _, err := read(ctx, search, dn, attributes...)
	if err != nil && !ldap.IsErrorAnyOf(err, ldap.LDAPResultInsufficientAccessRights) {
		return e, err
	}
	until := c.now().Add(policiesFor)
	if len(e.attrs) == 0 {
		until = c.now().Add(hiddenFor)
	}
	c.policyEntries.remember(foldDN(dn), e, until)
	return e, nil
}

// Where 389 DS keeps its global policies. Most service accounts may not read
// them.
const (
	nsGlobalPolicy = "cn=config"
	nsGlobalIdle   = "cn=config,cn=Account Policy Plugin,cn=plugins,cn=config"
)

// nsPolicy returns the policies of 389 DS for an entry: the local password
// policy, if there is one, or else the global one, and the account policy.
func (c *Client) nsPolicy(ctx context.Context, search searchFunc, e entry) (policy, error) {
	global, err := c.policyAt(ctx, search, nsGlobalPolicy)
	if err != nil {
		return policy{}, err
	}
	p := policy{failures: 3} // the default in a local policy
	at, found := nsGlobalPolicy, global
	if local := e.first("pwdPolicySubentry"); local != "" && !strings.EqualFold(global.first("nsslapd-pwpolicy-local"), "off") {
		at = local
		if found, err = c.policyAt(ctx, search, local); err != nil {
			return p, err
		}
	}
	idleAt := cmp.Or(e.first("acctPolicySubentry"), nsGlobalIdle)
	idle, err := c.policyAt(ctx, search, idleAt)
	p.maxIdle = seconds(idle.first("accountInactivityLimit"))
	if idleAt != nsGlobalIdle && len(idle.attrs) == 0 {
		p.missing = idleAt
	}
	off := func(name string) bool { // a value that a local policy lacks is off
		value := found.first(name)
		return strings.EqualFold(value, "off") || value == "" && at != nsGlobalPolicy
	}
	switch n, convErr := strconv.Atoi(found.first("passwordMaxFailure")); {
	case len(found.attrs) == 0:
		p.missing = cmp.Or(p.missing, at) // a local account policy that cannot be read refuses the login, cn=config does not
	case off("passwordLockout"):
		p.failures = 0
	case convErr == nil:
		p.failures = n
	case at == nsGlobalPolicy:
		p.missing = cmp.Or(p.missing, at)
	}
	p.noExpiry = len(found.attrs) > 0 && off("passwordExp")
	p.window = seconds(found.first("passwordResetFailureCount"))
	p.rules = nsRules(found)
	return p, err
}

func (c *Client) loadPolicies(ctx context.Context, search searchFunc) (policies, error) {
	if p, known := c.policies.recall("", c.now()); known {
		return p, nil
	}
	entries, err := all(ctx, search, c.settings.GroupBase, "(objectClass=pwdPolicy)", append(policyAttributes, "cn")...)
	if err != nil {
		return policies{}, err
	}
	p := policies{make(map[string]policy, len(entries)), directory.DNOf(c.settings.PasswordPolicy)}
	for _, e := range entries {
		p.byDN[foldDN(e.dn)] = readPolicy(e)
		// This is a guess: slapd's configuration names the default policy.
		if c.settings.PasswordPolicy == "" && (len(entries) == 1 || strings.EqualFold(e.first("cn"), "default")) {
			p.usual = directory.DNOf(e.dn)
		}
	}
	c.policies.remember("", p, c.now().Add(policiesFor))
	return p, nil
}

// Lockout implements directory.Directory. An error means that the service account
// may not read the policy, or that no server answers.
func (c *Client) Lockout(ctx context.Context, u *directory.User) (threshold int, window time.Duration, err error) {
	c, err = c.home(ctx, u)
	if err != nil {
		return 0, 0, err
	}
	var p policy
	switch c.settings.Kind {
	case "active_directory":
		p, err = c.adPolicy(ctx, u)
	case "freeipa":
		p, err = c.ipaLockout(ctx)
	default:
		p, err = c.policyLockout(ctx, u)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("lock-out policy for %q: %w", u.Name, err)
	}
	return p.failures, p.window, nil
}

// psoAttribute names the fine-grained policy of a user, on Active Directory.
const psoAttribute = "msDS-ResultantPSO"

// adPolicy reads the fine-grained policy of the user, or else the domain's.
func (c *Client) adPolicy(ctx context.Context, u *directory.User) (policy, error) {
	e, _, err := read(ctx, c.search, u.DN, psoAttribute)
	if err != nil {
		return policy{}, err
	}
	dn, threshold, window := domainOf(c.settings.Base), "lockoutThreshold", "lockOutObservationWindow"
	length, history, age, complexity := "minPwdLength", "pwdHistoryLength", "minPwdAge", "pwdProperties"
	if pso := e.first(psoAttribute); pso != "" {
		dn, threshold, window = pso, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow"
		length, history, age, complexity = "msDS-MinimumPasswordLength", "msDS-PasswordHistoryLength", "msDS-MinimumPasswordAge", "msDS-PasswordComplexityEnabled"
	}
	if e, _, err = read(ctx, c.search, dn, threshold, window, length, history, age, complexity); err != nil {
		return policy{}, err
	}
	n, err := strconv.Atoi(e.first(threshold))
	if err != nil {
		return policy{}, fmt.Errorf("%q cannot be read", dn)
	}
	rules := directory.PasswordRules{Length: number(e, length), History: number(e, history), Age: interval(e.first(age))}
	const domainPasswordComplex = 1
	if isTrue(e.first(complexity)) || number(e, complexity)&domainPasswordComplex != 0 {
		rules.Kinds = complexKinds
	}
	return policy{failures: n, window: interval(e.first(window)), rules: rules}, nil
}

// policyLockout reads the policy entry that applies to the user.
func (c *Client) policyLockout(ctx context.Context, u *directory.User) (policy, error) {
	e, _, err := read(ctx, c.search, u.DN, "pwdPolicySubentry")
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

// ipaLockout reads the policies of the KDC and returns the one that locks
// first.
func (c *Client) ipaLockout(ctx context.Context) (policy, error) {
	entries, err := all(ctx, c.search, domainOf(c.settings.Base), "(objectClass=krbPwdPolicy)", "krbPwdMaxFailure", "krbPwdFailureCountInterval")
	if err != nil {
		return policy{}, err
	}
	if len(entries) == 0 {
		return policy{}, fmt.Errorf("no krbPwdPolicy entry can be read")
	}
	var first policy
	for _, e := range entries {
		p := policy{failures: number(e, "krbPwdMaxFailure"), window: seconds(e.first("krbPwdFailureCountInterval"))}
		switch {
		case first.failures == 0:
			first = p
		case p.failures > 0:
			first = stricter(first, p)
		}
	}
	return first, nil
}
