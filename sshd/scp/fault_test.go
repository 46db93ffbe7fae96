package scp

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/fs"
	"berth/policy"
)

// A faulty FS has files that fail from the middle on.
type faulty struct {
	dirFS
	readErr, writeErr, closeErr, attrErr error
	calls                                []string // how files were ended
}

const middle = 5

func (f *faulty) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	file, err := f.dirFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

type faultyFile struct {
	fs.File
	faults *faulty
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	if f.faults.readErr != nil && at+int64(len(p)) > middle {
		n, _ := f.File.ReadAt(p[:max(0, middle-at)], at)
		return n, f.faults.readErr
	}
	return f.File.ReadAt(p, at)
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	if f.faults.writeErr != nil && at+int64(len(p)) > middle {
		return 0, f.faults.writeErr
	}
	return f.File.WriteAt(p, at)
}

func (f *faultyFile) SetAttr(a fs.Attr) error {
	if f.faults.attrErr != nil {
		return f.faults.attrErr
	}
	return f.File.SetAttr(a)
}

func (f *faultyFile) Close() error {
	f.faults.calls = append(f.faults.calls, "close")
	return errors.Join(f.File.Close(), f.faults.closeErr)
}

func (f *faultyFile) Abort() error {
	f.faults.calls = append(f.faults.calls, "abort")
	return f.File.Close()
}

func TestSinkFaults(t *testing.T) {
	const upload = "C0644 8 a\n12345678\x00C0644 1 b\nb\x00"
	secret := errors.New("/srv/secret: device error")
	tests := []struct {
		name       string
		faults     faulty
		says, told string
		calls      []string
	}{
		{"none", faulty{}, upload, "\x00\x00\x00\x00\x00", []string{"close", "close"}},
		{"no descriptors", faulty{writeErr: fs.ErrNoDescriptors}, upload, "\x00\x00\x01scp: ./a: The server has too many open files\n\x00\x00", []string{"abort", "close"}},
		{"disk full", faulty{writeErr: fs.ErrNoSpace}, upload, "\x00\x00\x01scp: ./a: No space left on device\n\x00\x00", []string{"abort", "close"}},
		{"quota", faulty{writeErr: fs.ErrQuota}, upload, "\x00\x00\x01scp: ./a: Disk quota exceeded\n\x00\x00", []string{"abort", "close"}},
		{"unknown", faulty{writeErr: secret}, upload, "\x00\x00\x01scp: ./a: Input/output error\n\x00\x00", []string{"abort", "close"}},
		{"at close", faulty{closeErr: secret}, "C0644 1 b\nb\x00", "\x00\x00\x01scp: ./b: Input/output error\n", []string{"close"}},
		{"times", faulty{attrErr: iofs.ErrPermission}, "T1 0 1 0\nC0644 1 b\nb\x00", "\x00\x00\x00\x01scp: ./b: Permission denied\n", []string{"close"}},
		{"disk full and client in trouble", faulty{writeErr: fs.ErrNoSpace}, "C0644 8 a\n12345678\x01x\n", "\x00\x00\x01scp: ./a: No space left on device\n", []string{"abort"}},
		{"client in trouble", faulty{}, "C0644 8 a\n12345678\x01x\n", "\x00\x00\x00", []string{"abort"}},
		{"client goes away", faulty{}, "C0644 8 a\n1234", "\x00\x00", []string{"abort"}},
		{"client goes away with half an answer", faulty{}, "C0644 8 a\n12345678\x01x", "\x00\x00", []string{"abort"}},
		{"client goes on too long", faulty{}, "C0644 3 a\n12345678\n", "\x00\x00\x02scp: protocol error: unexpected answer\n", []string{"abort"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := tt.faults
			files.dirFS = dirFS(t.TempDir())
			told, err := serve(t, &files, "scp -t .", tt.says)
			if told != tt.told || (err == nil) != (tt.name == "none") {
				t.Errorf("told %q, %v; want %q", told, err, tt.told)
			}
			if !slices.Equal(files.calls, tt.calls) {
				t.Errorf("files were ended by %q, want %q", files.calls, tt.calls)
			}
		})
	}
}

func TestSourceFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "12345678", 0o644)
	write(t, filepath.Join(dir, "b"), "b", 0o644)
	tests := []struct {
		err  error
		text string
	}{
		{errors.New("/srv/secret: device error"), "Input/output error"},
		{nil, "file became shorter while it was sent"}, // see shrinking
		{iofs.ErrPermission, "Permission denied"},
	}
	for _, tt := range tests {
		var files fs.FS = &faulty{dirFS: dirFS(dir), readErr: tt.err}
		if tt.err == nil {
			files = shrinking{dirFS(dir)}
		}
		told, err := serve(t, files, "scp -f a b", strings.Repeat("\x00", 10))
		want := "C0644 8 a\n12345\x00\x00\x00\x01scp: a: " + tt.text + "\nC0644 1 b\nb\x00"
		if told != want || err == nil {
			t.Errorf("told %q, %v; want %q and an error", told, err, want)
		}
	}
}

// A shrinking FS has files that are cut as soon as they have been looked at.
type shrinking struct{ dirFS }

func (s shrinking) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	file, err := s.dirFS.OpenFile(name, flag, perm)
	return shrinkingFile{file}, err
}

type shrinkingFile struct{ fs.File }

func (f shrinkingFile) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) <= middle {
		return f.File.ReadAt(p, at)
	}
	n, _ := f.File.ReadAt(p[:max(0, middle-at)], at)
	return n, nil
}

// A real view keeps an upload that was cut away from its name.
func TestAtomicUploads(t *testing.T) {
	host := t.TempDir()
	write(t, filepath.Join(host, "a"), "before", 0o644)
	files := open(t, host)
	tests := []struct {
		says, want string
	}{
		{"C0644 8 a\n1234", "before"},
		{"C0644 4 a\n1234\x01read error\n", "before"},
		{"C0644 4 a\n1234\x00", "1234"},
		{"C0644 8 a\n12345678", "12345678"}, // as libssh2 ends
	}
	for _, tt := range tests {
		if _, err := serve(t, files, "scp -t .", tt.says); (err == nil) != (tt.want != "before") {
			t.Errorf("%q: %v", tt.says, err)
		}
		if got, err := os.ReadFile(filepath.Join(host, "a")); string(got) != tt.want || err != nil {
			t.Errorf("after %q the file holds %q (%v), want %q", tt.says, got, err, tt.want)
		}
	}
}

// Who may only create can put files and trees, and sees nothing.
func TestDropBox(t *testing.T) {
	host := t.TempDir()
	write(t, filepath.Join(host, "a"), "before", 0o644)
	write(t, filepath.Join(host, "dir/f"), "before", 0o644)
	files := openWith(t, host, policy.Create|policy.Mkdir)
	tests := []struct {
		command, says, told string
	}{
		{"scp -t .", "C0644 1 b\nb\x00", "\x00\x00\x00"},
		{"scp -t .", "C0644 1 a\n", "\x00\x01scp: ./a: Permission denied\n"},
		{"scp -r -t .", "D0755 0 new\nC0644 1 x\nx\x00E\n", "\x00\x00\x00\x00\x00"},
		{"scp -r -t .", "D0755 0 dir\nC0644 1 x\nx\x00E\n", "\x00\x00\x00\x00\x00"},
		{"scp -f b", "\x00", "\x01scp: b: Permission denied\n"},
		{"scp -f *", "\x00", "\x01scp: *: Permission denied\n"},
	}
	for _, tt := range tests {
		if told, _ := serve(t, files, tt.command, tt.says); told != tt.told {
			t.Errorf("%s: told %q, want %q", tt.command, told, tt.told)
		}
	}
	for name, want := range map[string]string{"a": "before", "b": "b", "new/x": "x", "dir/x": "x"} {
		if got := slurp(t, filepath.Join(host, name)); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
}

// open is a real view of host with all rights.
func open(t *testing.T, host string) fs.FS {
	t.Helper()
	return openWith(t, host, policy.Full)
}

// openWith is a real view of host, with atomic uploads.
func openWith(t *testing.T, host string, ops policy.Op) fs.FS {
	t.Helper()
	files, err := fs.Open(&policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: host}},
		Access:  []policy.Access{{Path: "/", Ops: ops}},
		Uploads: policy.Atomic,
	}, fs.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	return files
}

// flaky is an FS whose files fail once, at the start, and are well after that.
type flaky struct{ dirFS }

func (f flaky) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	file, err := f.dirFS.OpenFile(name, flag, perm)
	return flakyFile{file}, err
}

type flakyFile struct{ fs.File }

func (f flakyFile) ReadAt(p []byte, at int64) (int, error) {
	if at == 0 {
		return 0, errors.New("device error")
	}
	return f.File.ReadAt(p, at)
}

func (f flakyFile) WriteAt(p []byte, at int64) (int, error) {
	if at == 0 {
		return 0, errors.New("device error")
	}
	return f.File.WriteAt(p, at)
}

// TestFaultsStay has files of several buffers, of which only the first fails: the file
// is not right, whatever comes after.
func TestFaultsStay(t *testing.T) {
	const size = 3 * bufferSize
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), strings.Repeat("f", size), 0o644)
	told, err := serve(t, flaky{dirFS(dir)}, "scp -t up", fmt.Sprintf("C0644 %d up\n%s\x00", size, strings.Repeat("u", size)))
	if want := "\x00\x00\x01scp: up: Input/output error\n"; told != want || err == nil {
		t.Errorf("sink told %q, %v; want %q and an error", told, err, want)
	}
	told, err = serve(t, flaky{dirFS(dir)}, "scp -f f", "\x00\x00\x00")
	if want := fmt.Sprintf("C0644 %d f\n%s\x01scp: f: Input/output error\n", size, strings.Repeat("\x00", size)); told != want || err == nil {
		t.Errorf("source told %d bytes that end with %q, %v; want zeros and an error", len(told), told[max(0, len(told)-40):], err)
	}
}
