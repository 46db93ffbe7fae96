package policy

import (
	"slices"
	"strings"
)

// Clashes returns the paths of the view for which rules have different
// settings. Clashes are no mistakes: the order of the rules decides, and
// often this is intended.
func (s *Set) Clashes() []Clash {
	var found []Clash
	folders := map[string]*compiledMount{}
	ops := map[string]*clashing{}
	names := map[string]*clashing{}
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
				found = append(found, Clash{m.folder.Path, "folder", Place{first.folder.Rule, first.key}, Place{r.name, m.key}})
			}
		}
		for j := range r.grants {
			g := &clashing{&r.grants[j], Place{r.name, r.grants[j].key}}
			if first, ok := ops[g.path]; ok && g.hasOps && first.ops != g.ops {
				found = append(found, Clash{g.path, "permissions", first.place, g.place})
			} else if !ok && g.hasOps {
				ops[g.path] = g
			}
			if first, ok := names[g.path]; ok && g.hasNames() && !sameNames(first.compiledGrant, g.compiledGrant) {
				found = append(found, Clash{g.path, "names", first.place, g.place})
			} else if !ok && g.hasNames() {
				names[g.path] = g
			}
		}
	}
	return found
}

// clashing is an access entry and its place.
type clashing struct {
	*compiledGrant
	place Place
}

func sameFolder(a, b *compiledMount) bool {
	x, y := &a.folder, &b.folder
	return a.host.text == b.host.text && a.host.below == b.host.below && a.ops == b.ops && a.owner == b.owner && x.Create == y.Create && x.Umask == y.Umask && x.WindowsNames == y.WindowsNames &&
		x.Quota == y.Quota && x.QuotaFiles == y.QuotaFiles && strings.Join(x.Skeleton, "\x00") == strings.Join(y.Skeleton, "\x00")
}

func sameNames(a, b *compiledGrant) bool {
	return a.hide == b.hide && slices.Equal(a.names.Allow, b.names.Allow) && slices.Equal(a.names.Deny, b.names.Deny)
}
