package ldap

import (
	"context"
	"fmt"
	"slices"

	"berth/directory"
)

// groupsElsewhere are the groups of other domains that a person is in, and that the person's
// domain does not list: domain-local ones, which may hold people and groups of the whole
// forest, and of forests that theirs trusts ([MS-ADTS] 3.1.1.4.5.19 has what a domain
// lists). They count as on a file server: those of the service account's domain.
func (c *Client) groupsElsewhere(ctx context.Context, e entry, groups []directory.Group) ([]directory.Group, error) {
	own := c
	if c.forest != nil {
		own = c.forest.own
	}
	var more []directory.Group
	if own != c {
		var err error
		if more, err = own.holding(ctx, e.dn, groups); err != nil {
			return nil, err
		}
	}
	if own.foreign == nil {
		return more, nil
	}
	// There a person or group of another forest is an entry with the SID as its name.
	at := ",CN=ForeignSecurityPrincipals," + domainOf(own.foreign.settings.Base)
	var principals []directory.Group
	for _, g := range slices.Concat(groups, more) {
		if g.SID != "" {
			principals = append(principals, directory.Group{DN: directory.DNOf("CN=" + g.SID + at)})
		}
	}
	foreign, err := own.foreign.holding(ctx, "CN="+sidText(e.first("objectSid"))+at, principals)
	if err != nil {
		return nil, fmt.Errorf("foreign_groups: directory %s: %w", own.foreign.settings.Name, err)
	}
	for _, g := range foreign {
		g.Name += "@" + dnsName(g.DN.String())
		more = append(more, g)
	}
	return more, nil
}

// holding returns the domain-local groups of this domain that hold the person or one of the
// groups, directly or not, and are none of these.
func (c *Client) holding(ctx context.Context, person string, groups []directory.Group) (found []directory.Group, err error) {
	// Two searches, because many people have the same groups, and the answer about groups is
	// remembered.
	for _, members := range [][]directory.Group{{{DN: directory.DNOf(person)}}, groups} {
		level, err := c.above(ctx, c.search, members, domainLocal)
		if err != nil {
			return nil, err
		}
		more, err := c.climb(ctx, c.search, level, slices.Concat(groups, found), domainLocal)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// domainLocal matches the domain-local security groups with one of the members. The
// number is GROUP_TYPE_RESOURCE_GROUP and GROUP_TYPE_SECURITY_ENABLED ([MS-ADTS] 2.2.12).
func domainLocal(members []string) string {
	return "(&(groupType:1.2.840.113556.1.4.803:=2147483652)(|" + anyOf([]string{"member"}, members...) + "))"
}

// CountGroupsOf has the domain-local groups of another forest count for the people of
// this one (Settings.ForeignGroups). It is called before the first look-up.
func (c *Client) CountGroupsOf(other *Client) { c.foreign = other }
