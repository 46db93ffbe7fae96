package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// resolution is a Policy, and which rules gave its parts.
type resolution struct {
	policy   Policy
	mounts   []resolvedMount // one for each of policy.Folders
	access   []accessOrigin  // one for each of policy.Access
	settings []origin        // one for each of settings
}

// origin is the rule that gave a value.
type origin struct {
	given    bool
	rule     string   // empty: the default, or a directory that leads to a folder
	shadowed []string // later rules that set the value too, without effect
	note     string   // about an attribute that holds the value
}

// take reports whether a rule that sets the value gives it, because it is the first one.
func (o *origin) take(rule string) bool {
	if o.given {
		o.shadowed = append(o.shadowed, rule)
		return false
	}
	o.given, o.rule = true, rule
	return true
}

// resolvedMount is the folder that is used at its path.
type resolvedMount struct {
	*compiledMount
	origin
}

// accessOrigin is where the two halves of an Access come from: each from the first
// rule that has that half.
type accessOrigin struct{ ops, names origin }

// merge joins what the matching rules grant to u.
func (s *Set) merge(matched []*compiledRule, u *directory.User) (*resolution, error) {
	res := &resolution{}
	if err := res.mergeSettings(matched, u); err != nil {
		return nil, err
	}
	res.mergeMounts(matched)
	res.mergeAccess(matched)
	if err := res.fillFolders(u, s.accounts); err != nil {
		return nil, err
	}
	res.rootQuota()
	return res, nil
}

func (res *resolution) mergeSettings(matched []*compiledRule, u *directory.User) error {
	res.policy.Services = defaultServices
	res.policy.Uploads = Direct
	res.policy.Owner = Service
	res.settings = make([]origin, len(settings))
	for i := range settings {
		s, o := &settings[i], &res.settings[i]
		for _, r := range matched {
			if !s.set(&r.has) || !o.take(r.name) {
				continue
			}
			s.apply(&res.policy, &r.has)
			if s.read == nil {
				continue
			}
			var err error
			if o.note, err = s.read(&res.policy, &r.has, u); err != nil {
				return &Denied{Reason: Placeholder, User: u.Name, Rule: r.name, Detail: fmt.Sprintf("%s: %v, and the rule has no limit for that case", s.key, err)}
			}
		}
	}
	return nil
}

// mergeMounts takes the first folder of each path, the home included.
func (res *resolution) mergeMounts(matched []*compiledRule) {
	n := 0
	for _, r := range matched {
		n += len(r.mounts)
	}
	all := make([]*compiledMount, 0, n)
	for _, r := range matched {
		for i := range r.mounts {
			all = append(all, &r.mounts[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *compiledMount) int { return strings.Compare(a.folder.Path, b.folder.Path) })
	res.mounts = make([]resolvedMount, 0, n)
	for _, m := range all {
		last := len(res.mounts) - 1
		if last < 0 || res.mounts[last].folder.Path != m.folder.Path {
			res.mounts = append(res.mounts, resolvedMount{compiledMount: m})
			last++
		}
		res.mounts[last].take(m.folder.Rule)
	}
}

// accessClaim is what one place in the rules sets for a path.
type accessClaim struct {
	compiledGrant
	rule     string
	fallback int // 1: a default, which applies only if no rule sets a value; else 0
}

// mergeAccess decides about each path that has a claim.
func (res *resolution) mergeAccess(matched []*compiledRule) {
	all := res.claims(matched)
	slices.SortStableFunc(all, func(a, b accessClaim) int { // of one path, in the order of the file
		return cmp.Or(strings.Compare(a.path, b.path), a.fallback-b.fallback)
	})
	res.policy.Access = make([]Access, 0, len(all))
	res.access = make([]accessOrigin, 0, len(all))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].path == all[0].path {
			n++
		}
		res.decide(all[:n])
		all = all[n:]
	}
	res.policy.index()
}

// claims gathers the rights of the folders that are used, of access entries,
// and of the directories that lead to folders and are in no folder. Such a
// directory can be listed, because nobody would find the folder otherwise.
func (res *resolution) claims(matched []*compiledRule) []accessClaim {
	n := 1 + 2*len(res.mounts)
	for _, r := range matched {
		n += len(r.grants)
	}
	all := make([]accessClaim, 0, n)
	add := func(g compiledGrant, rule string, fallback bool) {
		c := accessClaim{compiledGrant: g, rule: rule}
		if fallback {
			c.fallback = 1
		}
		all = append(all, c)
	}
	for _, r := range matched {
		for i := range r.mounts {
			m := &r.mounts[i]
			if res.mount(m.folder.Path) == m {
				add(compiledGrant{path: m.folder.Path, ops: m.ops, hasOps: true}, r.name, !m.explicit)
			}
		}
		for _, g := range r.grants {
			add(g, r.name, false)
		}
	}
	// lead adds the directory path, if it is in no folder, and reports whether it is. A
	// directory in a folder has the rights of the folder.
	lead := func(path string) bool {
		if res.mount(path) != nil {
			return false
		}
		add(compiledGrant{path: path, ops: List, hasOps: true}, "", true)
		return true
	}
	if !lead("/") {
		return all
	}
	for _, m := range res.mounts {
		path := m.folder.Path
		for i := 1; i < len(path); i++ {
			if path[i] == '/' && !lead(path[:i]) {
				break
			}
		}
	}
	return all
}

// mount returns the folder that is used at path, or nil.
func (res *resolution) mount(path string) *compiledMount {
	i, found := slices.BinarySearchFunc(res.mounts, path, func(m resolvedMount, path string) int { return strings.Compare(m.folder.Path, path) })
	if !found {
		return nil
	}
	return res.mounts[i].compiledMount
}

// decide makes the Access of one path of its claims, strongest first.
func (res *resolution) decide(all []accessClaim) {
	a := Access{Path: all[0].path}
	var from accessOrigin
	for _, c := range all {
		needed := c.fallback == 0 || !from.ops.given
		if c.hasOps && needed && from.ops.take(c.rule) {
			a.Ops = c.ops
		}
		if c.hasNames() && from.names.take(c.rule) {
			a.Names, a.Hide = c.names, c.hide
		}
	}
	if !from.ops.given { // only names: the rights are those that the path has without this entry
		above := res.policy.Rights(a.Path)
		a.Ops, from.ops.rule = above.Ops, above.Rule
	}
	a.Rule = from.ops.rule
	res.policy.Access = append(res.policy.Access, a)
	res.access = append(res.access, from)
}

// fillFolders makes the folders of u. Folders that belong to the person need the
// numbers of the person.
func (res *resolution) fillFolders(u *directory.User, accounts map[Owner]*directory.POSIX) error {
	res.policy.Folders = make([]Folder, len(res.mounts))
	for i, m := range res.mounts {
		host, err := m.host.fill(u)
		if err != nil {
			return &Denied{Reason: Placeholder, User: u.Name, Rule: m.rule, Detail: err.Error()}
		}
		res.policy.Folders[i] = m.folder
		res.policy.Folders[i].Host = host
		if d := res.policy.Folders[i].belongs(cmp.Or(m.owner, res.policy.Owner), u, accounts); d != nil {
			return d
		}
	}
	return nil
}

// rootQuota makes the quota of the folder at "/" and the quota in limits the
// same. The one in limits takes precedence.
func (res *resolution) rootQuota() {
	p := &res.policy
	if len(p.Folders) == 0 || p.Folders[0].Path != "/" {
		return
	}
	root := &p.Folders[0]
	for i, s := range settings {
		of := s.key == "limits.quota" && p.Limits.Quota == 0 && root.Quota > 0 ||
			s.key == "limits.quota_files" && p.Limits.QuotaFiles == 0 && root.QuotaFiles > 0
		if of {
			res.settings[i] = origin{rule: root.Rule, note: "quota of the folder /"}
		}
	}
	p.Limits.Quota = cmp.Or(p.Limits.Quota, root.Quota)
	p.Limits.QuotaFiles = cmp.Or(p.Limits.QuotaFiles, root.QuotaFiles)
	root.Quota, root.QuotaFiles = p.Limits.Quota, p.Limits.QuotaFiles
}
