package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/directory"
)

// Resolve gives the Policy of a login. An error is a *Denied. It does no I/O.
func (s *Set) Resolve(req Request) (*Policy, error) {
	f := s.facts(req)
	matched, until, err := s.match(f)
	if err != nil {
		return nil, err
	}
	v, err := merge(matched, req.User)
	if err != nil {
		return nil, err
	}
	p := &v.policy
	p.User = req.User
	p.ValidUntil = until
	p.Rules = make([]string, len(matched))
	for i, r := range matched {
		p.Rules[i] = r.name
	}
	return p, nil
}

// match returns the rules that match, in file order, and when hours may change
// which ones do.
func (s *Set) match(f *facts) (matched []*rule, until time.Time, err error) {
	var deny *rule
	for i := range s.rules {
		r := &s.rules[i]
		failed := r.fails(f, i)
		if failed < 0 || r.conditions[failed].key == "hours" {
			until = earlier(until, r.change(f.Time))
		}
		switch {
		case failed >= 0:
		case r.deny && deny == nil:
			deny = r
		case !r.deny:
			matched = append(matched, r)
		}
	}
	if deny != nil {
		return nil, until, &Denied{Reason: DenyRule, User: f.User.Name, Rule: deny.name, Detail: fmt.Sprintf("rule %q denies %s", deny.name, quote(f.User.Name))}
	}
	if len(matched) == 0 {
		return nil, until, &Denied{Reason: NoRule, User: f.User.Name, Detail: "no rule matches " + quote(f.User.Name)}
	}
	return matched, until, nil
}

// fails returns which condition of r, which is rule i, is the first that does
// not hold, or -1.
func (r *rule) fails(f *facts, i int) int {
	for n := range r.conditions {
		if !r.conditions[n].holds(f, i) {
			return n
		}
	}
	return -1
}

// change returns when the hours of r next begin or end; zero if r has none.
func (r *rule) change(t time.Time) time.Time {
	if len(r.conditions) == 0 {
		return time.Time{}
	}
	c, ok := r.conditions[len(r.conditions)-1].condition.(hoursCondition)
	if !ok {
		return time.Time{}
	}
	return c.next(t)
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

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

// A setting is a single value: the first matching rule that sets it gives it.
type setting struct {
	key   string
	set   func(r *Rule) bool
	apply func(p *Policy, r *Rule)
	show  func(p *Policy) string
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

// mergeAccess decides about each path that anything is said about.
func (v *view) mergeAccess(matched []*rule) {
	all := v.collect(matched)
	slices.SortFunc(all, func(a, b said) int {
		if c := strings.Compare(a.path, b.path); c != 0 {
			return c
		}
		if a.weak != b.weak {
			if b.weak {
				return -1
			}
			return 1
		}
		return a.order - b.order
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

// Groups returns the groups that rules name, as they are written, each once.
func (s *Set) Groups() []string {
	return s.each(func(r *rule) []string { return r.has.When.Groups })
}

// Attributes returns the names, in lower case, of the attributes that
// placeholders need. Resolve finds them in the user's Attrs.
func (s *Set) Attributes() []string {
	return s.each(func(r *rule) []string {
		var names []string
		for _, m := range r.mounts {
			for _, p := range m.host.parts {
				if p.attr != "" {
					names = append(names, p.attr)
				}
			}
		}
		return names
	})
}

// each returns what of finds in every rule, each value once.
func (s *Set) each(of func(*rule) []string) []string {
	seen := map[string]bool{}
	all := []string{}
	for i := range s.rules {
		for _, v := range of(&s.rules[i]) {
			if !seen[v] {
				seen[v] = true
				all = append(all, v)
			}
		}
	}
	return all
}
