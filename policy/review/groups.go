package review

import (
	"cmp"
	"slices"
	"strings"

	"berth/directory"
)

// Groups knows how groups contain each other. Make it with NewGroups. It is safe for
// concurrent use.
type Groups map[groupKey]directory.Nested

type groupKey struct{ source, dn string }

// NewGroups returns what the directories say.
func NewGroups(all []directory.Nested) Groups {
	t := make(Groups, len(all))
	for _, n := range all {
		t[groupKey{n.Source, n.DN.Key()}] = n
	}
	return t
}

func (t Groups) owners(source string, g directory.Group) []string {
	return t[groupKey{source, g.DN.Key()}].Owners
}

// With returns what somebody in source would be in who is added to g: g itself, of which only
// the DN or the name may be given, and the groups that contain it.
func (t Groups) With(source string, g directory.Group) []directory.Group {
	var all []directory.Group
	seen := map[groupKey]bool{}
	add := func(key groupKey) {
		if n, known := t[key]; known && !seen[key] {
			seen[key] = true
			all = append(all, directory.Group{DN: n.DN, Name: n.Name, Via: g.Via})
		}
	}
	for key, n := range t {
		if key.source == source && (key.dn == g.DN.Key() || g.DN.IsZero() && strings.EqualFold(n.Name, g.Name)) {
			add(key)
		}
	}
	if len(all) == 0 {
		return []directory.Group{g}
	}
	for i := 0; i < len(all); i++ {
		for _, above := range t[groupKey{source, all[i].DN.Key()}].In {
			add(groupKey{source, above.Key()})
		}
	}
	return all
}

// Chain returns the shortest way from u to g: the group that has u as a member, the group
// that contains that one, and so on to g. If it is not known how u is in g, the chain
// begins with "…".
func (t Groups) Chain(u *directory.User, g directory.Group) []string {
	goal := g.DN.Key()
	if g.Via != "nested" || g.DN.IsZero() {
		return []string{groupName(g)}
	}
	type step struct {
		group directory.Group
		from  *step
	}
	mine := map[string]directory.Group{}
	var todo []*step
	for _, own := range u.Groups {
		mine[own.DN.Key()] = own
		if own.Via != "nested" {
			todo = append(todo, &step{group: own})
		}
	}
	seen := map[string]bool{}
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		key := s.group.DN.Key()
		if key == goal {
			var names []string
			for ; s != nil; s = s.from {
				names = append(names, groupName(s.group))
			}
			slices.Reverse(names)
			return names
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		for _, above := range t[groupKey{u.Source, key}].In {
			if next, isMine := mine[above.Key()]; isMine {
				todo = append(todo, &step{next, s})
			}
		}
	}
	return []string{"…", groupName(g)}
}

func groupName(g directory.Group) string { return cmp.Or(g.DN.String(), g.Name, g.SID) }
