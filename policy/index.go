package policy

import (
	"math/bits"
	"strings"

	"berth/directory"
)

// index finds the rules that name a group or a user. It is what makes a
// thousand rules as cheap as one.
type index struct {
	names    map[string][]int // in lower case
	dns      map[string][]int // normal form
	heads    map[string]bool  // first RDNs of dns
	sids     map[string][]int // in upper case
	rough    sieve            // of the names, heads and sids
	patterns []indexed
}

type indexed struct {
	matcher
	rule int
}

func newIndex() index {
	return index{names: map[string][]int{}, dns: map[string][]int{}, heads: map[string]bool{}, sids: map[string][]int{}}
}

func (x *index) add(m matcher, rule int) {
	switch {
	case m.sid != "":
		x.sids[m.sid] = append(x.sids[m.sid], rule)
		x.rough.add(tail(m.sid))
	case m.dn != "":
		x.dns[m.dn] = append(x.dns[m.dn], rule)
		head, _, _ := strings.Cut(m.dn, string(endRDN))
		x.heads[head] = true
		x.rough.add(head)
	case m.name != "":
		x.names[m.name] = append(x.names[m.name], rule)
		x.rough.add(m.name)
	default:
		x.patterns = append(x.patterns, indexed{m, rule})
	}
}

// name adds the rules that name a user.
func (x *index) name(name string, found ruleSet) {
	addAll(found, x.names[strings.ToLower(name)])
	for _, p := range x.patterns {
		if match(p.glob, name) {
			found.add(p.rule)
		}
	}
}

// group adds the rules that name a group. It may use buf.
func (x *index) group(g *directory.Group, found ruleSet, buf []byte) {
	if len(x.names) > 0 && x.rough.may(g.Name) {
		addAll(found, x.names[string(appendLower(buf, g.Name))])
	}
	if len(x.sids) > 0 && x.rough.may(tail(g.SID)) {
		addAll(found, x.sids[g.SID])
	}
	if len(x.dns) > 0 && !g.DN.IsZero() && x.mayName(g.DN.String(), buf) {
		if dn, ok := appendDN(buf, g.DN.String()); ok {
			addAll(found, x.dns[string(dn)])
		}
	}
	for _, p := range x.patterns {
		if !found.has(p.rule) && p.group(g) {
			found.add(p.rule)
		}
	}
}

// mayName reports whether a rule may name dn, from its first RDN: most groups
// of a user are in no rule, and need no closer look.
func (x *index) mayName(dn string, buf []byte) bool {
	first := dn
	if i := strings.IndexByte(dn, ','); i >= 0 {
		first = dn[:i]
	}
	if !x.rough.may(first) {
		return false
	}
	head, plain := appendPlainDN(buf, first)
	return !plain || x.heads[string(head)]
}

func addAll(found ruleSet, rules []int) {
	for _, i := range rules {
		found.add(i)
	}
}

// appendLower appends s in lower case. It allocates only for letters beyond
// ASCII.
func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 {
			return append(b[:len(b)-i], strings.ToLower(s)...)
		}
		b = append(b, lower(c))
	}
	return b
}

// A sieve is a set of texts that may take others for members, but never misses
// one. Most groups of a user are in no rule, and it is quicker than a map to
// say so.
type sieve [1 << 12]uint64

func (s *sieve) add(text string) {
	h, _ := rough(text)
	s[h/64] |= 1 << (h % 64)
}

// may reports whether text may be a member, in whatever case.
func (s *sieve) may(text string) bool {
	h, plain := rough(text)
	return !plain || s[h/64]&(1<<(h%64)) != 0
}

// rough is a hash of text that case and spaces do not change. plain is false if
// text holds what can be written in another way, too.
func rough(text string) (h uint32, plain bool) {
	for i := range len(text) {
		switch c := letters[text[i]]; c {
		case ignored:
		case ambiguous:
			return 0, false
		default:
			h = bits.RotateLeft32(h, 5) ^ uint32(c)
		}
	}
	return h * 0x9e3779b1 >> (32 - 18), true // the golden ratio spreads the bits
}

// What letters has for bytes that are not hashed as letters.
const (
	ignored   = 0x00
	ambiguous = 0xff
)

// letters is what rough makes of each byte.
var letters = func() (table [256]byte) {
	for c := range 256 {
		table[c] = lower(byte(c))
		if c >= 0x80 || strings.IndexByte(`\"+#;`, byte(c)) >= 0 {
			table[c] = ambiguous
		}
	}
	table[' '], table[0] = ignored, ambiguous
	return table
}()

// tail is the end of a SID: what comes before is the same for a whole domain.
func tail(sid string) string { return sid[max(len(sid)-8, 0):] }
