// Package fstest holds the conformance suite that every fs.FS passes: what an
// engine may rely on, whatever the files are made of.
package fstest

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"slices"
	"testing"

	"berth/fs"
)

// Test runs the suite. Each part calls open for an FS of its own, which is empty
// and may be used in full; open sees to closing it.
func Test(t *testing.T, open func(t *testing.T) fs.FS) {
	t.Helper()
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.test(&tester{T: t, FS: open(t)}) })
	}
}

// parts is the suite.
var parts = []struct {
	name string
	test func(*tester)
}{
	{"open flags", testOpenFlags},
	{"read and write", testReadWrite},
	{"append", testAppend},
	{"closed file", testClosedFile},
	{"directories", testDirectories},
	{"read directory", testReadDir},
	{"stat", testStat},
	{"rename", testRename},
	{"rename directory", testRenameDir},
	{"remove", testRemove},
	{"links", testLinks},
	{"links in a chroot", testChroot},
	{"link loops", testLinkLoops},
	{"hard links", testHardLinks},
	{"attributes", testSetAttr},
	{"attributes of an open file", testFileSetAttr},
	{"odd names", testOddNames},
	{"bad names", testBadNames},
	{"slashes", testSlashes},
	{"real path", testRealpath},
	{"errors", testErrors},
	{"room", testStatFS},
	{"concurrent use", testConcurrent},
	{"closed FS", testClosed},
}

// tester is an FS under test with shortcuts that end the test on an error.
type tester struct {
	*testing.T
	fs.FS
}

func (t *tester) write(name, content string) {
	t.Helper()
	t.put(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, content)
}

func (t *tester) put(name string, flag int, content string) {
	t.Helper()
	f := t.open(name, flag)
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatalf("write %q: %v", name, err)
	}
	t.must(f.Close(), "close "+name)
}

func (t *tester) open(name string, flag int) fs.File {
	t.Helper()
	f, err := t.OpenFile(name, flag, 0o666)
	if err != nil {
		t.Fatalf("open %q with flags %#x: %v", name, flag, err)
	}
	return f
}

func (t *tester) mkdir(name string) {
	t.Helper()
	t.must(t.Mkdir(name, 0o777), "mkdir "+name)
}

func (t *tester) symlink(target, name string) {
	t.Helper()
	t.must(t.Symlink(target, name), "symlink "+name)
}

func (t *tester) must(err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// holds checks the content of a file.
func (t *tester) holds(name, want string) {
	t.Helper()
	f, err := t.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Errorf("open %q = %v, want it to hold %.40q", name, err, want)
		return
	}
	defer f.Close()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil || string(got) != want {
		t.Errorf("%q holds %.40q, %v, want %.40q", name, got, err, want)
	}
}

// names lists a directory, sorted.
func (t *tester) names(dir string) []string {
	t.Helper()
	var names []string
	for fi, err := range t.ReadDir(dir) {
		if err != nil {
			t.Fatalf("readdir %q: %v", dir, err)
		}
		names = append(names, fi.Name())
	}
	slices.Sort(names)
	return names
}

func (t *tester) lists(dir string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := t.names(dir); !slices.Equal(got, want) {
		t.Errorf("readdir %q = %q, want %q", dir, got, want)
	}
}

// fails checks that err is want, about name, and a path error.
func (t *tester) fails(err error, what, name string, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s %q = %v, want %v", what, name, err, want)
		return
	}
	var pe *iofs.PathError
	if !errors.As(err, &pe) || pe.Path != name {
		t.Errorf("%s %q = %#v, want an *fs.PathError of that name", what, name, err)
	}
}

func (t *tester) absent(name string) {
	t.Helper()
	t.fails(second(t.Lstat(name)), "lstat", name, iofs.ErrNotExist)
}

// second is the error of an operation that has a result.
func second[T any](_ T, err error) error { return err }

// openFails is fails for OpenFile.
func (t *tester) openFails(name string, flag int, want error) {
	t.Helper()
	f, err := t.OpenFile(name, flag, 0o666)
	if err == nil {
		t.Errorf("open %q with flags %#x succeeded, want %v", name, flag, want)
		_ = f.Close()
		return
	}
	t.fails(err, "open", name, want)
}

// allFail is fails for every operation on what exists.
func (t *tester) allFail(name string, want error) {
	t.Helper()
	t.openFails(name, os.O_RDONLY, want)
	t.openFails(name, os.O_WRONLY, want)
	t.fails(second(t.Lstat(name)), "lstat", name, want)
	t.fails(second(t.Stat(name)), "stat", name, want)
	t.fails(second(t.Readlink(name)), "readlink", name, want)
	for _, err := range t.ReadDir(name) {
		t.fails(err, "readdir", name, want)
	}
	t.fails(t.Remove(name), "remove", name, want)
	t.fails(t.Rmdir(name), "rmdir", name, want)
	t.fails(t.Rename(name, "/x", true), "rename", name, want)
	t.fails(t.SetAttr(name, fs.Attr{Set: fs.AttrMode | fs.AttrSize, NoFollow: true}), "setattr", name, want)
}

func pattern(n int) []byte {
	return bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
}
