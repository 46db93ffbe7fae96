package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/directory"
)

// defaultUmask is removed from the mode of new files and directories if no
// rule has another umask.
const defaultUmask = 0o027

// methods are the ways to prove who one is that a rule can name.
var methods = []string{"password", "publickey", "keyboard-interactive", "gssapi-with-mic", "oidc"}

// totp is a one-time code as a further factor.
const totp = "totp"

// factors are what a rule can require: methods, and a one-time code.
var factors = append(slices.Clone(methods), totp)

// A Set is the rules of an administrator, ready for use. It is never changed,
// so it may be used by several goroutines.
type Set struct {
	rules  []compiledRule
	groups index
	users  index
	hash   string

	withGroups, withUsers ruleSet // the rules with such a condition
	strict                ruleSet // the rules that must not be bypassed by a group that cannot be seen

	accounts map[Owner]*directory.POSIX // of this host, that folders belong to
}

// A compiledRule is a Rule that has no mistakes.
type compiledRule struct {
	name       string
	deny       bool
	conditions []compiledCondition // hours last: when they change matters only if the others hold
	groups     []matcher           // of the condition groups
	hours      hours               // of the condition hours
	mounts     []compiledMount
	grants     []compiledGrant
	has        Rule // for the single values
}

// A compiledMount is a folder of a rule, or its home.
type compiledMount struct {
	folder   Folder // Host is empty until the template is filled in
	host     template
	owner    Owner  // empty: what the rules say for all folders
	key      string // rules[2].folders[0]
	home     bool
	ops      Op
	explicit bool // the administrator wrote ops; they are not the default
}

// A compiledGrant is an access entry of a rule.
type compiledGrant struct {
	key    string // rules[2].access[0]
	path   string
	ops    Op
	hasOps bool
	names  Names
	hide   bool
}

func (g compiledGrant) hasNames() bool { return len(g.names.Allow) > 0 || len(g.names.Deny) > 0 }

// Hash is the same as long as the rules are, in every process.
func (s *Set) Hash() string { return s.hash }

// Compile makes a Set of rules for the people of these directories. Without
// directories any name of one is accepted. The error joins every mistake, each a
// *Mistake.
func Compile(rules []Rule, directories ...string) (*Set, error) {
	words := (len(rules) + 63) / 64
	s := &Set{
		groups: index{hashed: map[uint64][]indexed{}}, users: index{hashed: map[uint64][]indexed{}},
		withGroups: make(ruleSet, words), withUsers: make(ruleSet, words), strict: make(ruleSet, words),
	}
	var mistakes []error
	names := map[string]int{}
	for i, r := range rules {
		c := &compiler{set: s, directories: directories, index: i, rule: r.Name, path: fmt.Sprintf("rules[%d]", i)}
		if first, ok := names[r.Name]; ok && r.Name != "" {
			c.mistake("name", r.Name, fmt.Sprintf("rules[%d] has this name already: each rule needs its own", first))
		} else {
			names[r.Name] = i
		}
		s.rules = append(s.rules, c.compile(r))
		mistakes = append(mistakes, c.mistakes...)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	text, err := json.Marshal(rules)
	sum := sha256.Sum256(text)
	s.hash = hex.EncodeToString(sum[:8])
	return s, err
}

type compiler struct {
	set         *Set
	directories []string
	index       int
	rule        string
	path        string // "rules[2]"
	mistakes    []error
}

func (c *compiler) mistake(key, value, want string) {
	c.mistakes = append(c.mistakes, &Mistake{Rule: c.rule, Index: c.index, Key: c.path + "." + key, Value: value, Want: want})
}

// check records err, if it is not nil, as the mistake in value.
func (c *compiler) check(key, value string, err error) {
	if err != nil {
		c.mistake(key, value, err.Error())
	}
}

func (c *compiler) compile(r Rule) compiledRule {
	if r.Name == "" {
		c.mistake("name", "", "missing: events and berth explain show the name of the rule that decided")
	}
	out := compiledRule{name: r.Name, deny: r.Deny, has: r}
	c.when(&out)
	out.has.Services = c.services(r.Services)
	if r.Home != nil {
		h := r.Home
		out.mounts = append(out.mounts, c.mount("home", true, Mount{
			Path: "/", Host: h.Host, Below: h.Below, Create: h.Create, Skeleton: h.Skeleton, Permissions: h.Permissions, Umask: h.Umask,
			Owner: h.Owner, WindowsNames: h.WindowsNames,
		}))
	}
	for i, m := range r.Folders {
		out.mounts = append(out.mounts, c.mount(fmt.Sprintf("folders[%d]", i), false, m))
	}
	for i, g := range r.Access {
		out.grants = append(out.grants, c.grant(fmt.Sprintf("access[%d]", i), g))
	}
	c.once("folders", len(out.mounts), func(i int) string { return out.mounts[i].folder.Path })
	c.once("access", len(out.grants), func(i int) string { return out.grants[i].path })
	c.require(r.Require)
	for _, s := range settings {
		if s.negative != nil && s.negative(&r) != "" {
			c.mistake(s.key, s.negative(&r), "must be 0 (no limit) or more")
		}
	}
	c.word("uploads", string(r.Uploads), string(Direct), string(Atomic))
	c.word("setattr", string(r.SetAttr), string(Refuse), string(Ignore))
	grants := r.Home != nil || len(r.Folders)+len(r.Access)+len(r.Services)+len(r.Require) > 0 ||
		r.Limits != Quantity{} || r.Uploads != "" || r.Owner != "" || r.SetAttr != ""
	if r.Deny && grants {
		c.mistake("deny", "true", "a rule with deny cannot grant anything: remove deny, or everything that the rule grants")
	}
	return out
}

func (c *compiler) mount(key string, home bool, m Mount) compiledMount {
	host, err := parseTemplate(m.Host, m.Below)
	if errors.Is(err, errBelow) {
		c.mistake(key+".below", m.Below, err.Error())
	} else {
		c.check(key+".host", m.Host, err)
	}
	c.viewPath(key+".path", m.Path)
	for i, name := range m.Skeleton {
		at := fmt.Sprintf("%s.skeleton[%d]", key, i)
		if !filepath.IsLocal(name) || path.Clean(name) != name || name == "." {
			c.mistake(at, name, "must be the name of a directory below the folder, such as inbox or inbox/new")
		}
	}
	c.word(key+".windows_names", m.WindowsNames, string(Refuse), "allow")
	if len(m.Skeleton) > 0 && !m.Create {
		c.mistake(key+".skeleton", strings.Join(m.Skeleton, ", "), "is created only in a folder that Berth creates: add create: true")
	}
	out := compiledMount{
		owner: m.Owner,
		key:   c.path + "." + key,
		host:  host,
		home:  home,
		folder: Folder{
			Path:       m.Path,
			Create:     m.Create,
			Skeleton:   m.Skeleton,
			Umask:      c.umask(key+".umask", m.Umask),
			Quota:      c.atLeastZero(key+".quota", m.Quota),
			QuotaFiles: c.atLeastZero(key+".quota_files", m.QuotaFiles),

			WindowsNames: m.WindowsNames,
			Rule:         c.rule,
		},
		ops:      ReadOnly,
		explicit: m.Permissions != nil,
	}
	if home {
		out.ops = Full
	}
	if out.explicit {
		out.ops = c.ops(key, m.Permissions)
	}
	return out
}

func (c *compiler) grant(key string, g Grant) compiledGrant {
	c.viewPath(key+".path", g.Path)
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"allow", g.Names.Allow}, {"deny", g.Names.Deny}} {
		for i, pattern := range list.patterns {
			if pattern == "" || strings.Contains(pattern, "/") || checkPattern(pattern) != nil {
				c.mistake(fmt.Sprintf("%s.names.%s[%d]", key, list.key, i), pattern, "must be a pattern of one name, such as *.exe")
			}
		}
	}
	out := compiledGrant{key: c.path + "." + key, path: g.Path, hasOps: g.Permissions != nil, names: g.Names, hide: g.Hide}
	out.ops = c.ops(key, g.Permissions)
	if g.Hide && !out.hasNames() {
		c.mistake(key+".hide", "true", "hides the names that names refuses: add names: {deny: [...]}")
	}
	if !out.hasOps && !out.hasNames() {
		c.mistake(key, g.Path, "changes nothing: add permissions or names")
	}
	return out
}

func (c *compiler) ops(key string, names []string) Op {
	var ops Op
	for i, name := range names {
		op, err := ParseOps(names[i : i+1])
		if err != nil {
			c.mistake(fmt.Sprintf("%s.permissions[%d]", key, i), name, "is not a permission: use some of "+permissionNames())
		}
		ops |= op
	}
	return ops
}

func (c *compiler) viewPath(key, name string) {
	switch {
	case !strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0):
		c.mistake(key, name, "must be a path of the view that begins with a slash, such as /shared")
	case path.Clean(name) != name:
		c.mistake(key, name, "write it as "+path.Clean(name))
	}
}

func (c *compiler) umask(key, value string) uint32 {
	if value == "" {
		return defaultUmask
	}
	umask, err := strconv.ParseUint(value, 8, 32)
	if err != nil || umask > 0o777 {
		c.mistake(key, value, "must be three octal digits in quotes, such as \"027\"")
	}
	return uint32(umask)
}

func (c *compiler) services(names []string) []string {
	if names == nil {
		return nil
	}
	out := []string{}
	for i, name := range names {
		canonical := canonicalService(name)
		if !slices.ContainsFunc(services, func(s service) bool { return s.name == canonical }) {
			c.mistake(fmt.Sprintf("services[%d]", i), name, "is not a service: use some of "+strings.Join(serviceNames(func(service) bool { return true }), ", "))
		}
		if !slices.Contains(out, canonical) {
			out = append(out, canonical)
		}
	}
	return out
}

func (c *compiler) require(r Require) {
	for i, all := range r {
		if len(all) == 0 {
			c.mistake(fmt.Sprintf("require[%d]", i), "", "empty: name at least one method")
		}
		for j, method := range all {
			key := fmt.Sprintf("require[%d][%d]", i, j)
			if slices.Index(all, method) < j {
				c.mistake(key, method, "is listed twice: one proof counts once")
			}
			c.check(key, method, oneOf(method, factors))
			if method == totp && (j == 0 || j < len(all)-1) {
				c.mistake(key, method, "must come last, after another method: a code alone does not protect an account")
			}
		}
	}
}

func (c *compiler) atLeastZero(key string, n *int64) int64 {
	if n == nil {
		return 0
	}
	if *n < 0 {
		c.mistake(key, strconv.FormatInt(*n, 10), "must be 0 (no limit) or more")
	}
	return *n
}

func oneOf(value string, known []string) error {
	if !slices.Contains(known, value) {
		return errors.New("is not known: use one of " + strings.Join(known, ", "))
	}
	return nil
}

// word checks a value that may be left out.
func (c *compiler) word(key, value string, known ...string) {
	if value != "" {
		c.check(key, value, oneOf(value, known))
	}
}

// once reports a path that a rule has twice.
func (c *compiler) once(key string, n int, path func(int) string) {
	for i := range n {
		for j := range i {
			if path(i) == path(j) {
				c.mistake(key, path(i), "occurs twice in this rule: only the first would have an effect")
			}
		}
	}
}
