package policy

import (
	"cmp"
	"slices"
	"strings"

	"berth/directory"
)

// view is a Policy, and what Explain tells about how it came to be.
type view struct {
	policy   Policy
	folders  []placed
	entries  []entry
	settings []origin
}

// origin is where a value comes from.
type origin struct {
	rule     string
	shadowed []string // rules that would have set it, too
}

// placed is a folder at its path, and what it hides there.
type placed struct {
	*mount
	origin
}

// entry is what decides at one path of the view, and where it comes from. Both
// parts are set by the first rule that has them.
type entry struct {
	path  string
	ops   origin
	names origin
}

// merge joins what the matching rules grant.
func merge(matched []*rule, u *directory.User) (*view, error) {
	v := &view{}
	v.mergeSettings(matched)
	v.mergeFolders(matched)
	v.mergeAccess(matched)
	if err := v.fillHosts(u); err != nil {
		return nil, err
	}
	v.rootQuota()
	return v, nil
}

func (v *view) mergeSettings(matched []*rule) {
	v.policy.Services = defaultServices
	v.policy.Uploads = Direct
	v.settings = make([]origin, len(settings))
	for i := range settings {
		s, o := &settings[i], &v.settings[i]
		for _, r := range matched {
			switch {
			case !s.set(&r.has):
			case o.rule == "":
				o.rule = r.name
				s.apply(&v.policy, &r.has)
			default:
				o.shadowed = append(o.shadowed, r.name)
			}
		}
	}
}

// mergeFolders puts the first folder of each path in its place. Only the home
// of the first rule that has one counts.
func (v *view) mergeFolders(matched []*rule) {
	n := 0
	for _, r := range matched {
		n += len(r.mounts)
	}
	all := make([]*mount, 0, n)
	for _, r := range matched {
		for i := range r.mounts {
			all = append(all, &r.mounts[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *mount) int { return strings.Compare(a.folder.Path, b.folder.Path) })
	v.folders = make([]placed, 0, n)
	for _, m := range all {
		if last := len(v.folders) - 1; last >= 0 && v.folders[last].folder.Path == m.folder.Path {
			v.folders[last].shadowed = append(v.folders[last].shadowed, m.folder.Rule)
			continue
		}
		v.folders = append(v.folders, placed{mount: m, origin: origin{rule: m.folder.Rule}})
	}
}

// said is what one place in the rules says about a path.
type said struct {
	grant
	rule  string
	weak  bool // a default: whatever else is said about the path wins
	order int  // in the files
}

func (s said) weakness() int {
	if s.weak {
		return 1
	}
	return 0
}

// mergeAccess decides about each path that anything is said about.
func (v *view) mergeAccess(matched []*rule) {
	all := v.collect(matched)
	slices.SortFunc(all, func(a, b said) int {
		return cmp.Or(strings.Compare(a.path, b.path), a.weakness()-b.weakness(), a.order-b.order)
	})
	v.policy.Access = make([]Access, 0, len(all))
	v.entries = make([]entry, 0, len(all))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].path == all[0].path {
			n++
		}
		v.decide(all[:n])
		all = all[n:]
	}
	v.policy.index()
}

// collect gathers the rights of folders in their place, of access entries, and
// of the directories that lead to folders: those can be listed, or nobody would
// find the folder.
func (v *view) collect(matched []*rule) []said {
	n := 1 + len(v.folders)
	for _, r := range matched {
		n += len(r.grants)
	}
	all := make([]said, 0, n+len(v.folders))
	for _, r := range matched {
		for i := range r.mounts {
			m := &r.mounts[i]
			if !v.isPlaced(m) {
				continue
			}
			all = append(all, said{grant: grant{path: m.folder.Path, ops: m.ops, hasOps: true}, rule: r.name, weak: !m.explicit, order: len(all)})
		}
		for i := range r.grants {
			all = append(all, said{grant: r.grants[i], rule: r.name, order: len(all)})
		}
	}
	return v.collectParents(all)
}

func (v *view) collectParents(all []said) []said {
	lead := func(path string) {
		all = append(all, said{grant: grant{path: path, ops: List, hasOps: true}, weak: true, order: len(all)})
	}
	if !v.hasFolder("/") {
		lead("/")
	}
	for _, f := range v.folders {
		path := f.folder.Path
		for i := 1; i < len(path); i++ {
			if path[i] == '/' && !v.hasFolder(path[:i]) {
				lead(path[:i])
			}
		}
	}
	return all
}

func (v *view) isPlaced(m *mount) bool {
	i, found := v.folder(m.folder.Path)
	return found && v.folders[i].mount == m
}

func (v *view) hasFolder(path string) bool {
	_, found := v.folder(path)
	return found
}

func (v *view) folder(path string) (int, bool) {
	return slices.BinarySearchFunc(v.folders, path, func(f placed, path string) int { return strings.Compare(f.folder.Path, path) })
}

// decide makes the entry of one path of all that is said about it, strongest
// first.
func (v *view) decide(all []said) {
	a := Access{Path: all[0].path}
	e := entry{path: a.Path}
	hasOps, hasNames := false, false
	for _, s := range all {
		switch {
		case !s.hasOps || s.weak && hasOps:
		case hasOps:
			e.ops.shadowed = append(e.ops.shadowed, s.rule)
		default:
			a.Ops, e.ops.rule, hasOps = s.ops, s.rule, true
		}
		switch {
		case !s.hasNames():
		case hasNames:
			e.names.shadowed = append(e.names.shadowed, s.rule)
		default:
			a.Names, a.Hide, e.names.rule, hasNames = s.names, s.hide, s.rule, true
		}
	}
	if !hasOps { // names alone: the rights are those the path would have without
		above := v.policy.Rights(a.Path)
		a.Ops, e.ops.rule = above.Ops, above.Rule
	}
	a.Rule = e.ops.rule
	v.policy.Access = append(v.policy.Access, a)
	v.entries = append(v.entries, e)
}

func (v *view) fillHosts(u *directory.User) error {
	v.policy.Folders = make([]Folder, len(v.folders))
	for i, f := range v.folders {
		host, err := f.host.fill(u)
		if err != nil {
			return &Denied{Reason: Placeholder, User: u.Name, Rule: f.rule, Detail: err.Error()}
		}
		v.policy.Folders[i] = f.folder
		v.policy.Folders[i].Host = host
	}
	return nil
}

// rootQuota makes the quota of the folder at "/" and that of the limits one. A
// limit that a rule sets comes before the folder's own.
func (v *view) rootQuota() {
	p := &v.policy
	if len(p.Folders) == 0 || p.Folders[0].Path != "/" {
		return
	}
	root := &p.Folders[0]
	if p.Limits.Quota == 0 {
		p.Limits.Quota = root.Quota
	}
	if p.Limits.QuotaFiles == 0 {
		p.Limits.QuotaFiles = root.QuotaFiles
	}
	root.Quota, root.QuotaFiles = p.Limits.Quota, p.Limits.QuotaFiles
}
