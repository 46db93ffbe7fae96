package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/policy"
)

// full is a policy with every right on one host directory.
func full(host string) *policy.Policy {
	return &policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: host, Umask: 0o027}},
		Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
	}
}

// everything is a policy that brings in all layers.
func everything(host string) *policy.Policy {
	p := full(host)
	p.Limits = policy.Limits{Quota: 1 << 50, QuotaFiles: 1 << 40, MaxFile: 1 << 50, UploadRate: 1 << 50, DownloadRate: 1 << 50}
	p.Uploads = policy.Atomic
	return p
}

func mustOpen(t testing.TB, p *policy.Policy, s Settings) FS {
	t.Helper()
	f, err := Open(p, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// mustJail is a jail until the test ends.
func mustJail(t testing.TB, host string) *jail {
	t.Helper()
	j, err := openJail(host, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestOpenMissingFolder(t *testing.T) {
	host := filepath.Join(t.TempDir(), "a", "missing")
	p := full(host)
	_, err := Open(p, Settings{})
	if !errors.Is(err, ErrFolderMissing) {
		t.Fatalf("Open = %v, want ErrFolderMissing", err)
	}
	p.Folders[0].Create = true
	p.Folders[0].Skeleton = []string{"inbox", "out/box"}
	f := mustOpen(t, p, Settings{})
	if fi, err := f.Stat("/out/box"); err != nil || !fi.IsDir() {
		t.Errorf("Stat(/out/box) = %v, %v, want a directory", fi, err)
	} else if got := fi.Mode().Perm(); got != 0o750 {
		t.Errorf("mode of the skeleton = %v, want 0750 by the umask of the folder", got)
	}
	if fi, err := os.Stat(host); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("home = %v, %v, want mode 0700", fi, err)
	}
}

func TestOpenSkeletonStaysInside(t *testing.T) {
	host := filepath.Join(t.TempDir(), "home")
	p := full(host)
	p.Folders[0].Create = true
	p.Folders[0].Skeleton = []string{"../evil"}
	if f, err := Open(p, Settings{}); err == nil {
		t.Error("Open with a skeleton outside succeeded", f.Close())
	}
	if _, err := os.Stat(filepath.Join(host, "../evil")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("evil: %v, want it not made", err)
	}
}

func TestReadWrite(t *testing.T) {
	f := mustOpen(t, full(t.TempDir()), Settings{})
	if err := f.Mkdir("/d", 0o777); err != nil {
		t.Fatal(err)
	}
	if fi, err := f.Stat("/d"); err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("directory is %v, %v, want mode 0750 by the umask of the folder", fi, err)
	}
	w, err := f.OpenFile("/d/f", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt([]byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fi, err := f.Stat("/d/f")
	if err != nil || fi.Size() != 5 || fi.Mode().Perm()&^0o640 != 0 {
		t.Fatalf("Stat = %v, %v, want 5 bytes of mode 0640", fi, err)
	}
	for fi, err := range f.ReadDir("/d") {
		if err != nil || fi.Name() != "f" {
			t.Errorf("ReadDir yields %v, %v", fi, err)
		}
	}
}

func TestShadowed(t *testing.T) {
	hosts, _ := tree(t)
	p := &policy.Policy{}
	for path, host := range hosts {
		p.Folders = append(p.Folders, policy.Folder{Path: path, Host: host})
	}
	if got := Shadowed(p.Folders); len(got) != 0 {
		t.Errorf("Shadowed = %q, want none", got)
	}
	err := errors.Join(
		os.MkdirAll(hosts["/"]+"/shared/x", 0o755),
		os.MkdirAll(hosts["/"]+"/far/away/place", 0o755),
		os.WriteFile(hosts["/shared"]+"/archive", nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"/shared": {hosts["/"] + "/shared"}, "/shared/archive": {hosts["/shared"] + "/archive"}}
	if got := Shadowed(p.Folders); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("Shadowed = %q, want %q", got, want)
	}
	rules := []policy.Folder{{Path: "/"}, {Path: "/", Host: t.TempDir()}, {Path: "/", Host: hosts["/"]}, {Path: "/shared"}, {Path: "/shared", Host: "/x"}}
	if got := Shadowed(rules); !maps.EqualFunc(got, map[string][]string{"/shared": {hosts["/"] + "/shared"}}, slices.Equal) {
		t.Errorf("Shadowed of the folders of several rules = %q, want /shared", got)
	}
}

// TestMakeFolderKeepsNothingOpen: a folder that was made is not held twice.
func TestMakeFolderKeepsNothingOpen(t *testing.T) {
	before := descriptors(t)
	for i := range 5 {
		p := full(filepath.Join(t.TempDir(), fmt.Sprint(i)))
		p.Folders[0].Create = true
		p.Folders[0].Skeleton = []string{"inbox"}
		v, err := Open(p, Settings{})
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}
