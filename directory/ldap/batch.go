package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// perBatch is how many users one search asks for.
const perBatch = 100

// LookupMany implements directory.Directory with one search for perBatch users.
// Their groups are read as for a login; nested groups are remembered for all of
// them. To read the groups with their members instead would transfer every member
// of every group.
//
// Names that the search does not find are looked up one by one: they may be the
// names of nobody, or the server has its own rule for them.
func (c *Client) LookupMany(ctx context.Context, names []string) map[string]directory.Answer {
	answers := make(map[string]directory.Answer, len(names))
	single := func(name string) {
		u, err := c.Lookup(ctx, name)
		answers[name] = directory.Answer{User: u, Err: err}
	}
	var plain []string
	for _, name := range names {
		if len(names) > 1 && c.batches(name) {
			plain = append(plain, name)
		} else {
			single(name)
		}
	}
	for some := range slices.Chunk(plain, perBatch) {
		found, err := c.findAll(ctx, some)
		for _, name := range some {
			has := func(value string) bool { return strings.EqualFold(value, name) }
			matches := slices.DeleteFunc(slices.Clone(found), func(e entry) bool {
				return !slices.ContainsFunc(c.settings.LoginAttributes, func(a string) bool { return slices.ContainsFunc(e.all(a), has) })
			})
			switch {
			case len(matches) == 0 && err == nil, ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded):
				single(name)
			case err != nil:
				answers[name] = directory.Answer{Err: err}
			default:
				var u *directory.User
				e, err := c.choose(ctx, c.search, name, matches)
				if err == nil {
					u, err = c.user(ctx, c.search, e)
				}
				answers[name] = directory.Answer{User: u, Err: err}
			}
		}
	}
	return answers
}

// batches reports whether name can be searched together with others. That is
// impossible with a filter that contains %u, or with a domain in the name.
func (c *Client) batches(name string) bool {
	return c.settings.BindAs == "" && checkName(name) == nil &&
		!strings.Contains(c.settings.UserFilter, "%u") && !strings.ContainsAny(name, `\@`)
}

// findAll returns the entries of users that have one of the names.
func (c *Client) findAll(ctx context.Context, names []string) ([]entry, error) {
	var b strings.Builder
	for _, name := range names {
		for _, a := range c.settings.LoginAttributes {
			fmt.Fprintf(&b, "(%s=%s)", a, ldap.EscapeFilter(name))
		}
	}
	filter := fmt.Sprintf("(&(|%s)%s)", b.String(), c.settings.UserFilter)
	attributes := append(c.userAttributes(), c.settings.LoginAttributes...)
	return all(ctx, c.search, c.settings.Base, filter, attributes...)
}
