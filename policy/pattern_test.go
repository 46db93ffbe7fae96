package policy

import (
	"path"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"*", "a/b", true},
		{"*.exe", "A.EXE", true},
		{"*.exe", "a.exe.txt", false},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
		{"?", "ä", true},
		{"Ä?", "äß", true},
		{"[a-c]x", "Bx", true},
		{"[^a-c]x", "bx", false},
		{"[A-C]x", "bx", true},
		{"[^a]", "^", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, "a", false},
		{"[a", "a", false},
		{"~$*", "~$doc.docx", true},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("match(%q, %q) = %t, want %t", tt.pattern, tt.s, got, tt.want)
		}
	}
}

// FuzzMatch holds match to path.Match, which it equals on lower-case text
// without slashes.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"*.exe", "a.exe"}, {"[a-c]*", "bcd"}, {`\[x`, "[x"}, {"a*b?c", "axbyc"}, {"[^a]", "b"}, {"[]a]", "]"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !simple(pattern) || !simple(s) || checkPattern(pattern) != nil {
			match(pattern, s) // must end, without a panic
			return
		}
		want, err := path.Match(pattern, s)
		if err != nil {
			return
		}
		if got := match(pattern, s); got != want {
			t.Errorf("match(%q, %q) = %t, want %t as path.Match", pattern, s, got, want)
		}
	})
}

// simple reports whether case and slashes play no part in s: classes such as
// [A-z] differ when case is ignored, so capitals and what lies between them and
// the small letters are left out.
func simple(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 'A' && r <= 'Z' || r == '/' || r == '_' || r == '`' || r > '~' || r < ' '
	})
}
