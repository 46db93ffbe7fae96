package ldap

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Bounds on a walk through nested groups.
const (
	maxGroups = 10_000
	maxDepth  = 32
	perFilter = 100    // groups or SIDs in one filter
	maxSIDs   = 20_000 // whose groups are remembered
	maxNested = 10_000 // filters whose groups are remembered
)

// How a group was found (directory.Group.Via).
const (
	viaDirect    = "direct"
	viaNested    = "nested"
	viaPrimary   = "primary"
	viaMemberOf  = "memberOf"
	viaMemberUID = "memberUid"
)

// groups returns all groups of a user, in the order of their names.
func (c *Client) groups(ctx context.Context, search searchFunc, e entry, name string) ([]directory.Group, error) {
	var groups []directory.Group
	var err error
	switch c.settings.GroupWalk {
	case walkTokenGroups:
		groups, err = c.tokenGroups(ctx, search, e)
	case walkMemberOf:
		groups, err = c.memberOf(ctx, search, e)
	default:
		groups, err = c.walk(ctx, search, e, name)
	}
	if err == nil {
		var more []directory.Group
		more, err = c.groupsElsewhere(ctx, e, groups)
		groups = append(groups, more...)
	}
	slices.SortFunc(groups, func(a, b directory.Group) int {
		return strings.Compare(strings.ToLower(a.Name+"\x00"+a.DN.String()+a.SID), strings.ToLower(b.Name+"\x00"+b.DN.String()+b.SID))
	})
	return groups, err
}

// memberOf takes all groups, nested ones too, from the user's entry, where FreeIPA
// lists them. Only the primary group needs a search.
func (c *Client) memberOf(ctx context.Context, search searchFunc, e entry) ([]directory.Group, error) {
	if !e.has("memberOf") && c.mayHide() {
		switch may, err := c.comparable(ctx, e.dn, "memberOf"); {
		case err != nil:
			return nil, err
		case !may:
			return nil, unreadableGroups(e, "memberOf")
		}
	}
	var level []directory.Group
	if filter := primaryFilter(e); filter != "" {
		var err error
		if level, err = c.remembered(ctx, search, filter, viaPrimary); err != nil {
			return nil, err
		}
	}
	listed := c.listed(e)
	if e.has(c.settings.UIDAttribute) {
		if err := c.number(ctx, search, listed); err != nil {
			return nil, err
		}
	}
	more, err := c.climb(ctx, search, level, listed, c.withMember)
	return append(listed, more...), err
}

// unreadableGroups refuses a user whose groups cannot be read. Otherwise the user
// would seem to be in no group, and no rule that denies a group would apply.
func unreadableGroups(e entry, attribute string) error {
	return &directory.Refusal{Why: directory.ErrStateUnknown, Detail: fmt.Sprintf("the service account may not read %s of %q", attribute, e.dn)}
}

// listed are the groups that the user's own entry names.
func (c *Client) listed(e entry) []directory.Group {
	var groups []directory.Group
	for _, text := range e.all("memberOf") {
		dn := directory.DNOf(text)
		groups = append(groups, directory.Group{DN: dn, Name: ownName(dn, c.settings.GroupNameAttribute, ""), Via: viaMemberOf})
	}
	return groups
}

// walk searches for the groups that contain the user, then for those that contain
// these groups, and so on. Each level costs one search for every perFilter groups.
func (c *Client) walk(ctx context.Context, search searchFunc, e entry, name string) ([]directory.Group, error) {
	filter := anyOf(c.settings.MemberAttributes, e.dn) + primaryFilter(e) + anyOf([]string{c.settings.MemberUIDAttribute}, name)
	via := func(g entry) string { return viaOf(g, e) }
	level, err := c.holders(ctx, search, "(|"+filter+")", via)
	if err != nil {
		return nil, err
	}
	// memberOf may list groups that this account cannot search for.
	return c.climb(ctx, search, append(level, c.listed(e)...), nil, c.withMember)
}

// climb returns the groups of level, and all groups that contain these, directly or not, but
// those that are known. filter matches the groups with one of some members.
func (c *Client) climb(ctx context.Context, search searchFunc, level, known []directory.Group, filter func([]string) string) ([]directory.Group, error) {
	found := make([]directory.Group, 0, len(level)) // sessions keep it
	seen := map[string]bool{}
	for _, g := range known {
		seen[g.DN.Key()] = true
	}
	for depth := 0; len(level) > 0; depth++ {
		if depth == maxDepth {
			return nil, fmt.Errorf("groups are nested deeper than %d", maxDepth)
		}
		var fresh []directory.Group
		for _, g := range level {
			if key := g.DN.Key(); !seen[key] {
				seen[key] = true
				found, fresh = append(found, g), append(fresh, g)
			}
		}
		if len(seen) > maxGroups {
			break
		}
		var err error
		if level, err = c.above(ctx, search, fresh, filter); err != nil {
			return nil, err
		}
	}
	if len(seen) > maxGroups {
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	}
	return found, nil
}

// above returns the groups that contain one of some, directly.
func (c *Client) above(ctx context.Context, search searchFunc, some []directory.Group, filter func([]string) string) (groups []directory.Group, err error) {
	var dns []string
	for _, g := range some {
		if !g.DN.IsZero() { // Active Directory does not show all of them
			dns = append(dns, g.DN.String())
		}
	}
	slices.Sort(dns)
	for chunk := range slices.Chunk(dns, perFilter) {
		holders, err := c.remembered(ctx, search, filter(chunk), viaNested)
		if err != nil {
			return nil, err
		}
		groups = append(groups, holders...)
	}
	return groups, nil
}

// withMember matches the groups with one of the members.
func (c *Client) withMember(members []string) string {
	return "(|" + anyOf(c.settings.MemberAttributes, members...) + ")"
}

// primaryFilter matches the POSIX group that the user e is in by its number (RFC
// 2307), "" if there is none.
func primaryFilter(e entry) string {
	if !e.has("gidNumber") {
		return ""
	}
	return "(&(objectClass=posixGroup)(gidNumber=" + ldap.EscapeFilter(e.first("gidNumber")) + "))"
}

// viaOf says how the group g contains the user e: by number, by DN, or by login
// name (RFC 2307). The answer of the server does not say which attribute matched.
func viaOf(g, e entry) string {
	if g.has("gidNumber") && g.first("gidNumber") == e.first("gidNumber") && contains(g.all("objectClass"), "posixGroup") {
		return viaPrimary
	}
	for _, class := range g.all("objectClass") {
		if class := strings.ToLower(class); strings.HasPrefix(class, "groupof") || class == "group" {
			return viaDirect
		}
	}
	return viaMemberUID
}

// remembered returns the groups that filter matches. They are remembered for the
// time of cache, like users, because rules name groups. They are remembered for at
// least a second, for the users of one batch.
func (c *Client) remembered(ctx context.Context, search searchFunc, filter, via string) ([]directory.Group, error) {
	if groups, known := c.nested.recall(filter, c.now()); known {
		return groups, nil
	}
	groups, err := c.holders(ctx, search, filter, func(entry) string { return via })
	if err == nil {
		c.nested.remember(filter, groups, c.now().Add(max(c.settings.Cache, time.Second)))
	}
	return groups, err
}

func (c *Client) holders(ctx context.Context, search searchFunc, filter string, via func(entry) string) ([]directory.Group, error) {
	attributes := []string{c.settings.GroupNameAttribute, "objectClass", "gidNumber"}
	if !strings.EqualFold(c.settings.GIDAttribute, "gidNumber") {
		attributes = append(attributes, c.settings.GIDAttribute)
	}
	entries, err := all(ctx, search, c.settings.GroupBase, filter, attributes...)
	if err != nil {
		return nil, err
	}
	groups := make([]directory.Group, 0, len(entries))
	for _, e := range entries {
		groups = append(groups, directory.Group{DN: directory.DNOf(e.dn), Name: c.groupName(e), GID: c.groupNumber(e), Via: via(e)})
	}
	return groups, nil
}

func (c *Client) groupName(e entry) string {
	name := cmp.Or(e.first(c.settings.GroupNameAttribute), ownName(directory.DNOf(e.dn), c.settings.GroupNameAttribute, ""))
	return c.qualified(name, e.dn)
}

// tokenGroups reads the list of all security groups of a user that Active Directory
// computes: nested ones and the primary group, of all domains. The list contains
// SIDs. Their names come from one search, unless they are remembered.
func (c *Client) tokenGroups(ctx context.Context, search searchFunc, e entry) ([]directory.Group, error) {
	token, _, err := read(ctx, search, e.dn, "tokenGroups")
	if err != nil {
		return nil, err
	}
	sids := token.all("tokenGroups")
	if len(sids) == 0 { // each account has a primary group
		return nil, unreadableGroups(e, "tokenGroups")
	}
	if len(sids) > maxGroups {
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	}
	known, err := c.names(ctx, search, sids)
	if err != nil {
		return nil, err
	}
	direct := map[string]bool{}
	for _, dn := range e.all("memberOf") {
		direct[foldDN(dn)] = true
	}
	primary, domain := primaryGroup(e), domainOfSID(sidText(e.first("objectSid")))

	groups := make([]directory.Group, 0, len(sids))
	for _, sid := range sids {
		g := known[sid]
		g.SID, g.Via = sidText(sid), viaNested
		if c.settings.IDMapping == mapSID {
			g.GID, _ = numberOfSID(g.SID, domain) // other domains have slices that only SSSD knows
		}
		switch {
		case sid == primary:
			g.Via = viaPrimary
		case direct[g.DN.Key()]:
			g.Via = viaDirect
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// names returns DN and name for binary SIDs. They are empty for a SID that nobody knows.
// In a forest the catalogue knows those of other domains.
func (c *Client) names(ctx context.Context, search searchFunc, sids []string) (map[string]directory.Group, error) {
	known, err := c.namesHere(ctx, search, sids)
	if err != nil || c.forest == nil {
		return known, err
	}
	var foreign []string
	for _, sid := range sids {
		if known[sid].DN.IsZero() {
			foreign = append(foreign, sid)
		}
	}
	if len(foreign) == 0 {
		return known, nil
	}
	catalog, err := c.forest.catalog(ctx)
	if err != nil {
		return nil, err
	}
	others, err := catalog.namesHere(ctx, catalog.search, foreign)
	maps.Copy(known, others)
	return known, err
}

func (c *Client) namesHere(ctx context.Context, search searchFunc, sids []string) (map[string]directory.Group, error) {
	known := make(map[string]directory.Group, len(sids))
	var missing []string
	for _, sid := range sids {
		if g, ok := c.sids.recall(sid, c.now()); ok {
			known[sid] = g
		} else {
			missing = append(missing, sid)
		}
	}
	for some := range slices.Chunk(missing, perFilter) {
		filter := "(|" + anyOf([]string{"objectSid"}, some...) + ")"
		entries, err := all(ctx, search, c.settings.GroupBase, filter, c.settings.GroupNameAttribute, "objectSid", c.settings.GIDAttribute)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			known[e.first("objectSid")] = directory.Group{DN: directory.DNOf(e.dn), Name: c.groupName(e), GID: c.groupNumber(e)}
		}
		for _, sid := range some {
			c.sids.remember(sid, known[sid], c.now().Add(max(c.settings.Cache, time.Second)))
		}
	}
	return known, nil
}

// A memory keeps values for a while, at most max of them, or one if max is 0, or nothing.
type memory[T any] struct {
	max int

	mu     sync.Mutex
	values map[string]remembered[T]
}

// nothing is the max of a memory that keeps no values.
const nothing = -1

type remembered[T any] struct {
	value T
	until time.Time
}

func (m *memory[T]) recall(key string, now time.Time) (value T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.values[key]
	if !ok || !now.Before(r.until) {
		return value, false
	}
	return r.value, true
}

func (m *memory[T]) remember(key string, value T, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.max == nothing {
		return
	}
	if m.values == nil || len(m.values) >= m.max {
		m.values = map[string]remembered[T]{}
	}
	m.values[key] = remembered[T]{value, until}
}
