package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/directory"
)

// Circumstances are logins that stand for all others. Make them with Set.Circumstances.
type Circumstances struct {
	set   *Set
	all   []Request
	holds []ruleSet // for each of all: the rules whose conditions on it hold
}

// Circumstances returns logins that stand for all that are possible within a week of now,
// from wherever, by whatever method.
func (s *Set) Circumstances(now time.Time) *Circumstances {
	out, _ := s.circumstances(now, math.MaxInt)
	return out
}

// mostChecks is how often Together may check whether a rule matches, which takes some
// seconds. If each rule has a network and hours of its own, more checks are needed than
// the third power of the number of rules.
const mostChecks = 10_000_000

// errTooMany means that rules depend on too many addresses and hours.
var errTooMany = errors.New("the rules depend on too many different addresses, methods and hours to compare them all")

// circumstances fails if rules would have to be checked more often than most times.
func (s *Set) circumstances(now time.Time, most int) (*Circumstances, error) {
	var from, by, at []Request
	many := func(logins int) bool { return logins > most/max(1, len(s.rules)) }
	for _, addr := range s.addresses() {
		from = append(from, Request{Remote: addr})
	}
	for _, method := range methods {
		by = append(by, Request{Method: method})
	}
	for t := now; !t.IsZero() && t.Sub(now) <= 8*24*time.Hour; t = s.nextHours(t) {
		if at = append(at, Request{Time: t}); many(len(from) + len(at)) {
			return nil, errTooMany
		}
	}
	from, by, at = s.distinct("from", from), s.distinct("method", by), s.distinct("hours", at)
	if many(len(from) * len(by) * len(at)) {
		return nil, errTooMany
	}
	out := &Circumstances{set: s}
	for _, f := range from {
		for _, b := range by {
			for _, a := range at {
				req := Request{Remote: f.Remote, Method: b.Method, Time: a.Time}
				out.all = append(out.all, req)
				out.holds = append(out.holds, s.holding(req, "from", "method", "hours"))
			}
		}
	}
	return out, nil
}

// Together returns logins that stand for all others, both for the rules of s and for those of
// next. It fails if that would take too long, because the rules may come from a form of the
// console.
func (s *Set) Together(next *Set, now time.Time) (*Circumstances, error) {
	var rules []Rule
	for n, set := range []*Set{s, next} {
		for i := range set.rules {
			r := set.rules[i].has
			r.Name = fmt.Sprint(n, r.Name) // the same name may be in both
			rules = append(rules, r)
		}
	}
	both, err := Compile(rules)
	if err != nil {
		return nil, err
	}
	return both.circumstances(now, mostChecks)
}

// Of returns logins of u. For every possible login of u there is one among them that the
// same rules match.
func (c *Circumstances) Of(u *directory.User) []Request {
	f := c.set.facts(Request{User: u})
	theirs := make(ruleSet, len(f.groups))
	for i := range c.set.candidates(f) {
		theirs.add(i)
	}
	var all []Request
	seen := map[string]bool{}
	key := make([]byte, 0, 8*len(theirs))
	for i, req := range c.all {
		key = key[:0]
		for w := range theirs {
			key = binary.NativeEndian.AppendUint64(key, theirs[w]&c.holds[i][w])
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			req.User = u
			all = append(all, req)
		}
	}
	return all
}

// addresses returns one of each set of addresses that the same networks of rules
// contain: a set begins where a network begins, or after its end.
func (s *Set) addresses() []netip.Addr {
	all := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for i := range s.rules {
		for _, text := range s.rules[i].has.When.From {
			if p, err := ParseNetwork(text); err == nil {
				all = append(all, p.Addr())
				if after := last(p).Next(); after.IsValid() {
					all = append(all, after)
				}
			}
		}
	}
	return all
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// nextHours returns when the hours of some rule change next after t.
func (s *Set) nextHours(t time.Time) (next time.Time) {
	for i := range s.rules {
		next = directory.Earlier(next, s.rules[i].hours.next(t))
	}
	return next
}

// distinct returns the first of those requests for which the same conditions with a key
// hold.
func (s *Set) distinct(key string, all []Request) []Request {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(req Request) bool {
		pattern := fmt.Sprint(s.holding(req, key))
		double := seen[pattern]
		seen[pattern] = true
		return double
	})
}

// holding returns the rules of which all conditions with one of keys hold.
func (s *Set) holding(req Request, keys ...string) ruleSet {
	holding := make(ruleSet, (len(s.rules)+63)/64)
	for i := range s.rules {
		if !slices.ContainsFunc(s.rules[i].conditions, func(c compiledCondition) bool {
			return slices.Contains(keys, c.key) && !c.holds(&facts{Request: req}, i)
		}) {
			holding.add(i)
		}
	}
	return holding
}

// RuleNames returns the names of all rules, in their order.
func (s *Set) RuleNames() []string {
	names := make([]string, len(s.rules))
	for i := range s.rules {
		names[i] = s.rules[i].name
	}
	return names
}

// Rule returns the rule of that name as it was written; the zero Rule if there is none.
func (s *Set) Rule(name string) Rule {
	if r := s.rule(name); r != nil {
		return r.has
	}
	return Rule{}
}

// Through returns those groups of u that the condition on groups of a rule means.
func (s *Set) Through(rule string, u *directory.User) []directory.Group {
	if r := s.rule(rule); r != nil {
		return r.through(u)
	}
	return nil
}

func (s *Set) rule(name string) *compiledRule {
	for i := range s.rules {
		if s.rules[i].name == name {
			return &s.rules[i]
		}
	}
	return nil
}

// Paths returns the paths of all folders and rights, each once.
func (s *Set) Paths() []string {
	return s.each(func(r *compiledRule, add func(string)) {
		for _, m := range r.mounts {
			add(m.folder.Path)
		}
		for _, g := range r.grants {
			add(g.path)
		}
	})
}

// FolderOf returns the folder in which name is, and the file's path on this machine;
// false if name is in none.
func (p *Policy) FolderOf(name string) (f Folder, host string, found bool) {
	for _, folder := range p.Folders {
		if Below(folder.Path, name) && len(folder.Path) >= len(f.Path) {
			f, found = folder, true
		}
	}
	if !found {
		return f, "", false
	}
	return f, filepath.Join(f.Host, strings.TrimPrefix(name, f.Path)), true
}

// NamesText says in words what the filter of names means, "" if there is none.
func (a Access) NamesText() string {
	return ExplainedAccess{Allow: a.Names.Allow, Deny: a.Names.Deny, Hide: a.Hide}.names()
}
