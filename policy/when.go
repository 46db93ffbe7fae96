package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/directory"
)

// A condition is one line of a rule's when, compiled.
type condition interface {
	// holds reports whether the condition of rule i holds. It must be cheap.
	holds(f *facts, i int) bool
	// explain says why it does or does not, in words.
	explain(f *facts, held bool) string
}

// facts is a request, and what was found out about its user once for all rules.
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

// groupCondition holds for the members of any of some groups.
type groupCondition struct {
	values   []string // as written
	matchers []matcher
}

func (groupCondition) holds(f *facts, i int) bool { return f.groups.has(i) }

func (c groupCondition) explain(f *facts, held bool) string {
	for i := range f.User.Groups {
		g := &f.User.Groups[i]
		if slices.ContainsFunc(c.matchers, func(m matcher) bool { return m.group(g, f.User.Source) }) {
			return fmt.Sprintf("in %s (%s)", groupName(g), g.Via)
		}
	}
	return "in none of " + quoted(c.values)
}

func groupName(g *directory.Group) string {
	if !g.DN.IsZero() {
		return quote(g.DN.String())
	}
	return quote(g.Name)
}

// directoryCondition holds for the people of some directories.
type directoryCondition struct{ values []string }

func (c directoryCondition) holds(f *facts, _ int) bool {
	return slices.ContainsFunc(c.values, func(d string) bool { return strings.EqualFold(d, f.User.Source) })
}

func (c directoryCondition) explain(f *facts, held bool) string {
	return outcome(held, quote(f.User.Source), c.values)
}

// userCondition holds for some names.
type userCondition struct{ values []string }

func (userCondition) holds(f *facts, i int) bool { return f.users.has(i) }

func (c userCondition) explain(f *facts, held bool) string {
	return outcome(held, quote(f.User.Name), c.values)
}

// fromCondition holds for some addresses.
type fromCondition struct {
	values   []string
	prefixes []netip.Prefix
}

func (c fromCondition) holds(f *facts, _ int) bool {
	remote := f.Remote.Unmap().WithZone("")
	return slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(remote) })
}

func (c fromCondition) explain(f *facts, held bool) string {
	if !f.Remote.IsValid() {
		return "the address is not known"
	}
	return outcome(held, f.Remote.Unmap().String(), c.values)
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

// methodCondition holds for some methods of authentication.
type methodCondition struct{ values []string }

func (c methodCondition) holds(f *facts, _ int) bool { return slices.Contains(c.values, f.Method) }

func (c methodCondition) explain(f *facts, held bool) string {
	return outcome(held, f.Method, c.values)
}

// hoursCondition holds at some times.
type hoursCondition struct {
	text string
	hours
}

func (c hoursCondition) holds(f *facts, _ int) bool { return c.hold(f.Time) }

func (c hoursCondition) explain(f *facts, held bool) string {
	word := "outside"
	if held {
		word = "within"
	}
	return fmt.Sprintf("%s is %s %s", f.Time.In(c.hours[0].zone).Format("Mon 15:04 MST"), word, c.text)
}

// outcome says that value is or is not one of values.
func outcome(held bool, value string, values []string) string {
	if held {
		return value + " is one of " + quoted(values)
	}
	if value == "" {
		value = "none"
	}
	return value + " is none of " + quoted(values)
}

// quoted joins values for a sentence.
func quoted(values []string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = quote(v)
	}
	return strings.Join(all, ", ")
}
