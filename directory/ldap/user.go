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

// maxMatches is how many entries that match a name are read. More than one is refused
// in any case, unless one has the name as its login name.
const maxMatches = 5

// find looks a user up by any spelling of a login name.
func (c *Client) find(ctx context.Context, search searchFunc, name string) (*directory.User, error) {
	e, err := c.findEntry(ctx, search, name)
	if err != nil {
		return nil, err
	}
	return c.user(ctx, search, e)
}

// findEntry returns the entry that a login name means.
//
// A server gives up a search by an attribute without an index (389 DS: result 11), and
// many entries may match. Then only the name attribute is searched. The entry with that
// name is the right one, whatever other attributes match (see choose).
func (c *Client) findEntry(ctx context.Context, search searchFunc, name string) (entry, error) {
	var given error
	for _, by := range [][]string{c.settings.LoginAttributes, {c.settings.NameAttribute}} {
		filter, err := c.userFilter(ctx, search, name, by)
		if err != nil {
			return entry{}, err
		}
		entries, more, err := upTo(ctx, search, c.settings.Base, filter, maxMatches, c.userAttributes()...)
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded):
			given = cmp.Or(given, fmt.Errorf("%w: an attribute of login_attributes may lack an index (%s)", err, strings.Join(by, ", ")))
			continue
		case err != nil:
			return entry{}, err
		case more && given == nil:
			given = &directory.Refusal{Why: directory.ErrAmbiguous, Detail: fmt.Sprintf("%q matches more than %d entries", name, maxMatches)}
			continue
		}
		if given == nil || len(entries) > 0 {
			return c.choose(name, entries)
		}
	}
	return entry{}, given
}

// choose returns the entry that name means. One person's mail address may be the login
// name of another. So if several entries match, the one with the login name is meant. A
// domain before the name has been checked.
func (c *Client) choose(name string, entries []entry) (entry, error) {
	name = name[strings.IndexByte(name, '\\')+1:]
	if len(entries) > 1 {
		var named []entry
		for _, e := range entries {
			if slices.ContainsFunc(e.all(c.settings.NameAttribute), func(v string) bool { return strings.EqualFold(v, name) }) {
				named = append(named, e)
			}
		}
		if len(named) != 1 {
			return entry{}, &directory.Refusal{
				Why:    directory.ErrAmbiguous,
				Detail: fmt.Sprintf("%q matches %q and %q", name, entries[0].dn, entries[1].dn),
			}
		}
		entries = named
	}
	if len(entries) == 0 {
		return entry{}, fmt.Errorf("name %q: %w", name, directory.ErrNoUser)
	}
	return entries[0], nil
}

// userAttributes are the attributes that a look-up asks for. Operational ones are
// returned only if they are named.
func (c *Client) userAttributes() []string {
	s := c.settings
	names := []string{s.NameAttribute, s.IDAttribute, "memberOf", s.UIDAttribute, s.GIDAttribute}
	if s.KeyAttribute != none {
		names = append(names, s.KeyAttribute)
	}
	if s.TOTPAttribute != "" {
		names = append(names, s.TOTPAttribute)
	}
	if s.GroupWalk == walkTokenGroups {
		names = append(names, "objectSid", "primaryGroupID")
	} else {
		names = append(names, "gidNumber")
	}
	names = append(names, s.StateRequired...)
	for _, r := range c.kind.state {
		names = append(names, r.attributes...)
	}
	names = append(names, s.Attributes...)
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(names, strings.EqualFold)
}

// user makes a User of an entry, and asks for the rest of its values and for the groups.
func (c *Client) user(ctx context.Context, search searchFunc, e entry) (*directory.User, error) {
	if err := e.readRanges(ctx, search); err != nil {
		return nil, err
	}
	u := &directory.User{
		Identity: c.identity(e),
		Name:     c.loginName(e),
		DN:       e.dn,
		Attrs:    map[string][]string{},
	}
	if u.Name == "" {
		return nil, fmt.Errorf("%q has no attribute %s: %w", e.dn, c.settings.NameAttribute, directory.ErrNoUser)
	}
	if u.ID == "" { // sessions, codes and quotas of all such people would be those of one person
		return nil, &directory.Refusal{Why: directory.ErrStateUnknown, Detail: fmt.Sprintf("%q has no %s, or it may not be read", e.dn, c.settings.IDAttribute)}
	}
	for _, name := range c.settings.Attributes {
		if e.has(name) {
			u.Attrs[strings.ToLower(name)] = e.all(name)
		}
	}
	if c.settings.KeyAttribute != none {
		u.Keys, u.Notes = directory.ParseKeys(c.settings.KeyAttribute, c.settings.KeyPrefix, e.all(c.settings.KeyAttribute))
	}
	for _, value := range e.all(c.settings.TOTPAttribute) {
		u.TOTP = append(u.TOTP, directory.NewSecret(value))
	}
	var err error
	if u.State, err = c.state(ctx, search, e, false); err != nil {
		return nil, fmt.Errorf("account state of %q: %w", u.Name, err)
	}
	if u.Groups, err = c.groups(ctx, search, e, u.Name); err != nil {
		return nil, fmt.Errorf("groups of %q: %w", u.Name, err)
	}
	u.POSIX = c.posix(e, u.Groups)
	return u, nil
}

func (c *Client) identity(e entry) directory.Identity {
	return directory.Identity{Source: c.settings.Name, ID: idText(c.settings.IDAttribute, e.first(c.settings.IDAttribute))}
}

// loginName returns the one name of the user: of several values the one in the DN,
// or else the smallest, because values of an attribute have no order.
func (c *Client) loginName(e entry) string {
	names := e.all(c.settings.NameAttribute)
	if len(names) == 0 {
		return ""
	}
	own := directory.FoldValue(ownName(directory.DNOf(e.dn), c.settings.NameAttribute))
	if i := slices.IndexFunc(names, func(name string) bool { return directory.FoldValue(name) == own }); i >= 0 {
		return c.qualified(names[i], e.dn)
	}
	return c.qualified(slices.Min(names), e.dn)
}
