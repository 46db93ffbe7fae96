package ldap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// anyUser is the filter of all users.
func (c *Client) anyUser() string { return strings.ReplaceAll(c.settings.UserFilter, "%u", "*") }

// Users implements directory.Directory. The users come in pages, and each group is
// read once for all of them. If the server lists only some users, the error comes
// after those.
func (c *Client) Users(ctx context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		domains, err := c.domains(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, d := range domains {
			for u, err := range d.users(ctx) {
				if !yield(u, err) || err != nil {
					return
				}
			}
		}
	}
}

func (c *Client) users(ctx context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		if c.settings.BindAs != "" {
			yield(nil, fmt.Errorf("list users: with bind_as there is no service account that could do it: %w", directory.ErrNotListed))
			return
		}
		entries, short := all(ctx, c.search, c.settings.Base, c.anyUser(), c.userAttributes()...)
		search := c.sweepGroups(ctx)
		for _, e := range entries {
			u, err := c.user(ctx, search, e)
			switch {
			case errors.Is(err, directory.ErrNoUser):
				continue // without a login name
			case errors.Is(err, directory.ErrStateUnknown): // of one user, who may not log in
				u = &directory.User{Identity: c.identity(e), Name: c.loginName(e), DN: e.dn, State: directory.State{Reason: err.Error()}}
			case err != nil:
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
	if c.forest != nil {
		return c.forest.lookup(ctx, names)
	}
	answers := make(map[string]directory.Answer, len(names))
	single := func(name string) {
		u, err := c.Lookup(ctx, name)
		answers[name] = directory.Answer{User: u, Err: err}
	}
	var plain []string
	for _, name := range names {
		batch := len(names) > 1 && c.settings.BindAs == "" && !strings.Contains(c.settings.UserFilter, "%u")
		if batch && checkName(name) == nil && !strings.ContainsAny(name, `\@`) { // values of attributes do not contain the domain
			plain = append(plain, name)
		} else {
			single(name)
		}
	}
	for some := range slices.Chunk(plain, perBatch) {
		filter := fmt.Sprintf("(&(|%s)%s)", anyOf(c.settings.LoginAttributes, some...), c.settings.UserFilter)
		found, err := all(ctx, c.search, c.settings.Base, filter, append(c.userAttributes(), c.settings.LoginAttributes...)...)
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
				e, err := c.choose(name, matches)
				if err == nil {
					u, err = c.user(ctx, c.search, e)
				}
				answers[name] = directory.Answer{User: u, Err: err}
			}
		}
	}
	return answers
}

// A sweep answers searches for groups from memory. If each of many users searched
// for groups, the server would read each group with all its members many times; a
// sweep reads each group once.
type sweep struct {
	base    string
	entries []*ldap.Entry
	values  map[string][]held // by attribute and value without case
	whole   []string          // attributes of which all values are here
}

// held is a value, and the index of an entry that has the value.
type held struct {
	exact string
	entry int
}

// sweepGroups returns a search that answers like the pool's. It asks the server if
// its own answer is not certain, and always if the service account may search by
// members that it may not read.
func (c *Client) sweepGroups(ctx context.Context) searchFunc {
	if c.settings.GroupWalk != walkMembers {
		return c.search
	}
	s := &sweep{base: c.settings.GroupBase, values: map[string][]held{}, whole: append(c.settings.memberAttributes(), "gidNumber")}
	numbers := map[string]int{}
	read := func(filter string, attributes ...string) bool {
		entries, err := all(ctx, c.search, s.base, filter, append(attributes, c.settings.GroupNameAttribute, "objectClass", "gidNumber")...)
		if err != nil {
			return false
		}
		for _, e := range entries {
			if len(e.ranges) > 0 && e.readRanges(ctx, c.search) != nil || len(attributes) > 0 && !e.has(attributes[0]) {
				return false
			}
			n, known := numbers[e.dn]
			if !known {
				n = len(s.entries)
				numbers[e.dn] = n
				values := map[string][]string{}
				for _, name := range []string{c.settings.GroupNameAttribute, "objectClass", "gidNumber"} {
					values[name] = e.all(name)
				}
				s.entries = append(s.entries, ldap.NewEntry(e.dn, values))
			}
			for name, values := range e.attrs {
				for _, v := range values {
					exact, folded := keys(name, v)
					s.values[folded] = append(s.values[folded], held{exact, n})
				}
			}
		}
		return true
	}
	for _, a := range c.settings.memberAttributes() {
		if !read("("+a+"=*)", a) {
			return c.search
		}
	}
	if !read("(objectClass=posixGroup)") {
		return c.search
	}
	return func(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		filter, err := ldap.CompileFilter(req.Filter)
		if err != nil || req.BaseDN != s.base || req.Scope != ldap.ScopeWholeSubtree {
			return c.search(ctx, req)
		}
		numbers, certain := s.match(filter)
		if !certain {
			return c.search(ctx, req)
		}
		res := &ldap.SearchResult{}
		for n := range numbers {
			res.Entries = append(res.Entries, s.entries[n])
		}
		return res, nil
	}
}

// keys returns two forms of a value by which it is found: the exact one, for a DN
// its normal form, and one without case.
func keys(name, value string) (exact, folded string) {
	name = strings.ToLower(name)
	if dn, err := directory.ParseDN(value); err == nil && strings.Contains(value, "=") {
		value = dn.Key()
	} else if name == "objectclass" {
		value = strings.ToLower(value)
	}
	return name + "=" + value, name + "=" + strings.ToLower(value)
}

// match returns the entries that match filter. It is certain only for filters of
// groups, and only if the result does not depend on case: only the schema of the
// server shows whether case matters.
func (s *sweep) match(filter *ber.Packet) (numbers map[int]bool, certain bool) {
	numbers = map[int]bool{}
	switch filter.Tag {
	case ldap.FilterEqualityMatch:
		name, value := fmt.Sprint(filter.Children[0].Value), fmt.Sprint(filter.Children[1].Value)
		group := strings.EqualFold(name, "objectClass") && strings.EqualFold(value, "posixGroup")
		if !group && !contains(s.whole, name) { // a search for something else, such as policies
			return nil, false
		}
		exact, folded := keys(name, value)
		for _, h := range s.values[folded] {
			if h.exact != exact {
				return nil, false
			}
			numbers[h.entry] = true
		}
		return numbers, true
	case ldap.FilterOr, ldap.FilterAnd:
		for i, child := range filter.Children {
			of, certain := s.match(child)
			if !certain {
				return nil, false
			}
			if i == 0 || filter.Tag == ldap.FilterOr {
				maps.Copy(numbers, of)
			} else {
				maps.DeleteFunc(numbers, func(n int, _ bool) bool { return !of[n] })
			}
		}
		return numbers, true
	}
	return nil, false
}
