package policy

import (
	"path"
	"unicode"
	"unicode/utf8"
)

// checkPattern returns path.ErrBadPattern for a pattern that match cannot read.
func checkPattern(pattern string) error {
	_, err := path.Match(pattern, "")
	return err
}

// match reports whether all of s matches pattern, ignoring case. The patterns
// are those of path.Match, but "*" and "?" match a slash too. A bad pattern
// matches nothing. It needs no memory and at most len(pattern)*len(s) steps.
func match(pattern, s string) bool {
	if differ(pattern, s) {
		return false
	}
	star, retry := "", "" // where to continue after a mismatch: the pattern after the last "*", and the text that it was compared with
	starred := false
	for {
		if pattern != "" && pattern[0] == '*' {
			pattern = pattern[1:]
			star, retry, starred = pattern, s, true
			continue
		}
		if pattern == "" && s == "" {
			return true
		}
		if rest, n, ok := matchOne(pattern, s); ok {
			pattern, s = rest, s[n:]
			continue
		}
		if !starred || retry == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(retry)
		retry = retry[n:]
		pattern, s = star, retry
	}
}

// differ reports whether s does not match because of its first or its last
// letter. It makes a filter such as *.exe cheap for every other name.
func differ(pattern, s string) bool {
	if pattern == "" || s == "" {
		return false
	}
	return unlike(pattern[0], s[0]) || unlike(pattern[len(pattern)-1], s[len(s)-1])
}

// unlike reports whether p is a letter of a pattern and c is another one. It
// compares ASCII only, because other letters have more than one byte.
func unlike(p, c byte) bool {
	switch p {
	case '*', '?', '[', ']', '\\':
		return false
	}
	return p < utf8.RuneSelf && c < utf8.RuneSelf && lower(p) != lower(c)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// matchOne matches one element of pattern, which does not begin with "*", with
// one character of s. It returns the rest of pattern and the length of the
// character.
func matchOne(pattern, s string) (rest string, n int, ok bool) {
	if pattern == "" || s == "" {
		return "", 0, false
	}
	r, n := utf8.DecodeRuneInString(s)
	switch pattern[0] {
	case '?':
		return pattern[1:], n, true
	case '[':
		rest, ok = matchClass(pattern[1:], fold(r))
		return rest, n, ok
	}
	p, rest := character(pattern)
	return rest, n, rest != bad && fold(p) == fold(r)
}

// bad is the rest of a pattern that cannot be read. No pattern ends like it.
const bad = "\x00bad"

// character reads one character of a pattern, which a backslash may precede.
func character(pattern string) (rune, string) {
	if pattern[0] == '\\' {
		pattern = pattern[1:]
		if pattern == "" {
			return 0, bad
		}
	}
	r, n := utf8.DecodeRuneInString(pattern)
	return r, pattern[n:]
}

// matchClass matches r, folded, with the class that pattern begins with, after
// its "[".
func matchClass(pattern string, r rune) (rest string, ok bool) {
	negated := pattern != "" && pattern[0] == '^'
	if negated {
		pattern = pattern[1:]
	}
	found := false
	for first := true; ; first = false {
		if pattern == "" {
			return "", false
		}
		if pattern[0] == ']' && !first {
			return pattern[1:], found != negated
		}
		var lo, hi rune
		lo, pattern = character(pattern)
		hi = lo
		if len(pattern) > 1 && pattern[0] == '-' {
			hi, pattern = character(pattern[1:])
		}
		if within(r, lo, hi) {
			found = true
		}
	}
}

// within reports whether r, folded, is in the range in either case.
func within(r, lo, hi rune) bool {
	upper := unicode.ToUpper(r)
	return lo <= r && r <= hi || lo <= upper && upper <= hi
}

// fold makes the two cases of a letter one.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(lower(byte(r)))
	}
	return unicode.ToLower(unicode.ToUpper(r))
}
