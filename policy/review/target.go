package review

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/policy"
)

// A target is the place that a review is about.
type target struct {
	path   string   // in the view, "" if it is none of the view
	folder string   // the folder of some rule that holds path
	hosts  []string // the place on the server
}

// newTarget finds the place that is meant by a path: a folder of rules, or something in
// one, as people see it, or a folder of the server that rules show. "/" means only
// itself: with the folders below it, it would mean everything in all homes.
func newTarget(set *policy.Set, name string) (*target, error) {
	name = path.Clean(name)
	t := &target{}
	folders := set.Folders(func(pattern string) []string { return []string{pattern} })
	for _, f := range folders {
		if policy.Below(f.Path, name) && len(f.Path) > len(t.folder) && (f.Path != "/" || name == "/") {
			t.path, t.folder = name, f.Path
		}
	}
	onServer := false
	for _, f := range folders {
		fixed := !strings.ContainsAny(f.Host, `*?[\`)
		if t.folder != "" && f.Path == t.folder && fixed {
			t.hosts = append(t.hosts, path.Join(f.Host, strings.TrimPrefix(name, f.Path)))
		}
		// Of a host that differs from person to person, what comes before is the same.
		begin, _, _ := strings.Cut(f.Host, "*")
		onServer = onServer || policy.Below(f.Host, name) || policy.Below(name, f.Host) || !fixed && strings.HasPrefix(name, begin)
	}
	if t.folder == "" && onServer {
		t.hosts = []string{name}
	}
	if t.folder == "" && !onServer {
		var paths []string
		for _, f := range folders {
			paths = append(paths, f.Path)
		}
		slices.Sort(paths)
		return nil, fmt.Errorf("%s: no rule has a folder there: name a folder of the server, or one of %s", name, strings.Join(slices.Compact(paths), ", "))
	}
	return t, nil
}

// paths returns where the place is in the view of p.
func (t *target) paths(p *policy.Policy) (all []string) {
	for _, f := range p.Folders {
		if f.Path == t.folder {
			all = append(all, t.path)
		}
		for _, host := range t.hosts {
			if policy.Below(f.Host, host) {
				name := path.Join(f.Path, strings.TrimPrefix(host, f.Host))
				if shown, _, _ := p.FolderOf(name); shown.Path == f.Path { // else another folder hides it
					all = append(all, name)
				}
			} else if policy.Below(host, f.Host) {
				all = append(all, f.Path)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// views returns the paths that the place can have in the views of people, as far as
// the rules show this.
func (t *target) views(set *policy.Set) []string {
	all := []string{t.path}
	for _, f := range set.Folders(func(string) []string { return nil }) {
		for _, host := range t.hosts {
			if f.Host != "" && policy.Below(f.Host, host) {
				all = append(all, path.Join(f.Path, strings.TrimPrefix(host, f.Host)))
			}
		}
	}
	return all
}
