package scp

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		command string
		want    Command
	}{
		{"scp -t .", Command{Sink: true, Paths: []string{"."}}},
		{"scp -f a b", Command{Source: true, Paths: []string{"a", "b"}}},
		{"scp -v -r -p -d -t x", Command{Sink: true, Verbose: true, Recursive: true, Preserve: true, TargetDirectory: true, Paths: []string{"x"}}},
		{"scp -rpqf x", Command{Source: true, Recursive: true, Preserve: true, Paths: []string{"x"}}},
		{"/usr/bin/scp -f x", Command{Source: true, Paths: []string{"x"}}},
		{"'scp' \"-f\" x", Command{Source: true, Paths: []string{"x"}}},
		{"scp -t", Command{Sink: true, Paths: []string{""}}},
		{"scp -t ''", Command{Sink: true, Paths: []string{""}}},
		{"scp -f -- -x", Command{Source: true, Paths: []string{"-x"}}},
		{"scp -f x -r", Command{Source: true, Paths: []string{"x", "-r"}}},
		{"scp -TC -l 800 -l900 -f x", Command{Source: true, Paths: []string{"x"}}},
		{"  scp\t-f   x  ", Command{Source: true, Paths: []string{"x"}}},
		{`scp -f a\ b 'c  d' "e f"g`, Command{Source: true, Paths: []string{"a b", "c  d", "e fg"}}},
		{`scp -f "a\"b\$c\d" 'a\b'`, Command{Source: true, Paths: []string{`a"b$c\\d`, `a\\b`}}},
		{`scp -f $HOME ` + "`id` $(x)", Command{Source: true, Paths: []string{"$HOME", "`id`", "$(x)"}}},
		{`scp -f *.txt '*'.txt \*.txt "[a-c]"`, Command{Source: true, Paths: []string{"*.txt", `\*.txt`, `\*.txt`, `\[a\-c\]`}}},
		{"scp -f a\\\nb 'x\ny'", Command{Source: true, Paths: []string{"ab", "x\ny"}}},
		{`scp -f '~/x' ~/x`, Command{Source: true, Paths: []string{`\~/x`, "~/x"}}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.command)
		paths := got.Paths
		got.Paths = nil
		want := tt.want
		want.Paths = nil
		if err != nil || !equal(got, want) || !slices.Equal(paths, tt.want.Paths) {
			t.Errorf("Parse(%q) = %+v %q, %v; want %+v", tt.command, got, paths, err, tt.want)
		}
	}
}

func equal(a, b Command) bool {
	a.Paths, b.Paths = nil, nil
	flags := func(c Command) []bool {
		return []bool{c.Source, c.Sink, c.Recursive, c.Preserve, c.TargetDirectory, c.Verbose}
	}
	return slices.Equal(flags(a), flags(b))
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		command, text string
	}{
		{"", "not an scp command"},
		{"sh -c 'scp -f x'", "not an scp command"},
		{"scpx -f x", "not an scp command"},
		{"scp\n-f x", "not an scp command"}, // its first word is no word
		{"rsync --server -e.iLsfxCIvu . x", "sftp"},
		{"/usr/bin/rsync --server . 'x", "sftp"},
		{"scp x y", "either -f or -t"},
		{"scp -f -t x", "either -f or -t"},
		{"scp -z -f x", "unknown option -z"},
		{"scp --help", "unknown option -"},
		{"scp -\x1b -f x", "unknown option -?"},
		{"scp -f x -l", ""},
		{"scp -l", "needs a value"},
		{"scp -f 'x", "closing"},
		{`scp -f "x`, "closing"},
		{`scp -f x\`, "backslash"},
		{"scp -f x;id", "no shell"},
		{"scp -f x&&id", "no shell"},
		{"scp -f x|id", "no shell"},
		{"scp -t >x", "no shell"},
		{"scp -f x\nid", "no shell"},
		{"scp -f x\x00y", "not an scp command"},
		{"scp -f " + strings.Repeat("x ", maxWords), "too many words"},
		{"scp -f " + strings.Repeat("x", maxCommand), "not an scp command"},
	}
	for _, tt := range tests {
		c, err := Parse(tt.command)
		if tt.text == "" {
			if err != nil {
				t.Errorf("Parse(%.50q) = %v, want no error", tt.command, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("Parse(%.50q) = %+v, %v; want %q", tt.command, c, err, tt.text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"scp -t .", `scp -f a\ 'b' "c\"" {a,b}*`, "scp -rp -l 3 -- x", "scp -f \\\x00"} {
		f.Add(s)
	}
	for _, tr := range transcripts(f) {
		f.Add(tr.command)
	}
	f.Fuzz(func(t *testing.T, command string) {
		c, err := Parse(command)
		if err != nil {
			return
		}
		if c.Source == c.Sink || len(c.Paths) == 0 {
			t.Errorf("Parse(%q) = %+v, want one direction and a path", command, c)
		}
		for _, p := range c.Paths {
			if strings.ContainsRune(unescape(p), 0) {
				t.Errorf("Parse(%q) has a path with NUL", command)
			}
		}
	})
}
