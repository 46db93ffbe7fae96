package ldap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Find implements directory.Directory.
func (c *Client) Find(ctx context.Context, prefix string, most int) (found []directory.Found, more bool, err error) {
	if c.settings.BindAs != "" {
		return nil, false, fmt.Errorf("find users: with bind_as there is no account to do it with: %w", directory.ErrNotListed)
	}
	if checkName(prefix) != nil {
		return nil, false, nil
	}
	if c.forest != nil {
		if c, err = c.forest.catalog(ctx); err != nil {
			return nil, false, fmt.Errorf("find users: %w", err)
		}
	}
	entries, more, err := c.beginning(ctx, prefix, most)
	if err != nil {
		return nil, false, fmt.Errorf("find users: %w", err)
	}
	for _, e := range entries {
		if name := c.loginName(e); name != "" {
			found = append(found, directory.Found{Source: c.settings.Name, Name: name, FullName: cmp.Or(e.first("displayName"), e.first("cn")), DN: e.dn})
		}
	}
	slices.SortFunc(found, func(a, b directory.Found) int { return strings.Compare(a.Name, b.Name) })
	return found, more, nil
}

// findBy returns the attributes that Find searches.
func (s Settings) findBy() []string {
	return slices.DeleteFunc(append(slices.Clone(s.LoginAttributes), "cn", "sn"), func(a string) bool { return a == none })
}

// beginning searches for Find. A server may give up a search if one of the attributes has
// no index (result 11; 389 DS has none for beginnings of uid by default). Then each attribute
// is searched by itself. Those for which the server gives up again are left out, and more is
// true.
func (c *Client) beginning(ctx context.Context, prefix string, most int) (entries []entry, more bool, err error) {
	by := func(attributes ...string) ([]entry, bool, error) {
		return upTo(ctx, c.search, c.settings.Base, c.prefixFilter(prefix, attributes), most, c.settings.NameAttribute, "displayName", "cn")
	}
	attributes := c.settings.findBy()
	entries, more, err = by(attributes...)
	if !ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded) {
		return entries, more, err
	}
	seen := map[string]bool{}
	for _, a := range attributes {
		some, _, oneErr := by(a)
		switch {
		case ldap.IsErrorAnyOf(oneErr, ldap.LDAPResultAdminLimitExceeded):
			continue
		case oneErr != nil:
			return nil, false, oneErr
		}
		err = nil
		for _, e := range some {
			if !seen[e.dn] && len(entries) < most {
				seen[e.dn] = true
				entries = append(entries, e)
			}
		}
	}
	return entries, true, err
}

// prefixFilter matches users with a value that begins with prefix in one of the attributes.
func (c *Client) prefixFilter(prefix string, attributes []string) string {
	begin := ldap.EscapeFilter(prefix) + "*"
	if strings.Contains(c.settings.UserFilter, "%u") {
		return strings.ReplaceAll(c.settings.UserFilter, "%u", begin)
	}
	return "(&(|" + anyLike(attributes, begin) + ")" + c.settings.UserFilter + ")"
}
