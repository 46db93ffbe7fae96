package scp

import (
	"bytes"
	"crypto/rand"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A rig is two directories: the client's and the server's.
type rig struct {
	t              *testing.T
	client, server string
	env            []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if _, err := exec.LookPath("scp"); err != nil {
		t.Fatalf("the OpenSSH client is needed: %v", err)
	}
	r := &rig{t: t, client: t.TempDir(), server: t.TempDir()}
	r.env = append(os.Environ(), rootVar+"="+r.server, "GORACE=atexit_sleep_ms=0")
	return r
}

// scp runs the real client in its directory and returns what it prints and
// whether it succeeded.
func (r *rig) scp(args ...string) (string, bool) {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), "scp", append([]string{"-O", "-S", self}, args...)...)
	cmd.Dir, cmd.Env = r.client, r.env
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func (r *rig) must(args ...string) {
	r.t.Helper()
	if out, ok := r.scp(args...); !ok {
		r.t.Fatalf("scp %q: %s", args, out)
	}
}

// An entry is what a tree has under one name.
type entry struct {
	Mode  iofs.FileMode
	Data  string
	Mtime time.Time
}

// tree lists what is below dir. Times count only if they were set.
func tree(t *testing.T, dir string) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	err := filepath.WalkDir(dir, func(p string, d iofs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{Mode: fi.Mode()}
		if fi.ModTime().Before(time.Now().Add(-time.Hour)) {
			e.Mtime = fi.ModTime()
		}
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			e.Data = string(b)
		}
		rel, _ := filepath.Rel(dir, p)
		entries[rel] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func write(t *testing.T, name, data string, mode iofs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// makeTree fills dir/tree with files of many sizes and modes, all of 2001.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	big := make([]byte, 3*bufferSize+17)
	rand.Read(big)
	write(t, filepath.Join(dir, "tree/big"), string(big), 0o640)
	write(t, filepath.Join(dir, "tree/exact"), string(big[:bufferSize]), 0o644)
	write(t, filepath.Join(dir, "tree/empty"), "", 0o600)
	write(t, filepath.Join(dir, "tree/a b/two  spaces"), "2", 0o755)
	write(t, filepath.Join(dir, "tree/a b/$HOME `id` ü"), "odd", 0o644)
	write(t, filepath.Join(dir, "tree/a b/deep/er/x"), "x", 0o444)
	write(t, filepath.Join(dir, "tree/.hidden"), "h", 0o644)
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	_ = filepath.WalkDir(filepath.Join(dir, "tree"), func(p string, d iofs.DirEntry, err error) error {
		return os.Chtimes(p, old, old)
	})
	if err := os.Chmod(filepath.Join(dir, "tree/a b/deep"), 0o750); err != nil {
		t.Fatal(err)
	}
}

func TestClientTrees(t *testing.T) {
	for _, flags := range []string{"-r", "-rp"} {
		t.Run("put "+flags, func(t *testing.T) {
			r := newRig(t)
			makeTree(t, r.client)
			r.must(flags, "tree", "host:")
			compare(t, r.client, r.server, flags == "-rp")
		})
		t.Run("get "+flags, func(t *testing.T) {
			r := newRig(t)
			makeTree(t, r.server)
			r.must(flags, "host:tree", ".")
			compare(t, r.server, r.client, flags == "-rp")
		})
	}
}

// compare holds the two trees against each other.
func compare(t *testing.T, from, to string, times bool) {
	t.Helper()
	want, got := tree(t, from), tree(t, to)
	for _, m := range []map[string]entry{want, got} {
		for name, e := range m {
			if !times {
				e.Mtime = time.Time{}
				m[name] = e
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" && len(diff) < 4096 {
		t.Errorf("trees differ (-want +got):\n%s", diff)
	} else if diff != "" {
		t.Errorf("trees differ")
	}
	if len(want) < 5 {
		t.Errorf("tree has %d entries, want a real one", len(want))
	}
}

func TestClientFiles(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a.txt", "b.txt", "c d.txt", "[x].txt", "x.dat"} {
		write(t, filepath.Join(r.server, "in", name), name, 0o644)
	}
	write(t, filepath.Join(r.server, "in/new\nline"), "nl", 0o644)
	write(t, filepath.Join(r.client, "up1"), "1", 0o644)
	write(t, filepath.Join(r.client, "up2"), "2", 0o644)
	tests := []struct {
		name string
		args []string
		ok   bool
		want string // in what is printed
		dir  string // to look into, and
		has  string // what must be there
	}{
		{"several to a directory", []string{"up1", "up2", "host:in"}, true, "", r.server + "/in", "up1 up2"},
		{"to a new name", []string{"up1", "host:new"}, true, "", r.server, "new"},
		{"to an absolute name with spaces", []string{"up1", "host:'/in/n n'"}, true, "", r.server + "/in", "n n"},
		{"several to a file", []string{"up1", "up2", "host:new"}, false, "new: Not a directory", r.server, "new"},
		{"to a missing directory", []string{"up1", "host:none/x"}, false, "none/x: No such file or directory", r.server, "in"},
		{"to a missing name with a slash", []string{"up1", "host:none/"}, false, "Is a directory", r.server, "in"},
		{"missing local file among others", []string{"nope", "up2", "host:in/"}, false, "nope: No such file", r.server + "/in", "up2"},
		{"directory without -r", []string{"host:in", "."}, false, "in: not a regular file", r.client, ""},
		{"wildcard", []string{"host:in/*.txt", "."}, true, "", r.client, "a.txt b.txt c d.txt [x].txt"},
		{"braces", []string{"host:in/{x.dat,a.txt}", "."}, true, "", r.client, "x.dat a.txt"},
		{"quoted spaces", []string{"-T", "host:in/'c d'.txt", "."}, true, "", r.client, "c d.txt"},
		{"escaped spaces", []string{`host:in/c\ d.txt`, "."}, true, "", r.client, "c d.txt"},
		{"escaped brackets", []string{`host:in/\[x].txt`, "."}, true, "", r.client, "[x].txt"},
		{"missing among others", []string{"host:in/a.txt", "host:in/none", "host:in/b.txt", "."}, false, "in/none: No such file or directory", r.client, "a.txt b.txt"},
		{"newline in a name", []string{"host:in/new*", "."}, true, "", r.client, `new\^Jline`},
		{"home", []string{"host:~/in/a.txt", "home.txt"}, true, "", r.client, "home.txt"},
		{"no name", []string{"-r", "host:/", "."}, false, "has no name of its own", r.client, ""},
		{"backticks", []string{"-T", "host:in/`id`", "."}, false, "in/`id`: No such file", r.client, ""},
		{"operator", []string{"-T", "host:in/a;id", "."}, false, "there is no shell here", r.client, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, ok := r.scp(tt.args...)
			if ok != tt.ok || !strings.Contains(out, tt.want) {
				t.Errorf("scp %q: success %t, printed %q; want %t, %q", tt.args, ok, out, tt.ok, tt.want)
			}
			have := tree(t, tt.dir)
			rest := tt.has
			for name := range have {
				rest = strings.ReplaceAll(rest, name, "")
			}
			if strings.TrimSpace(rest) != "" {
				t.Errorf("%q left in %v, want all of it", rest, keys(have))
			}
		})
	}
}

func keys(m map[string]entry) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestClientOverwrites(t *testing.T) {
	r := newRig(t)
	write(t, filepath.Join(r.client, "f"), "short", 0o600)
	write(t, filepath.Join(r.server, "f"), strings.Repeat("long", 1000), 0o644)
	r.must("f", "host:f")
	got, err := os.ReadFile(filepath.Join(r.server, "f"))
	if err != nil || !bytes.Equal(got, []byte("short")) {
		t.Errorf("file is %q (%v), want %q", got, err, "short")
	}
	if fi, _ := os.Stat(filepath.Join(r.server, "f")); fi.Mode() != 0o644 {
		t.Errorf("mode of a file that was there is %v, want it unchanged", fi.Mode())
	}
}

func TestClientVerbose(t *testing.T) {
	r := newRig(t)
	write(t, filepath.Join(r.server, "f"), "x", 0o644)
	out, ok := r.scp("-v", "host:f", ".")
	if want := "Sending file modes: C0644 1 f"; !ok || !strings.Contains(out, want) {
		t.Errorf("scp -v: success %t, printed %q; want %q", ok, out, want)
	}
}
