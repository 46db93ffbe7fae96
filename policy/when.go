package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"berth/directory"
)

// A compiledCondition is one line of a rule's when.
type compiledCondition struct {
	key string

	// holds reports whether the condition of rule i holds. It must be cheap.
	holds func(f *facts, i int) bool

	// explain says in words why the condition does or does not hold.
	explain func(f *facts, held bool) string
}

// when compiles the conditions of r.
func (c *compiler) when(r *compiledRule) {
	w := r.has.When
	// add compiles the values of a condition, if there are any.
	add := func(values []string, each func(string) error, condition compiledCondition) {
		if values != nil && len(values) == 0 {
			c.mistake("when."+condition.key, "", "empty: would match everybody: name at least one value, or leave the condition out")
		}
		for i, v := range values {
			c.check(fmt.Sprintf("when.%s[%d]", condition.key, i), v, each(v))
		}
		if len(values) > 0 {
			r.conditions = append(r.conditions, condition)
		}
	}
	add(w.Directory, func(v string) error { return knownDirectory(v, c.directories) }, compiledCondition{
		key: "directory",
		holds: func(f *facts, _ int) bool {
			return slices.ContainsFunc(w.Directory, func(d string) bool { return strings.EqualFold(d, f.User.Source) })
		},
		explain: func(f *facts, held bool) string { return outcome(held, Quote(f.User.Source), w.Directory) },
	})
	addUser := func(v string) error {
		v = norm.NFC.String(v)
		m, err := matcher{name: strings.ToLower(v)}, error(nil)
		switch {
		case strings.TrimSpace(v) == "":
			return errors.New("a name or a pattern is missing")
		case strings.TrimSpace(v) != v:
			return errSpaces
		case isPattern(v):
			m, err = matcher{glob: v}, checkPattern(v)
		}
		c.set.users.add(m, c.index)
		c.set.withUsers.add(c.index)
		return err
	}
	add(w.Users, addUser, compiledCondition{
		key:     "users",
		holds:   func(f *facts, i int) bool { return f.users.has(i) },
		explain: func(f *facts, held bool) string { return outcome(held, Quote(f.User.Name), w.Users) },
	})
	addGroup := func(v string) error {
		m, err := parseGroup(v, c.directories, len(w.Directory) > 0)
		c.set.groups.add(m, c.index)
		c.set.withGroups.add(c.index)
		if (r.deny || r.has.Require != nil) && m.sid == "" {
			c.set.strict.add(c.index)
		}
		r.groups = append(r.groups, m)
		return err
	}
	add(w.Groups, addGroup, compiledCondition{
		key:   "groups",
		holds: func(f *facts, i int) bool { return f.groups.has(i) },
		explain: func(f *facts, _ bool) string {
			all := r.through(f.User)
			if len(all) == 0 {
				return "in none of " + quoted(w.Groups)
			}
			return fmt.Sprintf("in %s (%s)", Quote(cmp.Or(all[0].DN.String(), all[0].Name)), all[0].Via)
		},
	})
	var from []netip.Prefix
	addNetwork := func(v string) error {
		p, err := ParseNetwork(v)
		from = append(from, p)
		return err
	}
	add(w.From, addNetwork, compiledCondition{
		key: "from",
		holds: func(f *facts, _ int) bool {
			remote := f.Remote.Unmap().WithZone("")
			return slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(remote) })
		},
		explain: func(f *facts, held bool) string {
			if !f.Remote.IsValid() {
				return "the address is not known"
			}
			return outcome(held, f.Remote.Unmap().String(), w.From)
		},
	})
	add(w.Method, func(v string) error { return oneOf(v, methods) }, compiledCondition{
		key:     "method",
		holds:   func(f *facts, _ int) bool { return slices.Contains(w.Method, f.Method) },
		explain: func(f *facts, held bool) string { return outcome(held, f.Method, w.Method) },
	})
	if w.Hours != "" {
		h, err := parseHours(w.Hours)
		if err != nil {
			c.mistake("when.hours", w.Hours, err.Error()+`: write it as "Mon-Fri 06:00-20:00 Europe/Berlin"`)
		}
		r.hours = h
		r.conditions = append(r.conditions, compiledCondition{
			key:   "hours",
			holds: func(f *facts, _ int) bool { return h.hold(f.Time) },
			explain: func(f *facts, held bool) string {
				return fmt.Sprintf("%s is %s %s", f.Time.In(h[0].zone).Format("Mon 15:04 MST"), map[bool]string{true: "within", false: "outside"}[held], w.Hours)
			},
		})
	}
}

// facts is a request, with what was found out about its user once, for all
// rules.
type facts struct {
	Request
	groups ruleSet          // rules with a condition on groups that holds
	users  ruleSet          // rules with a condition on users that holds
	hidden *directory.Group // a group of the user that has no name here
}

// ruleSet is a set of rules, by number.
type ruleSet []uint64

func (s ruleSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s ruleSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// facts looks up the user's names and groups in the indexes.
func (s *Set) facts(req Request) *facts {
	words := (len(s.rules) + 63) / 64
	all := make(ruleSet, 2*words)
	f := &facts{Request: req, groups: all[:words:words], users: all[words:]}
	s.users.name(req.User.Name, f.users)
	var buf [128]byte
	for i := range req.User.Groups {
		s.groups.group(&req.User.Groups[i], req.User.Source, f.groups, buf[:0])
	}
	f.hidden = hiddenGroup(req.User)
	return f
}

// hiddenGroup returns a group of u's own domain of which the directory shows
// nothing but the SID, or nil. Groups of other domains never have more: Berth
// does not ask those domains.
func hiddenGroup(u *directory.User) *directory.Group {
	domain := "" // of the primary group, which is always one of the user's own domain
	for _, g := range u.Groups {
		if g.Via == "primary" {
			domain = g.SID[:strings.LastIndexByte(g.SID, '-')+1]
		}
	}
	for i := range u.Groups {
		if g := &u.Groups[i]; g.DN.IsZero() && g.Name == "" && strings.HasPrefix(g.SID, domain) {
			return g
		}
	}
	return nil
}

// through returns those groups of u that the condition on groups means.
func (r *compiledRule) through(u *directory.User) (all []directory.Group) {
	for i := range u.Groups {
		if slices.ContainsFunc(r.groups, func(m matcher) bool { return m.group(&u.Groups[i], u.Source) }) {
			all = append(all, u.Groups[i])
		}
	}
	return all
}

// ParseNetwork reads a network, or an address as a network of one. An IPv4
// network that is written as one of IPv6 (::ffff:10.0.0.0/104) is the IPv4
// network: clients have IPv4 addresses here, however they connect.
func ParseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("must be an address or a network such as 10.0.0.0/8")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("has an address within the network: write %s", p.Masked())
	}
	return p, nil
}

// outcome is a sentence: value is, or is not, one of values.
func outcome(held bool, value string, values []string) string {
	if held {
		return value + " is one of " + quoted(values)
	}
	value = cmp.Or(value, "none")
	return value + " is none of " + quoted(values)
}

// quoted joins values for a sentence.
func quoted(values []string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = Quote(v)
	}
	return strings.Join(all, ", ")
}
