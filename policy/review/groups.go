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

// NewGroups returns how the groups of the directories contain each other.
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

// With returns the groups that a person of the directory source would get by being added
// to g: g itself, which may have only a DN or a name, and the groups that contain it.
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
		key   string
		names []string // of the groups up to this one
	}
	mine := map[string]string{} // names of the groups of u
	var todo []step
	for _, own := range u.Groups {
		mine[own.DN.Key()] = groupName(own)
		if own.Via != "nested" {
			todo = append(todo, step{own.DN.Key(), []string{groupName(own)}})
		}
	}
	seen := map[string]bool{}
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		if s.key == goal {
			return s.names
		}
		if seen[s.key] {
			continue
		}
		seen[s.key] = true
		for _, above := range t[groupKey{u.Source, s.key}].In {
			if name, isMine := mine[above.Key()]; isMine {
				todo = append(todo, step{above.Key(), slices.Concat(s.names, []string{name})})
			}
		}
	}
	return []string{"…", groupName(g)}
}

func groupName(g directory.Group) string { return cmp.Or(g.DN.String(), g.Name, g.SID) }
