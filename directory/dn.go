package directory

import (
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A DN is a distinguished name (RFC 4514). One name has many spellings: case,
// spaces and escapes differ. A DN keeps the spelling and the one form in which
// names are compared. The zero value is the empty name, which is above all
// others.
type DN struct {
	text string // as it was spelt
	key  string
}

// A Pair is an attribute and its value in a DN, without escapes and in the
// spelling of the DN.
type Pair struct{ Name, Value string }

// What separates the parts of a key. No value holds these characters.
const (
	endRDN  = "\x00"
	endPair = "\x01" // between the pairs of an RDN that has several
)

var errDN = errors.New("is not a DN, such as CN=Finance,OU=Groups,DC=corp,DC=example")

// ParseDN reads a DN that a person wrote.
func ParseDN(s string) (DN, error) {
	d := DN{text: s}
	for rest, more := s, s != ""; more; {
		pairs, after, another, err := cutRDN(rest)
		if err != nil {
			return DN{}, err
		}
		parts := make([]string, len(pairs))
		for i, p := range pairs {
			parts[i] = strings.ToLower(p.Name) + "=" + FoldValue(p.Value)
		}
		slices.Sort(parts)
		d.key += strings.Join(parts, endPair)
		if another {
			d.key += endRDN
		}
		rest, more = after, another
	}
	return d, nil
}

// DNOf returns the DN that a directory spelt as s. If s is not a DN, it is a
// name that is equal to nothing but itself.
func DNOf(s string) DN {
	d, err := ParseDN(s)
	if err != nil {
		return DN{text: s, key: endPair + strconv.Quote(strings.ToLower(s))}
	}
	return d
}

// String returns the DN as it was spelt.
func (d DN) String() string { return d.text }

// Key returns the form in which names are compared: it is the same for all
// spellings of one name, and different for different names. Its parts are those
// of RDNs.
func (d DN) Key() string { return d.key }

// Equal reports whether d and other are spellings of the same name.
func (d DN) Equal(other DN) bool { return d.key == other.key }

// IsZero reports whether d is the empty name.
func (d DN) IsZero() bool { return d.key == "" }

// RDNs returns the parts of the name, the entry's own first, in the form in
// which they are compared: "cn=finance" for "CN = Finance".
func (d DN) RDNs() []string {
	if d.key == "" {
		return nil
	}
	return strings.Split(d.key, endRDN)
}

// Own returns the pairs of the first RDN.
func (d DN) Own() []Pair {
	pairs, _, _, err := cutRDN(d.text)
	if err != nil {
		return nil
	}
	return pairs
}

// Parent returns the name above d; the zero value if there is none.
func (d DN) Parent() DN {
	_, rest, more, err := cutRDN(d.text)
	_, key, _ := strings.Cut(d.key, endRDN)
	if !more || err != nil {
		return DN{}
	}
	return DN{strings.TrimLeft(rest, " "), key}
}

// Within reports whether d is base or below it.
func (d DN) Within(base DN) bool {
	return base.key == "" || d.key == base.key || strings.HasSuffix(d.key, endRDN+base.key)
}

// FoldValue returns the form in which directories compare most values: in lower
// case, without spaces at the ends and with single spaces within (RFC 4518,
// section 2.6.1).
func FoldValue(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// cutRDN reads the first RDN of s. It reports whether a separator followed.
func cutRDN(s string) (pairs []Pair, rest string, more bool, err error) {
	for {
		name, value, _ := strings.Cut(s, "=")
		p := Pair{Name: strings.Trim(name, " ")}
		if p.Name == "" || strings.ContainsAny(p.Name, ",+\"\\;<># \x00\x01") {
			return nil, "", false, errDN
		}
		p.Value, rest, err = cutValue(strings.TrimLeft(value, " "))
		if err != nil {
			return nil, "", false, err
		}
		pairs = append(pairs, p)
		switch {
		case rest == "":
			return pairs, "", false, nil
		case rest[0] != '+':
			return pairs, rest[1:], true, nil
		}
		s = rest[1:]
	}
}

// cutValue reads a value. The rest is empty or begins with the separator that
// ended it: a comma, a plus sign, or a semicolon as in RFC 2253. That RFC also
// has values in quotes.
func cutValue(s string) (value, rest string, err error) {
	var v []byte
	kept := 0 // length of v without the spaces at its end that have no backslash
	inside, quoted := strings.CutPrefix(s, `"`)
	for rest = inside; rest != ""; {
		c := rest[0]
		if quoted && c == '"' || !quoted && strings.IndexByte(",;+", c) >= 0 {
			break
		}
		n := 1
		if c == '\\' {
			c, n = unescape(rest)
		}
		if n == 0 || c <= 1 || c == '"' && n == 1 {
			return "", "", errDN
		}
		v, rest = append(v, c), rest[n:]
		if c != ' ' || n > 1 || quoted {
			kept = len(v)
		}
	}
	if quoted {
		after, closed := strings.CutPrefix(rest, `"`)
		rest = strings.TrimLeft(after, " ")
		if !closed || rest != "" && strings.IndexByte(",;+", rest[0]) < 0 {
			return "", "", errDN
		}
	}
	value = string(v[:kept])
	if raw, err := hex.DecodeString(strings.TrimPrefix(value, "#")); err == nil && strings.HasPrefix(s, "#") && len(raw) > 1 && int(raw[1]) == len(raw)-2 {
		value = string(raw[2:]) // "#04024869" is the BER encoding of "Hi"
	}
	if FoldValue(value) == "" || strings.ContainsAny(value, endRDN+endPair) || !utf8.ValidString(value) {
		return "", "", errDN
	}
	return value, rest, nil
}

// unescape reads the escape that s begins with: a backslash and two hexadecimal
// digits, or a backslash and the character itself. n is 0 if it is neither.
func unescape(s string) (c byte, n int) {
	if len(s) > 2 {
		if b, err := hex.DecodeString(s[1:3]); err == nil {
			return b[0], 3
		}
	}
	if len(s) > 1 && strings.IndexByte(` "#+,;<=>\`, s[1]) >= 0 {
		return s[1], 2
	}
	return 0, 0
}
