package ldap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// maxUsers bounds the users that Users lists.
const maxUsers = 1_000_000

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
		dns, short := c.userDNs(ctx)
		for _, dn := range dns {
			u, err := c.readUser(ctx, dn)
			if errors.Is(err, directory.ErrNoUser) {
				continue // gone since, or without a login name
			}
			if err != nil {
				yield(nil, fmt.Errorf("read %q: %w", dn, err))
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

// userDNs lists the users over one connection, since servers tie the cookie of
// a page to it (RFC 2696).
func (c *Client) userDNs(ctx context.Context) (dns []string, err error) {
	cn, err := c.pool.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { c.pool.put(cn, err) }()
	search := c.searchOn(cn)
	paging := ldap.NewControlPaging(pageSize)
	for {
		req := request(c.settings.Base, ldap.ScopeWholeSubtree, c.anyUser(), 0, "1.1")
		req.EnforceSizeLimit = false
		req.Controls = []ldap.Control{paging}
		res, err := search(ctx, req)
		if res != nil {
			for _, e := range res.Entries {
				dns = append(dns, e.DN)
			}
		}
		if err != nil {
			return dns, err
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		switch {
		case len(dns) > maxUsers:
			return dns, fmt.Errorf("more than %d", maxUsers)
		case !ok || len(next.Cookie) == 0 || len(res.Entries) == 0:
			return dns, nil
		}
		paging.SetCookie(next.Cookie)
	}
}
