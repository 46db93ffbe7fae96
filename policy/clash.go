package policy

import (
	"slices"
	"strings"
)

// Clashes returns what rules say differently about one path of the view. They
// are no mistakes: order decides, and often it is meant to.
func (s *Set) Clashes() []Clash { return slices.Clone(s.clashes) }

func (s *Set) findClashes() []Clash {
	var found []Clash
	folders := map[string]*mount{}
	ops := map[string]said{}
	names := map[string]said{}
	for i := range s.rules {
		r := &s.rules[i]
		for j := range r.mounts {
			m := &r.mounts[j]
			first, ok := folders[m.folder.Path]
			switch {
			case !ok:
				folders[m.folder.Path] = m
			case m.home && first.home: // a single value, as the others are
			case !sameFolder(first, m):
				found = append(found, Clash{m.folder.Path, "folder", first.folder.Rule, r.name})
			}
		}
		for _, g := range r.grants {
			if first, ok := ops[g.path]; ok && g.hasOps && first.ops != g.ops {
				found = append(found, Clash{g.path, "permissions", first.rule, r.name})
			} else if !ok && g.hasOps {
				ops[g.path] = said{grant: g, rule: r.name}
			}
			if first, ok := names[g.path]; ok && g.hasNames() && !sameNames(first.grant, g) {
				found = append(found, Clash{g.path, "names", first.rule, r.name})
			} else if !ok && g.hasNames() {
				names[g.path] = said{grant: g, rule: r.name}
			}
		}
	}
	return found
}

func sameFolder(a, b *mount) bool {
	x, y := &a.folder, &b.folder
	return a.host.text == b.host.text && a.ops == b.ops && x.Create == y.Create && x.Umask == y.Umask &&
		x.Quota == y.Quota && x.QuotaFiles == y.QuotaFiles && strings.Join(x.Skeleton, "\x00") == strings.Join(y.Skeleton, "\x00")
}

func sameNames(a, b grant) bool {
	return a.hide == b.hide && slices.Equal(a.names.Allow, b.names.Allow) && slices.Equal(a.names.Deny, b.names.Deny)
}
