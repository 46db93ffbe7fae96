package scp

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "record testdata/*.txt anew with the real scp")

// recorded is standard input and output that are also written to files.
func recorded(file, command string) (io.Reader, io.Writer) {
	in, _ := os.Create(file + ".in")
	out, _ := os.Create(file + ".out")
	_ = os.WriteFile(file+".cmd", []byte(command), 0o600)
	return io.TeeReader(os.Stdin, in), io.MultiWriter(os.Stdout, out)
}

// A transcript has the bytes that a real client and the server have sent.
type transcript struct {
	command, client, server string
}

// goldens are what the real client was asked to do when it was recorded, in a
// directory like the one that golden fills.
var goldens = []struct {
	name string
	args []string
}{
	{"put", []string{"one", "host:new"}},
	{"put-several", []string{"one", "two words", "host:dir"}},
	{"put-tree", []string{"-r", "tree", "host:dir"}},
	{"put-tree-times", []string{"-rp", "tree", "host:dir"}},
	{"put-missing-local", []string{"none", "one", "host:dir"}},
	{"put-missing-parent", []string{"one", "host:none/new"}},
	{"put-on-directory", []string{"one", "host:taken/one"}},
	{"put-several-on-file", []string{"one", "two words", "host:file"}},
	{"get", []string{"host:one", "new"}},
	{"get-empty", []string{"host:empty", "new"}},
	{"get-times", []string{"-p", "host:one", "new"}},
	{"get-tree", []string{"-r", "host:tree", "dir"}},
	{"get-tree-times", []string{"-rp", "host:tree", "dir"}},
	{"get-wildcard", []string{"host:{o,t}*", "dir"}},
	{"get-wildcard-tree", []string{"-r", "host:t*", "dir"}},
	{"get-missing", []string{"host:none", "dir"}},
	{"get-directory", []string{"host:tree", "dir"}},
	{"get-newline", []string{"host:odd*", "dir"}},
	{"get-refused", []string{"-r", "host:tree", "file"}},
	{"get-no-target", []string{"host:one", "none/new"}},
}

// transcripts are the recorded ones.
func transcripts(t testing.TB) []transcript {
	t.Helper()
	var all []transcript
	for _, g := range goldens {
		tr, err := readTranscript(filepath.Join("testdata", g.name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tr)
	}
	return all
}

// goldenTree fills a directory of either side. No directory in it has more than
// one entry: the order of more is not the same everywhere.
func goldenTree(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "one"), "1", 0o644)
	write(t, filepath.Join(dir, "two words"), "two\n", 0o755)
	write(t, filepath.Join(dir, "file"), "file", 0o600)
	write(t, filepath.Join(dir, "odd\n\x1bü"), "odd", 0o644)
	write(t, filepath.Join(dir, "empty"), "", 0o640)
	write(t, filepath.Join(dir, "tree/sub/x"), strings.Repeat("x", 5000), 0o444)
	for _, d := range []string{"dir", "taken/one"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two words", "tree/sub/x", "tree/sub", "tree"} {
		if err := os.Chtimes(filepath.Join(dir, name), time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

// The recorded bytes of the real client must get the same answers.
func TestGolden(t *testing.T) {
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join("testdata", tt.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(talk(t, tt.args).String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := readTranscript(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			goldenTree(t, dir)
			got, _ := serve(t, dirFS(dir), want.command, want.client)
			if got != want.server {
				t.Errorf("%s: told %q, want %q", want.command, got, want.server)
			}
		})
	}
}

// talk records the real client.
func talk(t *testing.T, args []string) transcript {
	t.Helper()
	r := newRig(t)
	goldenTree(t, r.client)
	goldenTree(t, r.server)
	file := filepath.Join(t.TempDir(), "record")
	r.env = append(r.env, recordVar+"="+file)
	r.scp(args...)
	return transcript{command: slurp(t, file+".cmd"), client: slurp(t, file+".in"), server: slurp(t, file+".out")}
}

func slurp(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// String is the transcript as text: the command, and each side's bytes in
// quotes, a record a line.
func (tr transcript) String() string {
	var b strings.Builder
	for _, part := range []struct{ side, said string }{
		{"command", tr.command}, {"client", tr.client}, {"server", tr.server},
	} {
		for piece := range strings.Lines(part.said) {
			fmt.Fprintf(&b, "%s %q\n", part.side, piece)
		}
	}
	return b.String()
}

func readTranscript(file string) (transcript, error) {
	var tr transcript
	sides := map[string]*string{"command": &tr.command, "client": &tr.client, "server": &tr.server}
	text, err := os.ReadFile(file)
	if err != nil {
		return tr, err
	}
	for line := range bytes.Lines(text) {
		side, quoted, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		said, err := strconv.Unquote(quoted)
		if err != nil || sides[side] == nil {
			return tr, fmt.Errorf("%s: %q is no line of a transcript", file, line)
		}
		*sides[side] += said
	}
	return tr, nil
}
