package policy

import (
	"fmt"
	"iter"
	"math/bits"
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
	res, err := s.merge(matched, req.User)
	if err != nil {
		return nil, err
	}
	p := &res.policy
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
func (s *Set) match(f *facts) (matched []*compiledRule, until time.Time, err error) {
	var deny, undecided *compiledRule
	for i := range s.candidates(f) {
		r := &s.rules[i]
		failed := r.fails(f, i, 0)
		hidden := failed >= 0 && r.conditions[failed].key == "groups" // the condition may mean the hidden group
		if hidden {
			failed = r.fails(f, i, failed+1)
		}
		if failed < 0 || r.conditions[failed].key == "hours" {
			until = directory.Earlier(until, r.hours.next(f.Time))
		}
		switch {
		case failed >= 0:
		case hidden:
			undecided = r
		case r.deny && deny == nil:
			deny = r
		case !r.deny:
			matched = append(matched, r)
		}
	}
	if deny != nil {
		return nil, until, &Denied{Reason: DenyRule, User: f.User.Name, Rule: deny.name, Detail: fmt.Sprintf("rule %q denies %s", deny.name, Quote(f.User.Name))}
	}
	if undecided != nil {
		return nil, until, &Denied{Reason: GroupsUnknown, User: f.User.Name, Rule: undecided.name, Detail: fmt.Sprintf(
			"the directory shows no name of the group %s of %s, which may be one that rule %q means: allow the service account to read the group, or name the groups of the rule by their SIDs",
			f.hidden.SID, Quote(f.User.Name), undecided.name)}
	}
	if len(matched) == 0 {
		return nil, until, &Denied{Reason: NoRule, User: f.User.Name, Detail: "no rule matches " + Quote(f.User.Name)}
	}
	return matched, until, nil
}

// candidates yields, in file order, the rules whose conditions on groups and
// users hold, or that have none: of a thousand rules most are for others. If the
// user has a hidden group, the strict rules about groups are candidates, too.
func (s *Set) candidates(f *facts) iter.Seq[int] {
	return func(yield func(int) bool) {
		for w := range f.groups {
			groups := f.groups[w] | ^s.withGroups[w]
			if f.hidden != nil {
				groups |= s.strict[w]
			}
			left := groups & (f.users[w] | ^s.withUsers[w])
			for ; left != 0; left &= left - 1 {
				i := w*64 + bits.TrailingZeros64(left)
				if i >= len(s.rules) || !yield(i) {
					return
				}
			}
		}
	}
}

// fails returns the first condition of r, from number n on, that does not
// hold, or -1. i is the number of r.
func (r *compiledRule) fails(f *facts, i, n int) int {
	for ; n < len(r.conditions); n++ {
		if !r.conditions[n].holds(f, i) {
			return n
		}
	}
	return -1
}

// Methods returns the ways to prove who one is that a Request can name.
func Methods() []string { return slices.Clone(methods) }

// Groups returns the groups that rules name, as they are written, each once.
func (s *Set) Groups() []string {
	return s.each(func(r *compiledRule, add func(string)) {
		for _, g := range r.has.When.Groups {
			add(g)
		}
	})
}

// Attributes returns the names, in lower case, of the attributes that
// placeholders and limits need. Resolve finds them in the user's Attrs.
func (s *Set) Attributes() []string {
	return s.each(func(r *compiledRule, add func(string)) {
		for _, s := range settings {
			if s.attribute != nil && s.attribute(&r.has) != "" {
				add(strings.ToLower(s.attribute(&r.has)))
			}
		}
		for _, m := range r.mounts {
			for _, p := range m.host.parts {
				if p.attr != "" {
					add(p.attr)
				}
			}
		}
	})
}

// Acting reports whether folders may belong to somebody else than the service.
func (s *Set) Acting() bool {
	others := func(o Owner) bool { return o != "" && o != Service }
	return slices.ContainsFunc(s.rules, func(r compiledRule) bool {
		return others(r.has.Owner) || slices.ContainsFunc(r.mounts, func(m compiledMount) bool { return others(m.owner) })
	})
}

// Hosts returns patterns, as path/filepath has them, of the host directories of
// all folders, with an asterisk for each placeholder.
func (s *Set) Hosts() []string {
	return s.each(func(r *compiledRule, add func(string)) {
		for _, m := range r.mounts {
			add(m.host.pattern())
		}
	})
}

// Folders returns the folders of all rules. A Host that differs from user to
// user becomes each of what glob finds for its pattern, as path/filepath has
// them, and is empty if that is nothing.
func (s *Set) Folders(glob func(pattern string) []string) []Folder {
	var all []Folder
	for i := range s.rules {
		for _, m := range s.rules[i].mounts {
			f, hosts := m.folder, []string{m.host.text}
			if !m.host.fixed() {
				hosts = glob(m.host.pattern())
			}
			for _, f.Host = range hosts {
				all = append(all, f)
			}
			if len(hosts) == 0 {
				all = append(all, f)
			}
		}
	}
	return all
}

// each returns what find adds for every rule, each value once.
func (s *Set) each(find func(r *compiledRule, add func(string))) []string {
	all := []string{}
	for i := range s.rules {
		find(&s.rules[i], func(v string) {
			if !slices.Contains(all, v) {
				all = append(all, v)
			}
		})
	}
	return all
}
