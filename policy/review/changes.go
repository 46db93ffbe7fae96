package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// Gone is the Change of a row that the review before has and this one has not.
const Gone = "gone"

// Compare says in each row of r what has changed since the review old, and adds the rows
// that are gone. owner is whose rows are kept afterwards; empty: all. An error says why the
// two cannot be compared.
func (r *Report) Compare(old *Report, owner string) error {
	switch {
	case old.Made.IsZero():
		return fmt.Errorf("it is no review: it has no time")
	case old.Path != r.Path:
		return fmt.Errorf("it is about %s, and this one about %s", cmp.Or(old.Path, "all paths"), cmp.Or(r.Path, "all paths"))
	case old.OfOwner != "" && directory.DNOf(old.OfOwner).Key() != directory.DNOf(owner).Key():
		return fmt.Errorf("it has only the rows of the owner %s: everything else would be new", old.OfOwner)
	}
	r.Compared = &old.Made
	if !old.Complete {
		r.Problems = append(r.Problems, "the review before is not complete: what is new may have been there")
	}
	before, now, names := old.permissions(), r.permissions(), old.names()
	for i := range r.Rows {
		row := &r.Rows[i]
		was, had := before[row.place()]
		if !had {
			row.Change = "new"
			continue
		}
		var changes []string
		if gained := without(now[row.place()], was); len(gained) > 0 {
			changes = append(changes, "gained "+strings.Join(gained, " "))
		}
		if lost := without(was, now[row.place()]); len(lost) > 0 {
			changes = append(changes, "lost "+strings.Join(lost, " "))
		}
		if names := names[row.place()]; !slices.Contains(names, row.namesText()) {
			changes = append(changes, "names before: "+strings.Join(names, " or "))
		}
		row.Change = strings.Join(changes, ", ")
	}
	if !r.Complete {
		r.Problems = append(r.Problems, "what is gone is not known: who is missing in this report may still have it")
		return nil
	}
	for _, row := range old.Rows {
		if _, has := now[row.place()]; !has && row.Change != Gone {
			row.Change = Gone
			r.Rows = append(r.Rows, row)
		}
	}
	return nil
}

func (a *Row) namesText() string { return cmp.Or(a.Names, "all") }

// names are which names a person may use at a place, in each row about it.
func (r *Report) names() map[place][]string {
	all := map[place][]string{}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Change != Gone && !slices.Contains(all[row.place()], row.namesText()) {
			all[row.place()] = append(all[row.place()], row.namesText())
		}
	}
	return all
}

// without returns what is in all and not in others.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(others, s) })
}

// A place is a person and what they reach. Rules may have other names meanwhile.
type place struct{ directory, user, path, host string }

func (a *Row) place() place {
	return place{a.Directory, cmp.Or(a.UserID, a.User), a.Path, a.Host}
}

// permissions are all that a person has at a place, whenever.
func (r *Report) permissions() map[place][]string {
	all := map[place][]string{}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Change == Gone {
			continue
		}
		for _, p := range row.Permissions {
			if !slices.Contains(all[row.place()], p) {
				all[row.place()] = append(all[row.place()], p)
			}
		}
	}
	return all
}
