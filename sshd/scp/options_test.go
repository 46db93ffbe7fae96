package scp

import (
	"bytes"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"berth/fs"
)

// A budget is an FS that counts what is open, and limits it.
type budget struct {
	fs.FS
	max, open int
}

func (b *budget) acquire() error {
	if b.open == b.max {
		return fmt.Errorf("/srv/secret: all in use: %w", fs.ErrTooManyOpen)
	}
	b.open++
	return nil
}

func (b *budget) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	if err := b.acquire(); err != nil {
		return nil, err
	}
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil {
		b.open--
		return nil, err
	}
	return budgetFile{f, b}, nil
}

func (b *budget) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		if err := b.acquire(); err != nil {
			yield(nil, err)
			return
		}
		defer func() { b.open-- }()
		for fi, err := range b.FS.ReadDir(name) {
			if !yield(fi, err) {
				return
			}
		}
	}
}

type budgetFile struct {
	fs.File
	b *budget
}

func (f budgetFile) Close() error { f.b.open--; return f.File.Close() }
func (f budgetFile) Abort() error { f.b.open--; return f.File.Abort() }

// TestTooManyOpen has transfers that need one, two and three open files and directories,
// and limits around that.
func TestTooManyOpen(t *testing.T) {
	host := t.TempDir()
	for _, err := range []error{os.MkdirAll(filepath.Join(host, "d/e"), 0o755), os.WriteFile(filepath.Join(host, "d/e/f"), nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const tree = "D0755 0 d\nD0755 0 e\nC0644 0 f\n"
	for _, tt := range []struct {
		command, says string
		max           int
		told          string
	}{
		{"scp -f d/e/f", "\x00\x00\x00", 1, "C0644 0 f\n\x00"},
		{"scp -f d/e/f d/e/f", "\x00\x00\x00", 0, "\x01scp: d/e/f: Too many open files\n\x01scp: d/e/f: Too many open files\n"},
		{"scp -f no d/e/f", "\x00\x00\x00", 1, "\x01scp: no: No such file or directory\nC0644 0 f\n\x00"},
		{"scp -r -f d", strings.Repeat("\x00", 9), 3, tree + "\x00E\nE\n"},
		{"scp -r -f d", strings.Repeat("\x00", 9), 2, "D0755 0 d\nD0755 0 e\n\x01scp: d/e/f: Too many open files\nE\nE\n"},
		{"scp -r -f d", strings.Repeat("\x00", 9), 1, "D0755 0 d\nD0755 0 e\n\x01scp: d/e: Too many open files\nE\nE\n"},
		{"scp -t up", "C0644 1 a\na\x00", 1, "\x00\x00\x00"},
		{"scp -t .", "C0644 1 a\nC0644 1 b\n", 0, "\x00\x01scp: ./a: Too many open files\n\x01scp: ./b: Too many open files\n"},
		{"scp -t .", "C0644 1 d\nC0644 1 b\nb\x00", 1, "\x00\x01scp: ./d: Is a directory\n\x00\x00"},
		{"scp -t .", "C0644 5 b\nb", 1, "\x00\x00"},
	} {
		c, err := Parse(tt.command)
		if err != nil {
			t.Fatal(err)
		}
		b := &budget{FS: open(t, host), max: tt.max}
		var told bytes.Buffer
		err = c.Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{strings.NewReader(tt.says), &told}, io.Discard, b, Options{})
		if told.String() != tt.told || (err != nil) != strings.Contains(tt.told+tt.says, "\x01") && tt.says != "C0644 5 b\nb" {
			t.Errorf("%s with %d: told %q, %v, want %q", tt.command, tt.max, told.String(), err, tt.told)
		}
		if b.open != 0 {
			t.Errorf("%s with %d: %d are still open", tt.command, tt.max, b.open)
		}
	}
}

// TestTrace reads the log of both directions.
func TestTrace(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &out, DisableTime: true})
	host := t.TempDir()
	run := func(command, says string) {
		c, err := Parse(command)
		if err != nil {
			t.Fatal(err)
		}
		c.Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{strings.NewReader(says), io.Discard}, io.Discard, open(t, host), Options{Log: log})
	}
	run("scp -r -t .", "C0644 1 a b\na\x00D0755 0 d\nD0755 0 a b\nC0644 1 x\nx\x00E\nC0644 1 a b\nE\nC0644 1 y\ny\x01scp: y: gone\n")
	run("scp -r -f a\\ b d no", strings.Repeat("\x00", 20))
	want := []string{
		`record=C name="/a b" outcome=OK`, `record=D name="/d" outcome=OK`, `record=D name="/d/a b" outcome=OK`, `record=C name="/d/a b/x" outcome=OK`,
		`record=C name="/d/a b" outcome="./d/a b: Is a directory"`, `record=C name="/y" outcome="the client reports an error: scp: y: gone"`,
		`record=C name="/a b" outcome=OK`, `record=D name="/d" outcome=OK`, `record=D name="/d/a b" outcome=OK`, `record=C name="/d/a b/x" outcome=OK`,
		`record=C name="/no" outcome="no: No such file or directory"`,
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		line, ok := strings.CutPrefix(line, "[TRACE] scp record: ")
		line, took, timed := strings.Cut(line, " duration_us=")
		if _, err := strconv.Atoi(strings.TrimSpace(took)); !ok || !timed || err != nil {
			t.Errorf("the line %q ends with duration_us %q", line, took)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
	out.Reset()
	log.SetLevel(hclog.Debug)
	if run("scp -f no", "\x00"); out.Len() > 0 {
		t.Errorf("at level debug the log has %q", out.String())
	}
}

// TestAhead has the client refuse the second of three files. Its answers are read late,
// and each is still counted for the right file.
func TestAhead(t *testing.T) {
	host := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(host, name), name, 0o644)
	}
	for _, ahead := range []bool{true, false} {
		var told bytes.Buffer
		c := Command{Source: true, Paths: []string{"a", "b", "c"}}
		err := c.Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{strings.NewReader("\x00" + "\x00\x00" + "\x01scp: b: no room\n" + "\x00\x01scp: c: lost\n"), &told}, io.Discard, open(t, host), Options{Ahead: ahead})
		want := "C0644 1 a\na\x00C0644 1 b\nC0644 1 c\nc\x00"
		if told.String() != want || err == nil || !strings.Contains(err.Error(), "b: no room (and 1 more)") {
			t.Errorf("ahead %t: told %q, %v; want %q and both errors", ahead, told.String(), err, want)
		}
	}
}
