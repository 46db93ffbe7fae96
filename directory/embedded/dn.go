package embedded

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A pair is one attribute and its value in an RDN.
type pair struct {
	name, value string
}

// A dn is a distinguished name (RFC 4514), the entry's own RDN first.
type dn [][]pair

// parseDN reads the string form of a DN.
func parseDN(s string) (dn, error) {
	if s == "" {
		return nil, nil
	}
	var d dn
	var rdn []pair
	for {
		p, sep, rest, err := cutPair(s)
		if err != nil {
			return nil, fmt.Errorf("DN %q: %w", s, err)
		}
		rdn = append(rdn, p)
		if sep != '+' {
			d = append(d, rdn)
			rdn = nil
		}
		if sep == 0 {
			return d, nil
		}
		s = rest
	}
}

// cutPair reads the first "name=value" of s and what separates it from the rest:
// ',', '+', or 0 at the end.
func cutPair(s string) (p pair, sep byte, rest string, err error) {
	name, value, found := strings.Cut(s, "=")
	name = strings.TrimSpace(name)
	if !found || !isAttributeName(name) {
		return p, 0, "", fmt.Errorf("want name=value, such as uid=alice, at %q", s)
	}
	value = strings.TrimLeft(value, " ")
	if strings.HasPrefix(value, "#") {
		return p, 0, "", errors.New("a value in hexadecimal (#…) is not read here: write it as text")
	}
	var v strings.Builder
	kept := 0 // length without trailing spaces that nothing escapes
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case ',', ';', '+':
			if c == ';' { // RFC 2253 section 4 still separates with it
				c = ','
			}
			return pair{name, v.String()[:kept]}, c, value[i+1:], checkValue(v.String()[:kept])
		case '\\':
			n, err := unescape(&v, value[i+1:])
			if err != nil {
				return p, 0, "", err
			}
			i += n
			kept = v.Len()
		case '"', '<', '>', 0:
			return p, 0, "", fmt.Errorf("character %q needs a backslash before it", c)
		default:
			v.WriteByte(c)
			if c != ' ' {
				kept = v.Len()
			}
		}
	}
	return pair{name, v.String()[:kept]}, 0, "", checkValue(v.String()[:kept])
}

// unescape writes the character that follows a backslash and returns how many
// bytes of s stand for it.
func unescape(v *strings.Builder, s string) (int, error) {
	if s != "" && strings.IndexByte(` "#+,;<=>\`, s[0]) >= 0 {
		v.WriteByte(s[0])
		return 1, nil
	}
	if len(s) >= 2 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			v.WriteByte(b[0])
			return 2, nil
		}
	}
	return 0, errors.New(`a backslash stands before one of ",+<>;=# or two hexadecimal digits`)
}

func checkValue(v string) error {
	if v == "" {
		return errors.New("a value is empty")
	}
	if !utf8.ValidString(v) {
		return errors.New("a value is not UTF-8")
	}
	return nil
}

// String is the name as RFC 4514 writes it.
func (d dn) String() string {
	rdns := make([]string, len(d))
	for i, rdn := range d {
		pairs := make([]string, len(rdn))
		for j, p := range rdn {
			pairs[j] = p.name + "=" + escapeValue(p.value)
		}
		rdns[i] = strings.Join(pairs, "+")
	}
	return strings.Join(rdns, ",")
}

var valueEscapes = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `;`, `\;`, `+`, `\+`, `"`, `\"`, `<`, `\<`, `>`, `\>`, "\x00", `\00`)

// escapeValue writes a value so that it stands for itself (RFC 4514, section 2.4).
func escapeValue(v string) string {
	escaped := valueEscapes.Replace(v)
	if v[0] == ' ' || v[0] == '#' {
		escaped = `\` + escaped
	}
	if len(v) > 1 && v[len(v)-1] == ' ' {
		escaped = escaped[:len(escaped)-1] + `\ `
	}
	return escaped
}

// key is the form in which two DNs are the same name exactly if they are the
// same string, and in which a comma does nothing but separate RDNs.
func (d dn) key() string {
	var b strings.Builder
	for i, rdn := range d {
		if i > 0 {
			b.WriteByte(',')
		}
		pairs := make([]string, len(rdn))
		for j, p := range rdn {
			pairs[j] = strings.ToLower(p.name) + "=" + keyEscapes.Replace(fold(p.value))
		}
		slices.Sort(pairs)
		b.WriteString(strings.Join(pairs, "+"))
	}
	return b.String()
}

var keyEscapes = strings.NewReplacer(`\`, `\5c`, `,`, `\2c`, `+`, `\2b`, `=`, `\3d`)

// dnKey is the key of the DN that s spells; ok is false if s is none.
func dnKey(s string) (key string, ok bool) {
	d, err := parseDN(s)
	return d.key(), err == nil
}

// above returns the key of the entry above key.
func above(key string) string {
	_, parent, _ := strings.Cut(key, ",")
	return parent
}

// within reports whether key is base or below it.
func within(key, base string) bool {
	return base == "" || key == base || strings.HasSuffix(key, ","+base)
}

// isAttributeName reports whether s is an attribute's name or OID, options
// included (RFC 4512, section 2.5).
func isAttributeName(s string) bool {
	if s == "" {
		return false
	}
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && (i == 0 || c != '-' && c != '.' && c != ';') {
			return false
		}
	}
	return true
}

// fold is the form in which values are compared that ignore case and the
// number of spaces (RFC 4518, insignificant space handling).
func fold(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(s), " "))
}
