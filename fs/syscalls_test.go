package fs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"berth/directory"
	"berth/fs"
	"berth/policy"
)

// step is what a client does with one small file, and the system calls that it may
// cost: one look-up for an open, and no more than are needed for what is promised.
type step struct {
	name    string
	uploads policy.Uploads
	do      func(f fs.FS) error
	calls   string
}

var steps = []step{
	{"get", policy.Direct, get, "openat2 fstat pread64 close"},
	{"get where uploads are atomic", policy.Atomic, get, "openat2 openat2 fstat pread64 close"}, // is there an unfinished one?
	{"put", policy.Direct, put, "openat2 fstat pwrite64 close"},
	{"put where uploads are atomic", policy.Atomic, put, "8 openat2, 1 renameat, 2 fsync"},
	{"stat", policy.Direct, stat, "openat2 fstat close"},
	{"get of a person", policy.Direct, get, "io_uring_enter fstat pread64 close"},
	{"stat of a person", policy.Direct, stat, "io_uring_enter fstat close"},
	{"remove", policy.Direct, func(f fs.FS) error { return f.Remove("/d/f") }, "openat2 unlinkat close"},
}

func (s step) person() bool { return strings.HasSuffix(s.name, "of a person") }

func get(f fs.FS) error {
	file, err := f.OpenFile("/d/f", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.ReadAt(make([]byte, 4), 0)
	return errors.Join(err, file.Close())
}

func put(f fs.FS) error {
	file, err := f.OpenFile("/d/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte("data"), 0)
	return errors.Join(err, file.Close())
}

func stat(f fs.FS) error {
	_, err := f.Stat("/d/f")
	return err
}

const traceVar = "BERTH_TEST_TRACED"

// TestSystemCalls runs each step in a process under strace, and compares the calls
// between two marks.
func TestSystemCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: test/packages.sh installs it", err)
	}
	if i := slices.IndexFunc(steps, func(s step) bool { return s.name == os.Getenv(traceVar) }); i >= 0 {
		traced(t, steps[i])
		return
	}
	for _, s := range steps {
		if s.person() && !fs.OpensByRing() {
			t.Logf("%s: not tried, since this needs root and io_uring", s.name)
			continue
		}
		trace := t.TempDir() + "/trace"
		cmd := exec.Command(strace, "-f", "-o", trace, "-e", "trace=%file,%desc", os.Args[0], "-test.run=^TestSystemCalls$")
		cmd.Env = append(os.Environ(), traceVar+"="+s.name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		lines, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		got := between(t, string(lines))
		if strings.Contains(s.calls, ",") { // the rest depends on the kernel and on the file system
			got = count(got, "openat2", "renameat", "fsync")
		}
		if got != s.calls {
			t.Errorf("%s: system calls are\n%s, want\n%s", s.name, got, s.calls)
		}
	}
}

// traced takes the step once, so that nothing is done for the first time, and again
// between two marks, in one thread.
func traced(t *testing.T, s step) {
	runtime.LockOSThread()
	host := t.TempDir()
	p := fullPolicy(host)
	p.Uploads = s.uploads
	if s.person() {
		p.Folders[0].Owner = &directory.POSIX{UID: 1001, GID: 2000}
		if err := os.Chmod(filepath.Dir(host), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open(p, fs.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Mkdir(host+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"/warm", "/mark"} {
		if err := os.WriteFile(host+"/d/f", []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(mark)
		err := s.do(f)
		_ = os.Remove(mark)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// count is how often each of some system calls is among calls.
func count(calls string, names ...string) string {
	for i, name := range names {
		n := 0
		for c := range strings.FieldsSeq(calls) {
			if c == name {
				n++
			}
		}
		names[i] = fmt.Sprintf("%d %s", n, name)
	}
	return strings.Join(names, ", ")
}

var call = regexp.MustCompile(`^(\d+) +(\w+)\(`)

// between is the calls of the thread that made the marks, between them.
func between(t *testing.T, trace string) string {
	t.Helper()
	var calls []string
	thread, marks := "", 0
	for line := range strings.Lines(trace) {
		m := call.FindStringSubmatch(line)
		switch {
		case m == nil || thread != "" && m[1] != thread:
		case strings.Contains(line, "MAP_ANONYMOUS"): // memory for the runtime
		case strings.Contains(line, `"/mark"`): // unlinkat, and again as a directory
			thread = m[1]
			if marks++; marks == 2 {
				calls = nil
			} else if marks == 3 {
				return strings.Join(calls, " ")
			}
		default:
			calls = append(calls, m[2])
		}
	}
	t.Fatalf("no marks in the trace:\n%s", strings.Join(slices.Collect(strings.Lines(trace)), ""))
	return ""
}

// TestRenameWithoutNoreplace has the kernel say that a file system cannot rename
// without replacing, as some network file systems cannot.
func TestRenameWithoutNoreplace(t *testing.T) {
	if host := os.Getenv(traceVar); host != "" {
		renameThere(t, host)
		return
	}
	trace := t.TempDir() + "/trace"
	cmd := exec.Command("strace", "-f", "-o", trace, "-e", "trace=renameat2,linkat", "-e", "inject=renameat2:error=EINVAL",
		os.Args[0], "-test.run=^TestRenameWithoutNoreplace$")
	cmd.Env = append(os.Environ(), traceVar+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(trace)
	if err != nil || !strings.Contains(string(calls), "INJECTED") || !regexp.MustCompile(`linkat\(.* = 0\n`).Match(calls) {
		t.Errorf("%v: want a file to be linked, since that never replaces:\n%s", err, calls)
	}
}

func renameThere(t *testing.T, host string) {
	for _, name := range []string{"file", "old"} {
		if err := os.WriteFile(host+"/"+name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dir", "olddir"} {
		if err := os.Mkdir(host+"/"+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open(fullPolicy(host), fs.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct {
		from, to string
		want     error
	}{
		{"/file", "/old", os.ErrExist},
		{"/file", "/olddir", os.ErrExist},
		{"/dir", "/old", os.ErrExist},
		{"/dir", "/olddir", os.ErrExist},
		{"/missing", "/new", os.ErrNotExist},
		{"/file", "/newfile", nil},
		{"/dir", "/newdir", nil},
	} {
		if err := f.Rename(tt.from, tt.to, false); !errors.Is(err, tt.want) {
			t.Errorf("Rename %s to %s = %v, want %v", tt.from, tt.to, err, tt.want)
		}
	}
	found, _ := os.ReadDir(host)
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	if want := []string{"newdir", "newfile", "old", "olddir"}; !slices.Equal(names, want) {
		t.Errorf("afterwards there are %q, want %q", names, want)
	}
	if data, err := os.ReadFile(host + "/newfile"); string(data) != "file" {
		t.Errorf("the renamed file has %q, %v", data, err)
	}
}
