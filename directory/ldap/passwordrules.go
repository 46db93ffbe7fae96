package ldap

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"berth/directory"
)

// complexKinds is how many kinds of characters Active Directory asks for if passwords
// must be complex ([MS-SAMR] 3.1.1.7.2).
const complexKinds = 3

// PasswordRules implements directory.Directory. With bind_as nobody can read them
// before the user has bound, so there are none.
func (c *Client) PasswordRules(ctx context.Context, u *directory.User) (directory.PasswordRules, error) {
	c, err := c.home(ctx, u)
	if err != nil {
		return directory.PasswordRules{}, err
	}
	var p policy
	switch {
	case c.settings.BindAs != "":
	case c.settings.Kind == "active_directory":
		p, err = c.adPolicy(ctx, u)
	case c.settings.Kind == "freeipa":
		p.rules, err = c.ipaRules(ctx, u)
	default:
		p, err = c.policyLockout(ctx, u)
	}
	if err != nil {
		return directory.PasswordRules{}, fmt.Errorf("password rules for %q: %w", u.Name, err)
	}
	return p.rules, nil
}

// ipaRules reads the policy of the user's entry, or else the global one.
func (c *Client) ipaRules(ctx context.Context, u *directory.User) (directory.PasswordRules, error) {
	e, _, err := read(ctx, c.search, u.DN, "krbPwdPolicyReference")
	if err != nil {
		return directory.PasswordRules{}, err
	}
	entries, err := all(ctx, c.search, domainOf(c.settings.Base), "(objectClass=krbPwdPolicy)", "cn", "krbPwdMinLength", "krbPwdMinDiffChars", "krbPwdHistoryLength", "krbMinPwdLife")
	for _, p := range entries {
		own := e.first("krbPwdPolicyReference")
		if own != "" && foldDN(own) == foldDN(p.dn) || own == "" && strings.EqualFold(p.first("cn"), "global_policy") {
			return directory.PasswordRules{
				Length: number(p, "krbPwdMinLength"), Kinds: number(p, "krbPwdMinDiffChars"),
				History: number(p, "krbPwdHistoryLength"), Age: seconds(p.first("krbMinPwdLife")),
			}, nil
		}
	}
	return directory.PasswordRules{}, cmp.Or(err, fmt.Errorf("no krbPwdPolicy entry can be read"))
}

// number returns the value of an attribute; 0 if it has none.
func number(e entry, attribute string) int {
	n, _ := strconv.Atoi(e.first(attribute))
	return max(n, 0)
}

// ppolicyRules are the rules in a pwdPolicy entry. slapd checks the length only if it
// checks the quality.
func ppolicyRules(e entry) directory.PasswordRules {
	r := directory.PasswordRules{History: number(e, "pwdInHistory"), Age: seconds(e.first("pwdMinAge"))}
	if number(e, "pwdCheckQuality") > 0 {
		r.Length = number(e, "pwdMinLength")
	}
	return r
}

// nsRules are the rules in a policy of 389 DS.
func nsRules(e entry) directory.PasswordRules {
	on := func(name string) bool { return strings.EqualFold(e.first(name), "on") }
	r := directory.PasswordRules{Age: seconds(e.first("passwordMinAge"))}
	if on("passwordHistory") {
		r.History = number(e, "passwordInHistory")
	}
	if on("passwordCheckSyntax") {
		r.Length, r.Kinds = number(e, "passwordMinLength"), number(e, "passwordMinCategories")
	}
	return r
}
