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

// Users implements directory.Directory. The names come in pages, and then each
// user is read as for a login. Where the server lists only some, the error
// comes after those.
func (c *Client) Users(ctx context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		if c.settings.BindAs != "" {
			yield(nil, fmt.Errorf("list users: with bind_as there is no account to do it with: %w", directory.ErrNotListed))
			return
		}
		entries, short := all(ctx, c.search, c.settings.Base, c.anyUser(), "1.1")
		for _, e := range entries {
			u, err := c.readUser(ctx, e.dn)
			if errors.Is(err, directory.ErrNoUser) {
				continue // gone since, or without a login name
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

func (c *Client) readUser(ctx context.Context, dn string) (*directory.User, error) {
	e, found, err := read(ctx, c.search, dn, c.anyUser(), c.userAttributes()...)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, directory.ErrNoUser
	}
	return c.user(ctx, c.search, e)
}
