package privatefile

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// put writes a file of that mode, whatever the umask is.
func put(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		forbidden Mask
		mode      os.FileMode
		want      string // error; "" for none
	}{
		{OwnerReads, 0o600, ""},
		{OwnerReads, 0o400, ""},
		{OwnerReads, 0o700, ""},
		{OwnerReads, 0o640, "mode 0640 gives other users too much access: chmod 0600 is right"},
		{OwnerReads, 0o610, "chmod 0600"},
		{OwnerReads, 0o604, "chmod 0600"},
		{OwnerReads, 0o602, "chmod 0600"},
		{GroupReads, 0o640, ""},
		{GroupReads, 0o440, ""},
		{GroupReads, 0o660, "mode 0660 gives other users too much access: chmod 0640 is right"},
		{GroupReads, 0o644, "chmod 0640"},
		{GroupReads, 0o642, "chmod 0640"},
		{GroupReads, 0o641, "chmod 0640"},
		{AllRead, 0o644, ""},
		{AllRead, 0o664, "mode 0664 gives other users too much access: chmod 0644 is right"},
		{AllRead, 0o646, "chmod 0644"},
	} {
		path := put(t, filepath.Join(t.TempDir(), "file"), "text", tt.mode)
		text, err := Read(path, tt.forbidden, 4)
		if tt.want == "" && (err != nil || string(text) != "text") {
			t.Errorf("mode %04o with %04o forbidden: got %q, %v", tt.mode, tt.forbidden, text, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || text != nil) {
			t.Errorf("mode %04o with %04o forbidden: got %q, %v, want %q", tt.mode, tt.forbidden, text, err, tt.want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	long := put(t, filepath.Join(dir, "long"), "12345", 0o600)
	if text, err := Read(long, OwnerReads, 4); text != nil || err == nil || err.Error() != "is longer than 4 bytes" {
		t.Errorf("5 bytes where 4 are allowed: got %q, %v", text, err)
	}
	if _, err := Read(dir, 0, 4); err == nil || err.Error() != "is not a regular file" {
		t.Errorf("a folder: got %v", err)
	}
	_, err := Read(filepath.Join(dir, "missing"), OwnerReads, 4)
	if !errors.Is(err, iofs.ErrNotExist) || strings.Contains(err.Error(), dir) {
		t.Errorf("a missing file: got %v, want an error without the path that wraps ErrNotExist", err)
	}
}

func TestMayOwn(t *testing.T) {
	for _, tt := range []struct {
		owner  uint32
		reader int
		want   bool
	}{
		{0, 1000, true},
		{1000, 1000, true},
		{1001, 1000, false},
		{1001, 0, true}, // root checks what belongs to the service
		{7, -1, false},  // where there are no user ids
		{0xffffffff, -1, false},
	} {
		if got := mayOwn(tt.owner, tt.reader); got != tt.want {
			t.Errorf("mayOwn(%d, %d) = %t", tt.owner, tt.reader, got)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{"a b \nc": "a b ", "a\r\nb": "a", "a": "a", " \n": " "} {
		if got, err := FirstLine(put(t, filepath.Join(t.TempDir(), "f"), text, 0o440)); err != nil || got != want {
			t.Errorf("FirstLine of %q = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "\nsecret", "\r\n"} {
		if got, err := FirstLine(put(t, filepath.Join(t.TempDir(), "f"), text, 0o600)); err == nil || err.Error() != "the first line is empty" {
			t.Errorf("FirstLine of %q = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"\ufeffsecret", "\xff\xfes\x00e\x00"} { // as Notepad writes
		if got, err := FirstLine(put(t, filepath.Join(t.TempDir(), "f"), text, 0o600)); err == nil {
			t.Errorf("FirstLine of %q = %q, want an error about the mark", text, got)
		}
	}
	if _, err := FirstLine(put(t, filepath.Join(t.TempDir(), "f"), "secret", 0o644)); err == nil {
		t.Error("FirstLine of a file for everybody: no error")
	}
}

// counted is a File that notes how often it was parsed.
func counted(path string, parsed *int) *File[string] {
	return &File[string]{Path: path, Forbidden: OwnerReads, Most: 100, Parse: func(b []byte) (string, error) {
		*parsed++
		if bytes.HasPrefix(b, []byte("bad")) {
			return "half", errors.New("cannot be parsed")
		}
		return string(b), nil
	}}
}

// old makes a file older than the precision of its times.
func old(t *testing.T, path string) {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsReadAgainWhenChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	parsed := 0
	f := counted(path, &parsed)
	step := func(what, want string, fails bool, wantParsed int) {
		t.Helper()
		got, err := f.Current()
		if got != want || (err != nil) != fails || parsed != wantParsed {
			t.Fatalf("%s: got %q, %v, parsed %d times; want %q, fails %t, %d times", what, got, err, parsed, want, fails, wantParsed)
		}
	}
	step("missing from the start", "", true, 0)
	put(t, path, "one", 0o600)
	old(t, path)
	step("made", "one", false, 1)
	step("as it was", "one", false, 1)
	put(t, path, "three", 0o600)
	old(t, path)
	step("another size", "three", false, 2)
	put(t, path, "seven", 0o600)
	step("another time", "seven", false, 3)
	old(t, path)
	step("settled", "seven", false, 4)
	put(t, filepath.Join(filepath.Dir(path), "g"), "eight", 0o600)
	old(t, filepath.Join(filepath.Dir(path), "g"))
	if err := os.Rename(filepath.Join(filepath.Dir(path), "g"), path); err != nil {
		t.Fatal(err)
	}
	step("another file of that size and time", "eight", false, 5)
	os.Chmod(path, 0o644)
	step("open to everybody", "eight", true, 5)
	os.Chmod(path, 0o600)
	step("closed again", "eight", false, 6)
	put(t, path, "bad", 0o600)
	old(t, path)
	step("damaged", "eight", true, 7)
	step("still damaged", "eight", true, 8) // an error is never remembered: what Parse needs beside the file may be there now
	os.Remove(path)
	step("removed", "eight", true, 8)
}

// TestFileChangedWithinATick writes twice so quickly that size and time of the
// file stay as they were.
func TestFileChangedWithinATick(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "f"), "one", 0o600)
	parsed := 0
	f := counted(path, &parsed)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Current()
	put(t, path, "two", 0o600)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Current(); err != nil || got != "two" {
		t.Errorf("got %q, %v, want two", got, err)
	}
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(dir, "f")
	if err := Create(path, []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("two"), 0o600); !errors.Is(err, iofs.ErrExist) || err.Error() != "create "+path+": file already exists" {
		t.Errorf("a file that exists: got %v", err)
	}
	text, _ := os.ReadFile(path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 || string(text) != "one" {
		t.Errorf("got %q, %v, %v", text, info.Mode(), err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("folder: got %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestCreateOnlyOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var made sync.Map
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if err := Create(path, []byte{byte(i)}, 0o600); err == nil {
				made.Store(byte(i), true)
			}
		})
	}
	wait.Wait()
	text, err := os.ReadFile(path)
	if err != nil || len(text) != 1 {
		t.Fatalf("got %q, %v", text, err)
	}
	n := 0
	made.Range(func(who, _ any) bool {
		n++
		if who != text[0] {
			t.Errorf("%v believes it made the file, which is of %v", who, text[0])
		}
		return true
	})
	if n != 1 {
		t.Errorf("%d believe they made the file", n)
	}
}

func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "f")
	write := func(text string, err error) error {
		return Rewrite(path, func() ([]byte, error) { return []byte(text), err })
	}
	if err := write("one", nil); err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o644)
	refused := errors.New("no")
	if err := write("two", refused); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "one" {
		t.Errorf("after a change that failed: %q", text)
	}
	if err := write("two", nil); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || string(text) != "two" {
		t.Errorf("got %q, %v, %v", text, info.Mode(), err)
	}
	folder := t.TempDir() // nothing can take the place of a folder
	if err := Rewrite(folder, func() ([]byte, error) { return nil, nil }); err == nil {
		t.Error("a folder in the place of the file: no error")
	}
	if _, err := os.Lstat(folder + ".new"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the new file is left: %v", err)
	}
	long := filepath.Join(filepath.Dir(path), strings.Repeat("x", 255)) // no room for the name of the new file
	if err := Rewrite(long, func() ([]byte, error) { return nil, nil }); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a name that is too long: got %v", err)
	}
	err := Rewrite(path, func() ([]byte, error) { return nil, write("three", nil) })
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "f.new exists") {
		t.Errorf("a second change during one: got %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}
