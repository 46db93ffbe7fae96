package ldap

import (
	"context"
	"fmt"
	"maps"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// A sweep answers searches for groups from memory. If each of many users searched
// for groups, the server would read each group with all its members many times; a
// sweep reads each group once.
type sweep struct {
	base    string
	entries []*ldap.Entry
	exact   map[string]map[int]bool // numbers of entries, by attribute and value
	folded  map[string]map[int]bool // the same without case
}

// sweepGroups returns a search that answers like the pool's. It asks the server if
// its own answer is not certain, and always if the service account may search by
// members that it may not read.
func (c *Client) sweepGroups(ctx context.Context) searchFunc {
	if c.settings.GroupWalk != walkMembers {
		return c.search
	}
	s := &sweep{base: c.settings.GroupBase, exact: map[string]map[int]bool{}, folded: map[string]map[int]bool{}}
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
					s.add(name, v, n)
				}
			}
		}
		return true
	}
	attributes := c.settings.MemberAttributes
	if c.settings.MemberUIDAttribute != none {
		attributes = append(attributes[:len(attributes):len(attributes)], c.settings.MemberUIDAttribute)
	}
	for _, a := range attributes {
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

func (s *sweep) add(name, value string, n int) {
	put := func(index map[string]map[int]bool, key string) {
		if index[key] == nil {
			index[key] = map[int]bool{}
		}
		index[key][n] = true
	}
	exact, folded := keys(name, value)
	put(s.exact, exact)
	put(s.folded, folded)
}

// match returns the entries that match filter. It is certain only for filters of
// groups, and not if the result depends on whether case matters, which only the
// schema of the server says.
func (s *sweep) match(filter *ber.Packet) (numbers map[int]bool, certain bool) {
	switch filter.Tag {
	case ldap.FilterEqualityMatch:
		exact, folded := keys(fmt.Sprint(filter.Children[0].Value), fmt.Sprint(filter.Children[1].Value))
		return s.exact[exact], maps.Equal(s.exact[exact], s.folded[folded])
	case ldap.FilterOr, ldap.FilterAnd:
		for i, child := range filter.Children {
			of, certain := s.match(child)
			if !certain {
				return nil, false
			}
			switch {
			case i == 0:
				numbers = maps.Clone(of)
				if numbers == nil {
					numbers = map[int]bool{}
				}
			case filter.Tag == ldap.FilterOr:
				maps.Copy(numbers, of)
			default:
				maps.DeleteFunc(numbers, func(n int, _ bool) bool { return !of[n] })
			}
		}
		return numbers, true
	}
	return nil, false
}
