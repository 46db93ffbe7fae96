package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// gone is the Change of a row that the review before has and this one has not.
const gone = "gone"

// Compare sets in each row of r what has changed since the review old, and adds the rows
// that are gone. Afterwards it keeps only the rows of owner; empty: all. The error says
// why the two cannot be compared.
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
	permissions := func(row *Row) []string { return row.Permissions }
	before, now := old.gather(permissions), r.gather(permissions)
	names := old.gather(func(row *Row) []string { return []string{row.namesText()} })
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
		if _, has := now[row.place()]; !has && row.Change != gone {
			row.Change = gone
			r.Rows = append(r.Rows, row)
		}
	}
	return nil
}

func (a *Row) namesText() string { return cmp.Or(a.Names, "all") }

// without returns what is in all and not in others.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(others, s) })
}

// A place is a person and what they reach. Rules may have other names meanwhile.
type place struct{ directory, user, path, host string }

func (a *Row) place() place {
	return place{a.Directory, cmp.Or(a.UserID, a.User), a.Path, a.Host}
}

// gather returns what rows about each place have, under any conditions, each text once.
func (r *Report) gather(what func(*Row) []string) map[place][]string {
	all := map[place][]string{}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Change == gone {
			continue
		}
		for _, text := range what(row) {
			if !slices.Contains(all[row.place()], text) {
				all[row.place()] = append(all[row.place()], text)
			}
		}
	}
	return all
}
