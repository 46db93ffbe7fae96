package policy

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// A Change is one thing that a login gets by one Set and not by another. Its
// JSON is what berth explain --diff --json prints; keys never change meaning.
type Change struct {
	What string `json:"what"` // login, folder, rights, service, or the key of a value: limits.quota
	Name string `json:"name,omitempty"`
	Old  string `json:"old,omitempty"` // empty: it is new
	New  string `json:"new,omitempty"` // empty: it is gone
}

// Compare returns what changes for a login when next replaces s: in
// the folders, in the rights at any path, in services and in single values.
// If another rule gives the same, this is no change.
func (s *Set) Compare(next *Set, req Request) []Change {
	old, oldErr := s.Resolve(req)
	now, nowErr := next.Resolve(req)
	switch {
	case oldErr != nil && nowErr != nil:
		return nil
	case nowErr != nil:
		return []Change{{What: "login", Old: "allowed", New: "denied: " + denial(nowErr)}}
	case oldErr != nil:
		begin := Change{What: "login", Old: "denied: " + denial(oldErr), New: "allowed"}
		return append([]Change{begin}, compare(&Policy{Uploads: Direct, Owner: Service}, now)...)
	}
	return compare(old, now)
}

func compare(old, now *Policy) (all []Change) {
	add := func(what, name, old, now string) {
		if old != now {
			all = append(all, Change{what, name, old, now})
		}
	}
	hosts := func(p *Policy) map[string]string {
		hosts := map[string]string{}
		for _, f := range p.Folders {
			hosts[f.Path] = f.words()
		}
		return hosts
	}
	before, after := hosts(old), hosts(now)
	for _, path := range union(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after))) {
		add("folder", path, before[path], after[path])
	}
	var paths []string // every path that either policy has rights for
	for _, a := range slices.Concat(old.Access, now.Access) {
		paths = append(paths, a.Path)
	}
	for _, path := range union(paths, nil) {
		add("rights", path, old.Rights(path).words(), now.Rights(path).words())
	}
	for _, name := range union(old.Services, now.Services) {
		offered := map[bool]string{true: name}
		add("service", name, offered[old.Allows(name)], offered[now.Allows(name)])
	}
	for _, v := range settings {
		if v.key != "services" {
			add(v.key, "", v.show(old), v.show(now))
		}
	}
	return all
}

// words is a folder in words: its host directory, and what is not the default. The quota of
// "/" is in the limits.
func (f Folder) words() string {
	s := f.Host
	if f.Owner != nil {
		s += fmt.Sprintf(", owner: %s (uid %d)", f.Belongs, f.Owner.UID)
	}
	if f.Umask != defaultUmask {
		s += fmt.Sprintf(", umask %03o", f.Umask)
	}
	if f.WindowsNames != "" {
		s += ", windows_names " + f.WindowsNames
	}
	if f.Quota > 0 && f.Path != "/" {
		s += ", quota " + FormatSize(f.Quota)
	}
	if f.QuotaFiles > 0 && f.Path != "/" {
		s += ", quota_files " + count(f.QuotaFiles)
	}
	return s
}

// words is the rights of an entry; none at all is "".
func (a Access) words() string {
	if a.Path == "" {
		return ""
	}
	if names := a.NamesText(); names != "" {
		return a.Ops.String() + ", " + names
	}
	return a.Ops.String()
}

// union is all of a and b, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// WriteChanges writes what changes for a user, for people to read.
func WriteChanges(w io.Writer, user string, all []Change) error {
	t := newText(w)
	t.line(user)
	for _, c := range all {
		sign, value := "~ ", c.Old+" -> "+c.New // as in a patch
		switch {
		case c.Old == "":
			sign, value = "+ ", c.New
		case c.New == "":
			sign, value = "- ", c.Old
		}
		if c.What == "service" {
			value = ""
		}
		t.line("  "+sign+c.What, c.Name, value)
	}
	return t.w.Flush()
}
