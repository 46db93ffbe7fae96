package policy

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"berth/directory"
)

// An index finds the rules that name a group or a user. It is what makes a
// thousand rules as cheap as one. Rules are found by the hash of a name, DN or
// SID; the matcher then compares the whole text, so two texts with one hash do
// no harm.
type index struct {
	hashed   map[uint64][]indexed
	known    [256]uint64 // a bit for each hash: most groups are in no rule, and a look-up in the map takes longer
	patterns []indexed
}

type indexed struct {
	matcher
	rule int
}

var seed = maphash.MakeSeed()

func (x *index) add(m matcher, rule int) {
	in := indexed{m, rule}
	text := cmp.Or(m.sid, m.dn, m.name)
	if text == "" {
		x.patterns = append(x.patterns, in)
		return
	}
	hash := maphash.String(seed, text)
	x.hashed[hash] = append(x.hashed[hash], in)
	x.known[hash/64%256] |= 1 << (hash % 64)
}

// name adds the rules that name a user.
func (x *index) name(name string, found ruleSet) {
	name = norm.NFC.String(name)
	folded := strings.ToLower(name)
	for _, in := range x.hashed[maphash.String(seed, folded)] {
		if in.name == folded {
			found.add(in.rule)
		}
	}
	for _, in := range x.patterns {
		if match(in.glob, name) {
			found.add(in.rule)
		}
	}
}

// group adds the rules that name a group of the directory source. It may use buf.
func (x *index) group(g *directory.Group, source string, found ruleSet, buf []byte) {
	hashes := [...]uint64{
		maphash.Bytes(seed, appendLower(buf, g.Name)), maphash.String(seed, g.DN.Key()), maphash.String(seed, g.SID),
	}
	for _, hash := range hashes {
		if x.known[hash/64%256]&(1<<(hash%64)) == 0 {
			continue
		}
		for _, in := range x.hashed[hash] {
			if in.group(g, source) {
				found.add(in.rule)
			}
		}
	}
	for _, in := range x.patterns {
		if !found.has(in.rule) && in.group(g, source) {
			found.add(in.rule)
		}
	}
}

// appendLower appends s in lower case and composed (NFC). It allocates only for letters beyond
// ASCII.
func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(b[:len(b)-i], strings.ToLower(norm.NFC.String(s))...)
		}
		b = append(b, lower(c))
	}
	return b
}

// matcher is one value of groups or users: a name, a DN, a SID, or a pattern. An é may
// be one character, or an e and an accent: texts are compared as composed ones (NFC),
// because directories take both for the same name.
type matcher struct {
	directory     string   // the group is one of this directory; empty: of any
	name, dn, sid string   // the name in lower case, directory.DN.Key, the SID in upper case
	glob          string   // of a name
	rdns          []string // of a DN: one pattern each
	anyDepth      bool     // the pattern began with "**,": any number of RDNs may come before rdns
}

// plainSID matches SIDs.
var plainSID = regexp.MustCompile(`^[Ss]-1-[0-9]+(-[0-9]+)+$`)

// errSpaces is about a name that nobody can have.
var errSpaces = errors.New("has spaces before or after it: write it without them")

// parseGroup reads a value of when.groups. directories are those that a name
// can belong to; several mean that a name must say to which one, unless plain.
func parseGroup(s string, directories []string, plain bool) (m matcher, err error) {
	s = norm.NFC.String(s)
	switch {
	case strings.TrimSpace(s) == "":
		return m, errors.New("a DN, a name, a SID or a pattern is missing")
	case strings.HasPrefix(strings.ToUpper(s), "S-1-"):
		if !plainSID.MatchString(s) {
			return m, errors.New("must be a whole SID, such as S-1-5-21-1004336348-1177238915-682003330-512: there are no patterns of SIDs")
		}
		return matcher{sid: strings.ToUpper(s)}, nil
	case isPattern(s) && strings.Contains(s, "="):
		return parseDNPattern(s)
	case strings.Contains(s, "="):
		dn, err := directory.ParseDN(s)
		return matcher{dn: dn.Key()}, err
	}
	if of, name, found := strings.Cut(s, `\`); found {
		if err := knownDirectory(of, directories); err != nil {
			return m, err
		}
		if strings.TrimSpace(name) == "" {
			return m, errors.New("the name of the group is missing")
		}
		m.directory, s = of, name
	} else if len(directories) > 1 && !plain {
		return m, fmt.Errorf(`several directories may have such a group: write %s\%s, a DN, or add when.directory`, directories[0], s)
	}
	if strings.TrimSpace(s) != s {
		return m, errSpaces
	}
	if isPattern(s) {
		m.glob = s
		return m, checkPattern(s)
	}
	m.name = strings.ToLower(s)
	return m, nil
}

// knownDirectory returns an error if no directory has that name. Without
// directories, every name is accepted.
func knownDirectory(name string, directories []string) error {
	same := func(d string) bool { return strings.EqualFold(d, name) }
	if strings.TrimSpace(name) == "" || len(directories) > 0 && !slices.ContainsFunc(directories, same) {
		return fmt.Errorf("there is no directory %q: use one of %s", name, strings.Join(directories, ", "))
	}
	return nil
}

func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// parseDNPattern reads a pattern of DNs. It is matched RDN by RDN, so that "*"
// never matches a place elsewhere in the tree.
func parseDNPattern(s string) (matcher, error) {
	var m matcher
	s, m.anyDepth = strings.CutPrefix(s, "**,")
	for _, rdn := range betweenCommas.FindAllString(s, -1) {
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

// betweenCommas finds the parts between commas that no backslash precedes.
var betweenCommas = regexp.MustCompile(`(?s)(\\.|[^,])*`)

// group reports whether m means g, a group of the directory source.
func (m matcher) group(g *directory.Group, source string) bool {
	switch {
	case m.directory != "" && !strings.EqualFold(m.directory, source):
		return false
	case m.sid != "":
		return m.sid == g.SID
	case m.dn != "":
		return m.dn == g.DN.Key()
	case m.name != "":
		return m.name == strings.ToLower(norm.NFC.String(g.Name))
	case m.glob != "":
		return match(m.glob, norm.NFC.String(g.Name))
	}
	rdns := g.DN.RDNs()
	more := len(rdns) - len(m.rdns)
	if more < 0 || more > 0 != m.anyDepth {
		return false
	}
	for i, pattern := range m.rdns {
		if !match(pattern, rdns[more+i]) {
			return false
		}
	}
	return true
}
