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
	groups ruleSet // rules with a condition on groups that holds
	users  ruleSet // rules with a condition on users that holds
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
	s.users.name(f.User.Name, f.users)
	var buf [256]byte
	for i := range f.User.Groups {
		s.groups.group(&f.User.Groups[i], f.groups, buf[:0])
	}
	return f
}

// matcher is one value of groups or users. One of its fields is set.
type matcher struct {
	name, dn, sid string
	glob          string   // of a name
	rdns          []string // of a DN: one pattern each
	anyDepth      bool     // the pattern began with "**,": any number of RDNs may come before rdns
}

// parseUser reads a value of when.users.
func parseUser(s string) (matcher, error) {
	if isPattern(s) {
		return matcher{glob: s}, checkPattern(s)
	}
	if s == "" {
		return matcher{}, errors.New("a name or a pattern is missing")
	}
	return matcher{name: strings.ToLower(s)}, nil
}

// parseGroup reads a value of when.groups.
func parseGroup(s string) (matcher, error) {
	switch {
	case s == "":
		return matcher{}, errors.New("a DN, a name, a SID or a pattern is missing")
	case strings.HasPrefix(strings.ToUpper(s), "S-1-"):
		return matcher{sid: strings.ToUpper(s)}, nil
	case isPattern(s) && strings.Contains(s, "="):
		return parseDNPattern(s)
	case isPattern(s):
		return matcher{glob: s}, checkPattern(s)
	case strings.Contains(s, "="):
		dn, err := normalDN(s)
		return matcher{dn: dn}, err
	}
	return matcher{name: strings.ToLower(s)}, nil
}

func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// parseDNPattern reads a pattern of DNs. It is matched RDN by RDN, so that "*"
// never stands for a place elsewhere in the tree.
func parseDNPattern(s string) (matcher, error) {
	var m matcher
	s, m.anyDepth = strings.CutPrefix(s, "**,")
	for _, rdn := range splitUnescaped(s, ',') {
		typ, value, _ := strings.Cut(rdn, "=")
		typ, value = strings.TrimSpace(typ), strings.TrimSpace(value)
		if typ == "" || value == "" {
			return m, fmt.Errorf("%q is not a pattern of a part of a DN, such as CN=FT-*", rdn)
		}
		rdn = typ + "=" + value
		if err := checkPattern(rdn); err != nil {
			return m, err
		}
		m.rdns = append(m.rdns, rdn)
	}
	return m, nil
}

// splitUnescaped cuts s at each sep that no backslash precedes.
func splitUnescaped(s string, sep byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// group reports whether m means g.
func (m matcher) group(g *directory.Group) bool {
	switch {
	case m.sid != "":
		return m.sid == g.SID
	case m.dn != "":
		dn, err := normalDN(g.DN.String())
		return err == nil && m.dn == dn
	case m.name != "":
		return m.name == strings.ToLower(g.Name)
	case m.glob != "":
		return match(m.glob, g.Name)
	}
	return m.below(g.DN.String())
}

func (m matcher) below(dn string) bool {
	rdns, err := parseDN(dn)
	more := len(rdns) - len(m.rdns)
	if err != nil || more < 0 || more > 0 != m.anyDepth {
		return false
	}
	for i, pattern := range m.rdns {
		if !match(pattern, rdns[more+i]) {
			return false
		}
	}
	return true
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
		if slices.ContainsFunc(c.matchers, func(m matcher) bool { return m.group(g) }) {
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

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
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
