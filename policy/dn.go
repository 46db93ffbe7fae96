package policy

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// What separates the parts of a distinguished name in the form in which they
// are compared. Values cannot hold them.
const (
	endRDN = '\x00'
	endAVA = '\x01' // between the parts of an RDN that has several
)

// appendDN appends dn to b in the form in which DNs are compared, and reports
// whether dn is one. It allocates only for names with escapes or letters beyond
// ASCII: a login of somebody in 500 groups goes through here 500 times.
func appendDN(b []byte, dn string) ([]byte, bool) {
	if out, ok := appendPlainDN(b, dn); ok {
		return out, true
	}
	rdns, err := parseDN(dn)
	if err != nil {
		return b, false
	}
	return append(b, strings.Join(rdns, string(endRDN))...), true
}

// normalDN returns dn in the form in which DNs are compared.
func normalDN(dn string) (string, error) {
	rdns, err := parseDN(dn)
	return strings.Join(rdns, string(endRDN)), err
}

// appendPlainDN is appendDN for names in ASCII that hold nothing to interpret.
func appendPlainDN(b []byte, dn string) ([]byte, bool) {
	inValue := false
	start := len(b) // of the type or value being read
	for i := range len(dn) {
		switch c := dn[i]; {
		case c == ',':
			b = trimSpace(b, start)
			if !inValue || len(b) == start {
				return b, false
			}
			b = append(b, endRDN)
			inValue, start = false, len(b)
		case c == '=' && !inValue:
			b = trimSpace(b, start)
			if len(b) == start {
				return b, false
			}
			b = append(b, '=')
			inValue, start = true, len(b)
		case c == ' ':
			if len(b) > start && b[len(b)-1] != ' ' {
				b = append(b, ' ')
			}
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c < ' ' || c > '~' || c == '\\' || c == '"' || c == '+' || c == '#' || c == ';':
			return b, false
		default:
			b = append(b, c)
		}
	}
	b = trimSpace(b, start)
	return b, inValue && len(b) > start
}

func trimSpace(b []byte, start int) []byte {
	if len(b) > start && b[len(b)-1] == ' ' {
		return b[:len(b)-1]
	}
	return b
}

var errDN = errors.New("is not a DN, such as CN=Finance,OU=Groups,DC=corp,DC=example")

// parseDN splits a distinguished name (RFC 4514) into its RDNs, in the form in
// which they are compared: escapes resolved, lower case, spaces around
// separators gone and other runs of spaces one space, as directories do.
func parseDN(dn string) ([]string, error) {
	var rdns []string
	for rest, more := dn, true; more; {
		var rdn string
		var err error
		rdn, rest, more, err = parseRDN(rest)
		if err != nil {
			return nil, err
		}
		rdns = append(rdns, rdn)
	}
	return rdns, nil
}

// parseRDN reads up to the next comma. It reports whether there was one.
func parseRDN(s string) (rdn, rest string, more bool, err error) {
	var avas []string
	for {
		name, after, found := strings.Cut(s, "=")
		name, err := checkValue(name)
		if !found || err != nil || strings.ContainsAny(name, `,+"\;<>`) {
			return "", "", false, errDN
		}
		value, end, err := parseValue(after)
		if err != nil {
			return "", "", false, err
		}
		avas = append(avas, name+"="+value)
		if end == "" || end[0] == ',' {
			slices.Sort(avas)
			return strings.Join(avas, string(endAVA)), strings.TrimPrefix(end, ","), end != "", nil
		}
		s = end[1:] // after a "+"
	}
}

// parseValue reads an attribute value. The rest is empty or begins with the
// comma or plus sign that ended it.
func parseValue(s string) (value, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s[1:])
	}
	var b strings.Builder
	for s != "" && s[0] != ',' && s[0] != '+' {
		switch s[0] {
		case '"', ';':
			return "", "", errDN
		case '\\':
			c, n := unescape(s)
			if n == 0 {
				return "", "", errDN
			}
			b.WriteByte(c)
			s = s[n:]
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	value, err = checkValue(b.String())
	return value, s, err
}

// parseQuoted reads a value after its opening quote, as RFC 2253 allowed it.
func parseQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for s != "" && s[0] != '"' {
		c, n := s[0], 1
		if c == '\\' {
			if c, n = unescape(s); n == 0 {
				return "", "", errDN
			}
		}
		b.WriteByte(c)
		s = s[n:]
	}
	if s == "" {
		return "", "", errDN
	}
	rest = strings.TrimLeft(s[1:], " ")
	if rest != "" && rest[0] != ',' && rest[0] != '+' {
		return "", "", errDN
	}
	value, err = checkValue(b.String())
	return value, rest, err
}

// unescape reads the escape that s begins with: a backslash and two hexadecimal
// digits, or a backslash and the character itself. n is 0 if it is neither.
func unescape(s string) (c byte, n int) {
	if len(s) > 2 {
		var one [1]byte
		if _, err := hex.Decode(one[:], []byte(s[1:3])); err == nil {
			return one[0], 3
		}
	}
	if len(s) > 1 && strings.IndexByte(` "#+,;<=>\`, s[1]) >= 0 {
		return s[1], 2
	}
	return 0, 0
}

func checkValue(s string) (string, error) {
	value := canonical(s)
	if value == "" || strings.ContainsAny(value, "\x00\x01") || !utf8.ValidString(s) {
		return "", errDN
	}
	return value, nil
}

// canonical returns s in lower case, without spaces at its ends and with single
// spaces within.
func canonical(s string) string {
	s = strings.ToLower(s)
	s = strings.Trim(s, " ")
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}
