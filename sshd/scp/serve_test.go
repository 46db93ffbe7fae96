package scp

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fs"
)

// serve runs a command on files with all bytes of a client, and returns the
// bytes that the client gets.
func serve(t testing.TB, files fs.FS, command, says string) (string, error) {
	t.Helper()
	return serveFrom(t, files, command, strings.NewReader(says))
}

func serveFrom(t testing.TB, files fs.FS, command string, says io.Reader) (string, error) {
	t.Helper()
	c, err := Parse(command)
	if err != nil {
		t.Fatalf("Parse(%q): %v", command, err)
	}
	var told bytes.Buffer
	err = c.Serve(t.Context(), struct {
		io.Reader
		io.Writer
	}{says, &told}, io.Discard, files, Options{})
	return told.String(), err
}

func TestSink(t *testing.T) {
	tests := []struct {
		name, command, says, told string
		ok                        bool
		path, data                string // a file that must be there after it
	}{
		{"nothing", "scp -t .", "", "\x00", true, "", ""},
		{"one file", "scp -t .", "C0644 3 a\nabc\x00", "\x00\x00\x00", true, "a", "abc"},
		{"new name", "scp -t b", "C0644 3 a\nabc\x00", "\x00\x00\x00", true, "b", "abc"},
		{"empty file", "scp -t b", "C0644 0 a\n\x00", "\x00\x00\x00", true, "b", ""},
		{"over another", "scp -t old", "C0600 1 a\nx\x00", "\x00\x00\x00", true, "old", "x"},
		{"two files", "scp -d -t .", "C0644 1 a\na\x00C0644 1 b\nb\x00", "\x00\x00\x00\x00\x00", true, "b", "b"},
		{"tree", "scp -r -t .", "D0755 0 d\nC0644 1 a\na\x00E\n", "\x00\x00\x00\x00\x00", true, "d/a", "a"},
		{"tree to a new name", "scp -r -t e", "D0755 0 d\nC0644 1 a\na\x00E\n", "\x00\x00\x00\x00\x00", true, "e/a", "a"},
		{"into a directory that is there", "scp -r -t .", "D0755 0 dir\nC0644 1 a\na\x00E\n", "\x00\x00\x00\x00\x00", true, "dir/a", "a"},
		{"times", "scp -p -t .", "T1000 0 2000 5\nC0644 1 a\na\x00", "\x00\x00\x00\x00", true, "a", "a"},
		{"times out of range", "scp -p -t .", "T99999999999999999999 0 1 0\nC0644 1 a\na\x00", "\x00\x00\x00\x00", true, "a", "a"},
		{"E at the top", "scp -r -t .", "E\n", "\x00\x00", true, "", ""},
		{"set-id bits", "scp -p -t .", "C7755 1 a\na\x00", "\x00\x00\x00", true, "a", "a"},

		{"client's warning", "scp -t .", "\x01scp: x: gone\nC0644 1 a\na\x00", "\x00\x00\x00", false, "a", "a"},
		{"client gives up", "scp -t .", "\x02scp: bad\nC0644 1 a\na\x00", "\x00", false, "old", "older"},
		{"client could not read", "scp -t .", "C0644 2 a\na\x00\x01scp: a: I/O\n", "\x00\x00\x00", false, "a", "a\x00"},
		{"directory at the file's name", "scp -t .", "C0644 1 dir\nC0644 1 a\na\x00", "\x00\x01scp: ./dir: Is a directory\n\x00\x00", false, "a", "a"},
		{"file at the directory's name", "scp -r -t .", "D0755 0 old\nC0644 1 a\na\x00", "\x00\x01scp: ./old: Not a directory\n\x00\x00", false, "a", "a"},
		{"no parent", "scp -t no/x", "C0644 1 a\n", "\x00\x01scp: no/x: No such file or directory\n", false, "", ""},
		{"slash after a missing name", "scp -t no/", "C0644 1 a\n", "\x00\x01scp: no/: Is a directory\n", false, "", ""},
		{"target is no directory", "scp -d -t old", "", "\x02scp: old: Not a directory\n", false, "old", "older"},
		{"target directory is missing", "scp -d -t no", "", "\x02scp: no: No such file or directory\n", false, "", ""},
		{"several targets", "scp -t a b", "", "\x02scp: ambiguous target\n", false, "", ""},

		{"directory without -r", "scp -t .", "D0755 0 d\n", "\x00\x02scp: protocol error: received directory without -r\n", false, "", ""},
		{"too much data", "scp -t .", "C0644 1 a\nab\x00\n", "\x00\x00\x02scp: protocol error: unexpected answer\n", false, "", ""},
		{"too little data", "scp -t .", "C0644 9 a\nabc", "\x00\x00", false, "a", "abc"},
		{"no answer after the data, as by libssh2", "scp -t .", "C0644 3 a\nabc", "\x00\x00\x00", true, "a", "abc"},
		{"end in a directory", "scp -r -t .", "D0755 0 d\n", "\x00\x00", false, "", ""},
		{"end in a record", "scp -t .", "C0644 3", "\x00", false, "", ""},
		{"unknown record", "scp -t .", "X\n", "\x00\x02scp: protocol error: expected control record\n", false, "", ""},
		{"empty line", "scp -t .", "\n\n", "\x00\x02scp: protocol error: expected control record\n", false, "", ""},
		{"bad mode", "scp -t .", "C0849 1 a\n", "\x00\x02scp: protocol error: bad mode\n", false, "", ""},
		{"short mode", "scp -t .", "C644 1 a\n", "\x00\x02scp: protocol error: bad mode\n", false, "", ""},
		{"signed mode", "scp -t .", "C+644 1 a\n", "\x00\x02scp: protocol error: bad mode\n", false, "", ""},
		{"bad size", "scp -t .", "C0644 -1 a\n", "\x00\x02scp: protocol error: bad size\n", false, "", ""},
		{"size out of range", "scp -t .", "C0644 9223372036854775808 a\n", "\x00\x02scp: protocol error: bad size\n", false, "", ""},
		{"no name", "scp -t .", "C0644 1\n", "\x00\x02scp: protocol error: record without mode, size and name\n", false, "", ""},
		{"bad times", "scp -t .", "T1 0 x 0\n", "\x00\x02scp: protocol error: times not delimited\n", false, "", ""},
		{"bad times, and more", "scp -t .", "T1 0 x 0\nC0644 1 a\na\x00", "\x00\x02scp: protocol error: times not delimited\n", false, "", ""},
		{"bad microseconds", "scp -t .", "T1 1000000 1 0\n", "\x00\x02scp: protocol error: times not delimited\n", false, "", ""},
		{"empty name", "scp -t .", "C0644 1 \n", "\x00\x02scp: error: unexpected filename: \n", false, "", ""},
		{"this directory", "scp -r -t .", "D0755 0 .\n", "\x00\x02scp: error: unexpected filename: .\n", false, "", ""},
		{"parent", "scp -r -t dir", "D0755 0 ..\n", "\x00\x02scp: error: unexpected filename: ..\n", false, "", ""},
		{"path", "scp -t dir", "C0644 1 ../x\n", "\x00\x02scp: error: unexpected filename: ../x\n", false, "", ""},
		{"NUL and escape in a name", "scp -t .", "C0644 1 a\x00\x1b[31m\n", "\x00\x02scp: error: unexpected filename: a??[31m\n", false, "", ""},
		{"long line", "scp -t .", "C0644 1 " + strings.Repeat("a", maxLine) + "\n", "\x00\x02scp: protocol error: line too long\n", false, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "old"), "older", 0o644)
			write(t, filepath.Join(dir, "dir/f"), "f", 0o644)
			told, err := serve(t, dirFS(dir), tt.command, tt.says)
			if told != tt.told || (err == nil) != tt.ok {
				t.Errorf("told %q, %v; want %q, success: %t", told, err, tt.told, tt.ok)
			}
			if tt.path == "" {
				return
			}
			if got, err := os.ReadFile(filepath.Join(dir, tt.path)); string(got) != tt.data || err != nil {
				t.Errorf("%s holds %q (%v), want %q", tt.path, got, err, tt.data)
			}
		})
	}
}

// TestSinkInPlace writes over an existing file, and then sets its size to that of
// the new content.
func TestSinkInPlace(t *testing.T) {
	tests := []struct{ says, want string }{
		{"C0644 3 old\nabc\x00", "abc"},
		{"C0644 0 old\n\x00", ""},
		{"C0644 8 old\nabcdefgh\x00", "abcdefgh"},
		{"C0644 5 old\nab", "abder"}, // broken off: as much of both as there is
	}
	for _, tt := range tests {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "old"), "older", 0o644)
		c := Command{Sink: true, Paths: []string{"."}}
		rw := struct {
			io.Reader
			io.Writer
		}{strings.NewReader(tt.says), io.Discard}
		_ = c.Serve(t.Context(), rw, io.Discard, dirFS(dir), Options{InPlace: true})
		if got := slurp(t, filepath.Join(dir, "old")); got != tt.want {
			t.Errorf("after %q the file holds %q, want %q", tt.says, got, tt.want)
		}
	}
}

func TestSinkModes(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { makeRemovable(dir) })
	_, err := serve(t, dirFS(dir), "scp -r -p -t .", "T1000 0 2000 0\nD0550 0 d\nT3000 0 4000 0\nC0751 1 a\na\x00E\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = serve(t, dirFS(dir), "scp -r -t .", "D0577 0 ro\nC0444 1 a\na\x00E\n"); err != nil {
		t.Fatal(err)
	}
	got := tree(t, dir)
	if e := got["ro"]; e.Mode.Perm()&0o700 != 0o500 || e.Mode.Perm()&^0o577 != 0 {
		t.Errorf("read-only directory has %v, want 0577 less the umask", e.Mode)
	}
	if e := got["ro/a"]; e.Data != "a" {
		t.Errorf("file in the read-only directory holds %q, want %q", e.Data, "a")
	}
	if e := got["d"]; e.Mode != os.ModeDir|0o550 || e.Mtime.Unix() != 1000 {
		t.Errorf("directory has %v, %v; want 0550 and 1000 seconds", e.Mode, e.Mtime)
	}
	if e := got["d/a"]; e.Mode != 0o751 || e.Mtime.Unix() != 3000 {
		t.Errorf("file has %v, %v; want 0751 and 3000 seconds", e.Mode, e.Mtime)
	}
}

// TestSinkSpecialBits sends them with and without -p. They are refused, or set where
// the FS allows that, but never left out without an error.
func TestSinkSpecialBits(t *testing.T) {
	dir := t.TempDir()
	files := open(t, dir)
	for _, tt := range []struct{ command, says, told string }{
		{"scp -t .", "C7751 1 a\na\x00", "\x00\x00\x00"},
		{"scp -p -t .", "C4755 1 u\nu\x00C2755 1 g\ng\x00", "\x00\x00\x01scp: ./u: Permission denied\n\x00\x01scp: ./g: Permission denied\n"},
		{"scp -r -p -t .", "D3770 0 d\nE\nD4770 0 e\nE\n", "\x00\x00\x00\x00\x01scp: ./e: set attributes: Permission denied\n"},
		{"scp -r -t .", "D7770 0 f\nE\n", "\x00\x00\x00"},
	} {
		if told, err := serve(t, files, tt.command, tt.says); told != tt.told || (err != nil) != strings.Contains(tt.told, "\x01") {
			t.Errorf("%s: told %q, %v, want %q", tt.command, told, err, tt.told)
		}
	}
	got := tree(t, dir)
	for name, want := range map[string]iofs.FileMode{"a": 0, "u": 0, "g": 0, "e": 0, "f": 0, "d": iofs.ModeSetgid | iofs.ModeSticky} {
		if e, ok := got[name]; !ok || e.Mode&(iofs.ModeSetuid|iofs.ModeSetgid|iofs.ModeSticky) != want {
			t.Errorf("%s is %v, there: %t; want special bits %v", name, e.Mode, ok, want)
		}
	}
}

// makeRemovable gives the user all rights on the directories below dir.
func makeRemovable(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d iofs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
}

func TestSinkDepth(t *testing.T) {
	dir := t.TempDir()
	told, err := serve(t, dirFS(dir), "scp -r -t .", strings.Repeat("D0755 0 d\n", maxDepth+1)+strings.Repeat("E\n", maxDepth))
	if want := "directories nested too deeply\n"; err == nil || !strings.Contains(told, want) {
		t.Errorf("told %q, %v; want %q", told, err, want)
	}
	if n := len(tree(t, dir)); n != maxDepth {
		t.Errorf("%d directories were made, want %d", n, maxDepth)
	}
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b b", "d/x", "d/y"} {
		write(t, filepath.Join(dir, name), "<"+filepath.Base(name)+">", 0o640)
	}
	os.Chmod(filepath.Join(dir, "d"), 0o750)
	write(t, filepath.Join(dir, "n/new\nline"), "nl", 0o644)
	oks := strings.Repeat("\x00", 20)
	tests := []struct {
		name, command, says, told string
		ok                        bool
	}{
		{"one", "scp -f a", oks, "C0640 3 a\n<a>\x00", true},
		{"two", "scp -f a 'b b'", oks, "C0640 3 a\n<a>\x00C0640 5 b b\n<b b>\x00", true},
		{"tree", "scp -r -f d", oks, "D0750 0 d\nC0640 3 x\n<x>\x00C0640 3 y\n<y>\x00E\n", true},
		{"below a slash", "scp -r -f /d/", oks, "D0750 0 d\nC0640 3 x\n<x>\x00C0640 3 y\n<y>\x00E\n", true},
		{"dot dot stays in the view", "scp -f ../../a", oks, "C0640 3 a\n<a>\x00", true},
		{"by another way", "scp -r -f d/..//d/.", oks, "D0750 0 d\nC0640 3 x\n<x>\x00C0640 3 y\n<y>\x00E\n", true},
		{"newline", "scp -f n/*", oks, "C0644 2 new\\^Jline\nnl\x00", true},
		{"missing", "scp -f no a", oks, "\x01scp: no: No such file or directory\nC0640 3 a\n<a>\x00", false},
		{"below a file", "scp -f a/b", oks, "\x01scp: a/b: Not a directory\n", false},
		{"directory", "scp -f d a", oks, "\x01scp: d: not a regular file\nC0640 3 a\n<a>\x00", false},
		{"root", "scp -r -f /", oks, "\x01scp: / has no name of its own: name a directory, or use *\n", false},
		{"home", "scp -r -f", oks, "\x01scp: . has no name of its own: name a directory, or use *\n", false},
		{"escape in a name", "scp -f '\x1b[31mno\x7f\u009b'", oks, "\x01scp: ?[31mno??: No such file or directory\n", false},
		{"too many braces", "scp -f " + strings.Repeat("{a,b}", 30), oks, "\x01scp: " + strings.Repeat("{a,b}", 30) + ": too many names match\n", false},
		{"client refuses one", "scp -f a a", "\x00\x01no\n\x00\x00", "C0640 3 a\nC0640 3 a\n<a>\x00", false},
		{"client refuses a directory", "scp -r -f d a", "\x00\x01no\n\x00\x00", "D0750 0 d\nC0640 3 a\n<a>\x00", false},
		{"client could not write", "scp -f a a", "\x00\x00\x01disk full\n\x00\x00", "C0640 3 a\n<a>\x00C0640 3 a\n<a>\x00", false},
		{"client gives up", "scp -f a a", "\x00\x02no\n", "C0640 3 a\n", false},
		{"client makes no sense", "scp -f a", "\x00x\n", "C0640 3 a\n\x02scp: protocol error: unexpected answer\n", false},
		{"client goes away", "scp -f a", "\x00", "C0640 3 a\n", false},
		{"client was never there", "scp -f a", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			told, err := serve(t, dirFS(dir), tt.command, tt.says)
			if told != tt.told || (err == nil) != tt.ok {
				t.Errorf("told %q, %v; want %q, success: %t", told, err, tt.told, tt.ok)
			}
		})
	}
}

// A client whose channel is closed, as the SSH library says it.
type deaf struct{ io.Reader }

func (deaf) Write([]byte) (int, error) { return 0, io.EOF }

// If the error cannot be sent to the client, Serve returns an error.
func TestDeafClient(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "a", 0o644)
	for _, command := range []string{"scp -f a", "scp -t b", "scp -f none"} {
		c, _ := Parse(command)
		err := c.Serve(t.Context(), deaf{strings.NewReader("\x00")}, io.Discard, dirFS(dir), Options{})
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want an error that is not the end of a file", command, err)
		}
	}
}

// A client that leaves between two files has got no error about the missing
// ones.
func TestSourceCountsFailures(t *testing.T) {
	_, err := serve(t, dirFS(t.TempDir()), "scp -f no1 no2 no3", "\x00")
	if want := "no1: "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "(and 2 more)") {
		t.Errorf("Serve = %v, want the first failure and the number of the others", err)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Serve = %v, want it to wrap the cause", err)
	}
}

func TestSourceLoops(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d/f"), "f", 0o644)
	if err := os.Symlink(".", filepath.Join(dir, "d/self")); err != nil {
		t.Fatal(err)
	}
	told, err := serve(t, dirFS(dir), "scp -r -f d", strings.Repeat("\x00", 1000))
	if want := "Too many levels of symbolic links\n"; err == nil || strings.Count(told, want) != 1 {
		t.Errorf("told %d bytes, %v; want one %q", len(told), err, want)
	}
	if n := strings.Count(told, "self\n"); n != maxLinks {
		t.Errorf("the link was followed %d times, want %d", n, maxLinks)
	}
}

func TestContextEndsTransfer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, command := range []string{"scp -f a", "scp -t a"} {
		c, _ := Parse(command)
		err := c.Serve(ctx, new(bytes.Buffer), io.Discard, dirFS(t.TempDir()), Options{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want %v", command, err, context.Canceled)
		}
	}
}

// endless is a client that never stops saying the same.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	clear(p)
	if e != 0 { // as fast as it can be for the common case
		copy(p, bytes.Repeat([]byte{byte(e)}, len(p)))
	}
	return len(p), nil
}

func TestEndlessClient(t *testing.T) {
	for _, c := range "CTDEx\x01\x02 \xff" {
		if told, err := serveFrom(t, dirFS(t.TempDir()), "scp -t .", endless(c)); err == nil {
			t.Errorf("a client that only says %q was told %q, want an error", c, told)
		}
	}
}

func FuzzSink(f *testing.F) {
	f.Add("C0644 3 a\nabc\x00")
	f.Add("T1 0 1 0\nD0755 0 d\nC0644 0 x\n\x00E\n")
	f.Add("\x01warning\n\x02end\n")
	f.Add("C0644 9 ../a\n")
	for _, tr := range transcripts(f) {
		f.Add(tr.client)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, says string) {
		if len(says) > 4096 {
			return
		}
		inside, err := os.MkdirTemp(dir, "view")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			makeRemovable(inside)
			os.RemoveAll(inside)
		}()
		told, err := serve(t, dirFS(inside), "scp -r -p -t .", says)
		if !strings.HasPrefix(told, "\x00") {
			t.Errorf("told %q, %v; want it to begin with NUL", told, err)
		}
		entries, _ := os.ReadDir(dir)
		if len(entries) != 1 {
			t.Errorf("%q made something outside: %v", says, entries)
		}
	})
}

func FuzzSource(f *testing.F) {
	f.Add("a*", "\x00\x00\x00")
	f.Add("{d,a}", "\x00\x01x\n\x00")
	for _, tr := range transcripts(f) {
		if c, err := Parse(tr.command); err == nil && c.Source {
			f.Add(c.Paths[0], tr.client)
		}
	}
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "d/e"), 0o755); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"a", "d/b", "d/e/c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, says string) {
		if strings.Contains(pattern, "\x00") || len(pattern) > 1000 {
			return
		}
		var told bytes.Buffer
		c := Command{Source: true, Recursive: true, Paths: []string{pattern}}
		_ = c.Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{strings.NewReader(says), &told}, io.Discard, dirFS(dir), Options{})
	})
}

// lockStep is a client that sends its answer only after it has read what the
// server sent, byte by byte.
type lockStep struct {
	writes int
	told   bytes.Buffer
}

func (l *lockStep) Read(p []byte) (int, error) {
	p[0] = tagOK
	return 1, nil
}

func (l *lockStep) Write(p []byte) (int, error) {
	l.writes++
	return l.told.Write(p)
}

// A small file costs one round trip, not two, with a client that reads a stream.
// With any other nothing follows a record in the same write but a file's data.
func TestSourceRoundTrips(t *testing.T) {
	const files = 50
	dir := t.TempDir()
	for i := range files {
		write(t, filepath.Join(dir, "d", string(rune('a'+i))), "small", 0o644)
	}
	var client lockStep
	c := Command{Source: true, Recursive: true, Preserve: true, Paths: []string{"d"}}
	if err := c.Serve(t.Context(), &client, io.Discard, dirFS(dir), Options{Ahead: true}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(client.told.String(), "small"); n != files {
		t.Errorf("%d files were sent, want %d", n, files)
	}
	if want := files + 2; client.writes > want {
		t.Errorf("%d writes ahead, want no more than %d", client.writes, want)
	}

	client = lockStep{}
	if err := c.Serve(t.Context(), &client, io.Discard, dirFS(dir), Options{}); err != nil {
		t.Fatal(err)
	}
	if want := 3 * (files + 1); client.writes != want { // T, C and the data; T, D and E
		t.Errorf("%d writes one by one, want %d", client.writes, want)
	}
}

// TestHome: relative paths and those of the home start from "/".
func TestHome(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "hers", 0o644)
	for _, path := range []string{"a", "~/a", "./a", "/a", "../../a"} {
		var client lockStep
		c := Command{Source: true, Paths: []string{path}}
		err := c.Serve(t.Context(), &client, io.Discard, dirFS(dir), Options{})
		if got, want := client.told.String(), "C0644 4 a\nhers\x00"; got != want || err != nil {
			t.Errorf("source of %q told %q, %v; want %q", path, got, err, want)
		}
	}
}
