package review

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

// kinds are the rights whose use events show. An event does not say whether a file
// that was written existed before, so create and overwrite are one kind: write.
var kinds = [...]string{"list", "read", "write", "mkdir", "rename", "delete", "rmdir", "setattr", "symlink"}

// used has, for each type of event, the kinds of use at its path and at its target, as
// indexes of kinds.
var used = map[event.Type]struct{ path, target []int }{
	event.DirectoryListed:  {path: []int{0}},
	event.FileReadClosed:   {path: []int{1}},
	event.FileWriteClosed:  {path: []int{2}},
	event.FileUpdateClosed: {path: []int{1, 2}},
	event.Copied:           {path: []int{1}, target: []int{2}},
	event.DirectoryMade:    {path: []int{3}},
	event.Renamed:          {path: []int{4}, target: []int{4}},
	event.Removed:          {path: []int{5}},
	event.DirectoryRemoved: {path: []int{6}},
	event.AttributesSet:    {path: []int{7}},
	event.Symlinked:        {path: []int{8}},
	event.Linked:           {path: []int{8}, target: []int{8}},
}

// Uses is when people used their rights last, from events. It keeps one time for each
// person, path of the rules, and kind of use, however many events there are.
type Uses struct {
	Since *time.Time // the first event; nil: there was none

	paths map[string]bool // a use counts for the nearest of these above it
	types map[string]event.Type
	users map[directory.Identity]*usage
}

// A usage is of one person.
type usage struct {
	login time.Time
	last  map[string]*[len(kinds)]time.Time // by path
}

// NewUses returns an empty index for reviews of the rules, and of path if it is not empty.
func NewUses(set *policy.Set, path string) *Uses {
	u := &Uses{paths: map[string]bool{}, types: map[string]event.Type{event.LoginAccepted.String(): event.LoginAccepted}, users: map[directory.Identity]*usage{}}
	for _, p := range set.Paths() {
		u.paths[p] = true
	}
	if path != "" {
		if t, err := newTarget(set, path); err == nil {
			for _, p := range t.views(set) {
				u.paths[p] = true
			}
		}
	}
	for t := range used {
		u.types[t.String()] = t
	}
	return u
}

// Types returns the names of the events that an index needs.
func (u *Uses) Types() []string { return slices.Sorted(maps.Keys(u.types)) }

// Add records the use that an event shows.
func (u *Uses) Add(r *audit.Record) {
	if u.Since == nil || r.Time.Before(*u.Since) {
		at := r.Time
		u.Since = &at
	}
	if r.UserID == "" || r.Outcome != event.Success {
		return
	}
	who := directory.Identity{Source: r.Directory, ID: r.UserID}
	of := u.users[who]
	if of == nil {
		of = &usage{last: map[string]*[len(kinds)]time.Time{}}
		u.users[directory.Identity{Source: strings.Clone(who.Source), ID: strings.Clone(who.ID)}] = of
	}
	t := u.types[r.Type]
	if t == event.LoginAccepted && r.Time.After(of.login) {
		of.login = r.Time
	}
	u.note(of, r.Path, used[t].path, r.Time)
	u.note(of, r.Target, used[t].target, r.Time)
}

func (u *Uses) note(of *usage, name string, does []int, at time.Time) {
	if len(does) == 0 || !path.IsAbs(name) {
		return
	}
	for name = path.Clean(name); !u.paths[name] && name != "/"; {
		name = path.Dir(name)
	}
	last := of.last[name]
	if last == nil {
		last = new([len(kinds)]time.Time)
		of.last[name] = last
	}
	for _, k := range does {
		if at.After(last[k]) {
			last[k] = at
		}
	}
}

// of returns the last login of p's person, and the last use of each kind of what the
// entry of rights that decides about name covers at name and below.
func (u *Uses) of(p *policy.Policy, name string) (login *time.Time, uses map[string]time.Time) {
	of := u.users[p.User.Identity]
	if of == nil {
		return nil, nil
	}
	if !of.login.IsZero() {
		login = &of.login
	}
	decides := p.Rights(name).Path
	for at, last := range of.last {
		if !policy.Below(name, at) || p.Rights(at).Path != decides {
			continue
		}
		for k, when := range last {
			if when.IsZero() || uses[kinds[k]].After(when) {
				continue
			}
			if uses == nil {
				uses = map[string]time.Time{}
			}
			uses[kinds[k]] = when
		}
	}
	return login, uses
}
