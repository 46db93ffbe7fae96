package ldap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"berth/directory"
)

// anyUser is the filter of all users.
func (c *Client) anyUser() string { return strings.ReplaceAll(c.settings.UserFilter, "%u", "*") }

// Users implements directory.Directory. The users come in pages, and each group is
// read once for all of them. If the server lists only some users, the error comes
// after those.
func (c *Client) Users(ctx context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		if c.settings.BindAs != "" {
			yield(nil, fmt.Errorf("list users: with bind_as there is no account to do it with: %w", directory.ErrNotListed))
			return
		}
		entries, short := all(ctx, c.search, c.settings.Base, c.anyUser(), c.userAttributes()...)
		search := c.sweepGroups(ctx)
		for _, e := range entries {
			err := e.readRanges(ctx, c.search)
			var u *directory.User
			if err == nil {
				u, err = c.user(ctx, search, e)
			}
			if errors.Is(err, directory.ErrNoUser) {
				continue // without a login name
			}
			if errors.Is(err, directory.ErrStateUnknown) { // of one user, who may not log in
				u = &directory.User{Identity: directory.Identity{Source: c.settings.Name, ID: c.id(e)}, Name: c.loginName(e), DN: e.dn, State: directory.State{Reason: err.Error()}}
				err = nil
			}
			if err != nil {
				yield(nil, fmt.Errorf("read %q: %w", e.dn, err))
				return
			}
			if !yield(u, nil) {
				return
			}
		}
		if short != nil {
			yield(nil, fmt.Errorf("list users: %w", short))
		}
	}
}
