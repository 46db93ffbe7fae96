package ldap

import (
	"context"
	"fmt"
	"slices"

	"berth/directory"
)

// Nesting implements directory.Directory. Active Directory lists in each group the
// groups that contain it; elsewhere the members of all groups are read.
func (c *Client) Nesting(ctx context.Context) ([]directory.Nested, error) {
	domains, err := c.domains(ctx)
	if err != nil {
		return nil, err
	}
	var groups []directory.Nested
	for _, d := range domains {
		some, err := d.nesting(ctx)
		if err != nil {
			return nil, err
		}
		groups = append(groups, some...)
	}
	return groups, nil
}

func (c *Client) nesting(ctx context.Context) ([]directory.Nested, error) {
	s := &c.settings
	if s.BindAs != "" {
		return nil, fmt.Errorf("list groups: with bind_as there is no account to do it with: %w", directory.ErrNotListed)
	}
	filter, attributes := "(objectClass=group)", []string{"memberOf"}
	if s.GroupWalk != walkTokenGroups {
		attributes = slices.DeleteFunc(slices.Clone(s.MemberAttributes), func(a string) bool { return a == none })
		filter = "(|(objectClass=posixGroup)" + anyLike(attributes, "*") + ")"
	}
	entries, err := all(ctx, c.search, s.GroupBase, filter, append(slices.Clone(attributes), s.GroupNameAttribute, "owner", "managedBy")...)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	groups := make([]directory.Nested, len(entries))
	numbers := make(map[string]int, len(entries))
	for i, e := range entries {
		dn := directory.DNOf(e.dn)
		groups[i] = directory.Nested{Source: s.Name, DN: dn, Name: c.groupName(e), Owners: append(e.all("owner"), e.all("managedBy")...)}
		numbers[dn.Key()] = i
	}
	for i, e := range entries {
		if err := e.readRanges(ctx, c.search); err != nil {
			return nil, fmt.Errorf("read %q: %w", e.dn, err)
		}
		for _, a := range attributes {
			for _, value := range e.all(a) {
				other := directory.DNOf(value)
				if a == "memberOf" {
					groups[i].In = append(groups[i].In, other)
				} else if n, isGroup := numbers[other.Key()]; isGroup {
					groups[n].In = append(groups[n].In, groups[i].DN)
				}
			}
		}
	}
	return groups, nil
}
