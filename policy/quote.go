package policy

import (
	"strconv"
	"strings"
	"unicode"
)

// quote returns s as it is when it is plain text, else in quotes with escapes:
// what a directory or a client sent must not drive the reader's terminal.
func quote(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}
