package scp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// match reports whether name, one component of a path, matches pattern: * ? [a-z]
// [!a-z] [[:alpha:]] and backslash, as in POSIX (Shell Command Language, section
// 2.13). A period at the start must be matched by a period. The time is at most
// proportional to len(pattern)*len(name).
func match(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(strings.TrimPrefix(pattern, `\`), ".") {
		return false
	}
	var starPattern, starName string // where to try again
	starred := false
	for {
		switch {
		case strings.HasPrefix(pattern, "*"):
			pattern = pattern[1:]
			starPattern, starName, starred = pattern, name, true
			continue
		case pattern == "" && name == "":
			return true
		}
		rest, size, ok := matchOne(pattern, name)
		if ok {
			pattern, name = rest, name[size:]
			continue
		}
		if !starred || starName == "" {
			return false
		}
		_, size = utf8.DecodeRuneInString(starName)
		starName = starName[size:]
		pattern, name = starPattern, starName
	}
}

// matchOne compares the first character of name with the first element of
// pattern, which is not a star. It returns the pattern after that and the size
// of the character.
func matchOne(pattern, name string) (rest string, size int, ok bool) {
	if pattern == "" || name == "" {
		return "", 0, false
	}
	r, size := utf8.DecodeRuneInString(name)
	switch pattern[0] {
	case '?':
		return pattern[1:], size, true
	case '[':
		if rest, in, isSet := matchSet(pattern, r); isSet {
			return rest, size, in
		}
	case '\\':
		if len(pattern) > 1 {
			pattern = pattern[1:]
		}
	}
	if pattern[0] != name[0] {
		return "", 0, false
	}
	return pattern[1:], 1, true // the other bytes of a long character follow
}

// matchSet reports whether r is in the bracket expression that pattern begins
// with. Without a closing bracket it is none.
func matchSet(pattern string, r rune) (rest string, in, isSet bool) {
	p := pattern[1:]
	negated := p != "" && (p[0] == '!' || p[0] == '^')
	if negated {
		p = p[1:]
	}
	for first := true; ; first = false {
		if p == "" {
			return "", false, false
		}
		if p[0] == ']' && !first {
			return p[1:], in != negated, true
		}
		if class, after, ok := cutClass(p); ok {
			in = in || class(r)
			p = after
			continue
		}
		low, after := cutRune(p)
		high := low
		if len(after) > 1 && after[0] == '-' && after[1] != ']' {
			high, after = cutRune(after[1:])
		}
		in = in || low <= r && r <= high
		p = after
	}
}

// cutRune takes one character, perhaps with a backslash, off p.
func cutRune(p string) (rune, string) {
	if p[0] == '\\' && len(p) > 1 {
		p = p[1:]
	}
	r, size := utf8.DecodeRuneInString(p)
	return r, p[size:]
}

// cutClass takes a class such as [:digit:] off p.
func cutClass(p string) (class func(rune) bool, rest string, ok bool) {
	if !strings.HasPrefix(p, "[:") {
		return nil, p, false
	}
	name, rest, closed := strings.Cut(p[2:], ":]")
	class, ok = classes[name]
	return class, rest, closed && ok
}

// classes are the character classes of POSIX.
var classes = map[string]func(rune) bool{
	"alnum":  func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) },
	"alpha":  unicode.IsLetter,
	"blank":  func(r rune) bool { return r == ' ' || r == '\t' },
	"cntrl":  unicode.IsControl,
	"digit":  func(r rune) bool { return '0' <= r && r <= '9' },
	"graph":  func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) },
	"lower":  unicode.IsLower,
	"print":  unicode.IsPrint,
	"punct":  func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) },
	"space":  unicode.IsSpace,
	"upper":  unicode.IsUpper,
	"xdigit": func(r rune) bool { return unicode.Is(unicode.ASCII_Hex_Digit, r) },
}
