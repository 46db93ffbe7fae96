package scp

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/fs"
)

func TestBraces(t *testing.T) {
	tests := []struct {
		pattern string
		want    []string
	}{
		{"a", []string{"a"}},
		{"a{b,c}d", []string{"abd", "acd"}},
		{"{a,b}{c,d}", []string{"ac", "ad", "bc", "bd"}},
		{"{a,b{c,d},}", []string{"a", "bc", "bd", ""}},
		{"{a}", []string{"{a}"}},
		{"{}", []string{"{}"}},
		{"{a,b", []string{"{a,b"}},
		{"a,b}", []string{"a,b}"}},
		{"{{a,b}", []string{"{a", "{b"}},
		{`\{a,b}`, []string{`\{a,b}`}},
		{`{a\,b,c}`, []string{`a\,b`, "c"}},
		{"{1..3}", []string{"{1..3}"}}, // clients would not accept what bash makes of it
	}
	for _, tt := range tests {
		if got, ok := braces(tt.pattern); !ok || !slices.Equal(got, tt.want) {
			t.Errorf("braces(%q) = %q, %t; want %q", tt.pattern, got, ok, tt.want)
		}
	}
	if got, ok := braces(strings.Repeat("{a,b}", 20)); ok {
		t.Errorf("a million alternatives gave %d words, want a refusal", len(got))
	}
}

// TestBounds asks for more than fits into memory, though not for many names.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 40000)
	if got, ok := braces("{a,b}{a,b}{a,b}{a,b}{a,b}" + long); ok {
		t.Errorf("32 words of 40,000 bytes gave %d, want a refusal", len(got))
	}
	dir := t.TempDir()
	deep := strings.Repeat("/"+strings.Repeat("d", 250), 14)
	if err := os.MkdirAll(filepath.Join(dir, deep), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 1500 { // times 3,700 bytes
		write(t, filepath.Join(dir, deep, strings.Repeat("n", 200)+strconv.Itoa(i)), "", 0o600)
	}
	g := &glob{view: view{files: dirFS(dir)}}
	if got, err := g.expand(strings.Repeat("/d*", 14) + "/*"); !errors.Is(err, errTooMany) {
		t.Errorf("5 MiB of names: %d, %v; want %v", len(got), err, errTooMany)
	}
	if got, err := g.expand(strings.Repeat("/d*", 14) + "/n*1"); err != nil || len(got) != 150 {
		t.Errorf("0.5 MiB of names: %d, %v; want 150", len(got), err)
	}
}

// TestPatternsCostLittle: neither long patterns nor many braces keep the server busy, and
// nothing does after the client has left.
func TestPatternsCostLittle(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, filepath.Join(dir, strings.Repeat("n", 200)+strconv.Itoa(i)), "", 0o600)
	}
	pattern := "*[" + strings.Repeat("b", 60<<10) + "]x"
	g := &glob{view: view{files: dirFS(dir)}, looked: maxLooked - 20_000}
	if got, err := g.expand(pattern); !errors.Is(err, errTooMany) {
		t.Errorf("a pattern of 60 KiB: %d, %v; want %v", len(got), err, errTooMany)
	}
	if _, ok := braces(strings.Repeat("{", 60<<10) + "{a,b}"); ok {
		t.Error("60,000 braces are expanded, want a refusal")
	}
	left := make(chan struct{})
	close(left)
	g = &glob{view: view{files: dirFS(dir)}, done: left}
	if got, err := g.expand("n*"); !errors.Is(err, errClosing) {
		t.Errorf("after the client has left: %d, %v; want %v", len(got), err, errClosing)
	}
}

// endsEarly is a directory whose disk fails after the first entry.
type endsEarly struct{ dirFS }

func (d endsEarly) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		for fi := range d.dirFS.ReadDir(name) {
			if yield(fi, nil) {
				yield(nil, errors.New("/srv/secret: device error"))
			}
			return
		}
	}
}

// lacksDescriptors is a server that can open nothing more.
type lacksDescriptors struct{ dirFS }

func (lacksDescriptors) Stat(string) (iofs.FileInfo, error)  { return nil, fs.ErrNoDescriptors }
func (lacksDescriptors) Lstat(string) (iofs.FileInfo, error) { return nil, fs.ErrNoDescriptors }

// TestPatternsMatchAllOrFail: a client that fetches "*" does not get a part of the files
// and a success.
func TestPatternsMatchAllOrFail(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		write(t, filepath.Join(dir, name), name, 0o600)
	}
	g := &glob{view: view{files: endsEarly{dirFS(dir)}}}
	if got, err := g.expand("*"); !errors.Is(err, errUnread) {
		t.Errorf("a listing that ends early matches %q, %v; want %v", got, err, errUnread)
	}
	for _, pattern := range []string{"*/", "*/x", "{a,?}/../a", "[a]", "?/../a"} {
		g := &glob{view: view{files: lacksDescriptors{dirFS(dir)}}}
		got, err := g.expand(pattern)
		if want := pattern == "[a]"; (err == nil) != want || err != nil && !errors.Is(err, errUnread) {
			t.Errorf("%s matches %q, %v", pattern, got, err)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true},
		{"*", "", true},
		{"*", ".a", false},
		{".*", ".a", true},
		{`\.*`, ".a", true},
		{"?a", ".a", false},
		{"[.]a", ".a", false},
		{"a*c", "abbc", true},
		{"a*c", "abbd", false},
		{"*.t?t", "a.txt", true},
		{"*a*b*c", "xxaxxbxxc", true},
		{"?", "ü", true},
		{"?", "\xff", true},
		{"??", "ü", false},
		{"ü*", "über", true},
		{"ü*", "\xc3x", false},
		{"[a-c]x", "bx", true},
		{"[!a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{"[]a]", "]", true},
		{"[!]a]", "b", true},
		{"[a-]", "-", true},
		{"[a", "[a", true}, // no set
		{"[a", "a", false},
		{"[ä-ü]", "ö", true},
		{`[\]]`, "]", true},
		{"[[:digit:]]*", "1a", true},
		{"[[:alpha:][:digit:]]", "-", false},
		{"[[:graph:]]", "a", true},
		{"[[:graph:]]", " ", false},
		{"[[:graph:]]", "\x01", false},
		{"[[:nope:]]", "n]", true}, // a set of these characters, as it is no class
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, `a\`, true},
		{"", "", true},
		{"", "a", false},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("match(%q, %q) = %t, want %t", tt.pattern, tt.name, got, tt.want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("*a*[b-c]?", "xxabz")
	f.Add(`[[:alpha:]\]-]`, "]")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 1000 || len(name) > 1000 {
			return
		}
		match(pattern, name)
		var quoted strings.Builder
		for i := range len(name) {
			literal(&quoted, name[i])
		}
		if !match(quoted.String(), name) || unescape(quoted.String()) != name {
			t.Errorf("%q does not match %q, which is that name quoted", name, quoted.String())
		}
		if words, ok := braces(pattern); ok && len(words) > maxAlternatives {
			t.Errorf("braces(%q) made %d words", pattern, len(words))
		}
	})
}

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "b.txt", ".h", "[x]", "sub/c.txt", "sub2/c.txt", "sub2/d", "etc/x"} {
		write(t, filepath.Join(dir, name), "x", 0o644)
	}
	for name, to := range map[string]string{"link": "sub", "sub2/circle": "circle"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("n", 256)
	tests := []struct {
		pattern string
		want    []string
	}{
		{"a.txt", []string{"a.txt"}},
		{"*.txt", []string{"a.txt", "b.txt"}},
		{"./*.txt", []string{"./a.txt", "./b.txt"}},
		{"{b,a}.txt", []string{"b.txt", "a.txt"}},
		{"{*.txt,none}", []string{"a.txt", "b.txt", "none"}},
		{"*/c.txt", []string{"link/c.txt", "sub/c.txt", "sub2/c.txt"}},
		{"s*/d", []string{"sub2/d"}},
		{"*/", []string{"etc/", "link/", "sub/", "sub2/"}},
		{"/e*/x", []string{"/etc/x"}},
		{"../e*", []string{"../etc"}},
		{"~/*.txt", []string{"a.txt", "b.txt"}},
		{"~", []string{""}},
		{`\~`, []string{"~"}},
		{"none*", []string{"none*"}},
		{`none\*`, []string{"none*"}},
		{`\[x]`, []string{"[x]"}},
		{".*", []string{".h"}},
		{"a.txt/*", []string{"a.txt/*"}},
		{"*/circle/*", []string{"*/circle/*"}},
		{long + "/*", []string{long + "/*"}},
		{"", []string{""}},
	}
	for _, tt := range tests {
		g := &glob{view: view{dirFS(dir), Options{}}}
		got, err := g.expand(tt.pattern)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("expand(%q) = %q, %v; want %q", tt.pattern, got, err, tt.want)
		}
	}
	g := &glob{view: view{dirFS(dir), Options{}}, looked: maxLooked}
	if got, err := g.expand("*"); !errors.Is(err, errTooMany) {
		t.Errorf("expand beyond the limit = %q, %v; want %v", got, err, errTooMany)
	}
}
