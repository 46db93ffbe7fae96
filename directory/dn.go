package directory

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
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

// keyEscapes are what a key has for the characters that separate its parts.
var (
	keyEscapes   = strings.NewReplacer(`\`, `\5c`, `,`, `\2c`, `+`, `\2b`, `=`, `\3d`)
	keyUnescapes = strings.NewReplacer(`\5c`, `\`, `\2c`, `,`, `\2b`, `+`, `\3d`, `=`)
)

var errDN = errors.New("is not a DN, such as CN=Finance,OU=Groups,DC=corp,DC=example")

// ParseDN reads a DN that a person wrote.
func ParseDN(s string) (DN, error) {
	key := make([]byte, 0, len(s))
	for rest, more := s, s != ""; more; {
		pairs, after, another, err := cutRDN(rest)
		if err != nil {
			return DN{}, err
		}
		slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(a.key(), b.key()) })
		for i, p := range pairs {
			if i > 0 {
				key = append(key, '+')
			}
			key = append(key, p.key()...)
		}
		if another {
			key = append(key, ',')
		}
		rest, more = after, another
	}
	return DN{text: s, key: string(key)}, nil
}

func (p Pair) key() string {
	return strings.ToLower(p.Name) + "=" + keyEscapes.Replace(FoldValue(p.Value))
}

// DNOf returns the DN that a directory spelt as s. If s is not a DN, it is a
// name that is equal to nothing but itself.
func DNOf(s string) DN {
	d, err := ParseDN(s)
	if err != nil {
		return DN{text: s, key: `\` + keyEscapes.Replace(strings.ToLower(s))}
	}
	return d
}

// String returns the DN as it was spelt.
func (d DN) String() string { return d.text }

// Key returns the form in which names are compared, as in
// "cn=finance,dc=corp,dc=example": it is the same for all spellings of one name,
// and different for different names.
func (d DN) Key() string { return d.key }

// Equal reports whether d and other are spellings of the same name.
func (d DN) Equal(other DN) bool { return d.key == other.key }

// IsZero reports whether d is the empty name.
func (d DN) IsZero() bool { return d.key == "" }

// RDNs returns the parts of the name, the entry's own first, in the form in
// which they are compared, without escapes: "cn=finance" for "CN = Finance".
func (d DN) RDNs() []string {
	if d.key == "" {
		return nil
	}
	rdns := strings.Split(d.key, ",")
	for i, rdn := range rdns {
		rdns[i] = keyUnescapes.Replace(rdn)
	}
	return rdns
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
	_, key, _ := strings.Cut(d.key, ",")
	if !more || err != nil {
		return DN{}
	}
	return DN{strings.TrimLeft(rest, " "), key}
}

// Within reports whether d is base or below it.
func (d DN) Within(base DN) bool {
	below, found := strings.CutSuffix(d.key, base.key)
	return found && (below == "" || base.key == "" || strings.HasSuffix(below, ","))
}

// FoldValue returns the form in which directories compare most values: in lower
// case, composed (NFC), without spaces at the ends and with single spaces within (RFC
// 4518, sections 2.3 and 2.6.1).
func FoldValue(s string) string {
	plain := strings.Trim(s, " ") == s && !strings.Contains(s, "  ")
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < utf8.RuneSelf
	}
	if !plain {
		s = norm.NFC.String(strings.Join(strings.Fields(s), " "))
	}
	return strings.ToLower(s)
}

// cutRDN reads the first RDN of s. It reports whether a separator followed.
func cutRDN(s string) (pairs []Pair, rest string, more bool, err error) {
	for {
		name, value, _ := strings.Cut(s, "=")
		p := Pair{Name: strings.Trim(name, " ")}
		if p.Name == "" || strings.ContainsAny(p.Name, ",+\"\\;<># \x00") {
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
	v := make([]byte, 0, 64)
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
		if n == 0 || c == 0 || c == '"' && n == 1 {
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
	if strings.HasPrefix(s, "#") {
		if raw, err := hex.DecodeString(value[1:]); err == nil && len(raw) > 1 && int(raw[1]) == len(raw)-2 {
			value = string(raw[2:]) // "#04024869" is the BER encoding of "Hi"
		}
	}
	if FoldValue(value) == "" || strings.Contains(value, "\x00") || !utf8.ValidString(value) {
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
