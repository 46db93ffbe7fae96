package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"berth/policy"
)

// tree is a view of four folders, two of them nested and one far below a
// directory that is nowhere on the host; each holds a file named after it.
func tree(t *testing.T) (hosts map[string]string, f FS) {
	t.Helper()
	hosts = map[string]string{}
	p := &policy.Policy{}
	for _, path := range []string{"/", "/shared", "/shared/archive", "/far/away/place"} {
		host := t.TempDir()
		hosts[path] = host
		p.Folders = append(p.Folders, policy.Folder{Path: path, Host: host, Umask: 0o027})
		if err := os.WriteFile(host+"/f", []byte(path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.Access = []policy.Access{{Path: "/", Ops: policy.Full}}
	return hosts, mustOpen(t, p, Settings{})
}

func names(t testing.TB, f FS, dir string) []string {
	t.Helper()
	var names []string
	for fi, err := range f.ReadDir(dir) {
		if err != nil {
			t.Fatalf("ReadDir(%s): %v", dir, err)
		}
		names = append(names, fi.Name())
	}
	slices.Sort(names)
	return names
}

func TestMountsShowFolders(t *testing.T) {
	hosts, f := tree(t)
	if err := errors.Join(os.Mkdir(hosts["/"]+"/shared", 0o755), os.WriteFile(hosts["/"]+"/shared/shadowed", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"/": "f far shared", "/shared": "archive f", "/shared/archive": "f", "/far": "away", "/far/away": "place", "/far/away/place": "f",
	} {
		if got := strings.Join(names(t, f, dir), " "); got != want {
			t.Errorf("ReadDir(%s) = %q, want %q", dir, got, want)
		}
		if fi, err := f.Stat(dir); err != nil || !fi.IsDir() {
			t.Errorf("Stat(%s) = %v, %v, want a directory", dir, fi, err)
		}
	}
	for path := range hosts {
		name := join(path, "f")
		file, err := f.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Errorf("open %s: %v", name, err)
			continue
		}
		got := make([]byte, len(path))
		if _, err := file.ReadAt(got, 0); err != nil || string(got) != path {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, path)
		}
		_ = file.Close()
	}
}

// TestMountsPinned checks that what the view is made of stays where it is, by the
// guard and, in case that one day lets it pass, by the mounts below.
func TestMountsPinned(t *testing.T) {
	_, f := tree(t)
	staysWhereItIs(t, f)
	staysWhereItIs(t, asFS(f.(*View).below))
}

func staysWhereItIs(t *testing.T, f FS) {
	t.Helper()
	for _, name := range []string{"/", "/shared", "/shared/archive", "/far", "/far/away", "/far/away/place"} {
		for what, err := range map[string]error{
			"rename": f.Rename(name, "/x", true), "rename to": f.Rename("/f", name, true),
			"rmdir": f.Rmdir(name), "remove": f.Remove(name),
		} {
			if !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("%s %s = %v, want ErrPermission", what, name, err)
			}
		}
		if err := f.Mkdir(name, 0o777); !errors.Is(err, iofs.ErrExist) {
			t.Errorf("mkdir %s = %v, want ErrExist", name, err)
		}
		if err := openClose(f, name, os.O_WRONLY|os.O_CREATE); !errors.Is(err, ErrIsDir) {
			t.Errorf("open %s = %v, want ErrIsDir", name, err)
		}
	}
	if err := openClose(f, "/far/x", os.O_WRONLY|os.O_CREATE); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("create in a virtual directory = %v, want ErrPermission", err)
	}
	for name, err := range map[string]error{
		"setattr": f.SetAttr("/far", Attr{Set: AttrMode, Mode: 0o777}),
	} {
		if err == nil {
			t.Errorf("%s in a virtual directory succeeded", name)
		}
	}
}

func TestRenameAcrossFolders(t *testing.T) {
	hosts, f := tree(t)
	if err := os.Chmod(hosts["/"]+"/f", 0o604); err != nil {
		t.Fatal(err)
	}
	if err := f.Rename("/f", "/shared/f", false); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("rename over a file without replace = %v, want ErrExist", err)
	}
	if err := f.Rename("/f", "/shared/f", true); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, hosts["/shared"]+"/f", "/")
	hostHolds(t, hosts["/"]+"/f", "nothing")
	if fi, err := os.Stat(hosts["/shared"] + "/f"); err != nil || fi.Mode().Perm() != 0o604 {
		t.Errorf("moved file is %v, %v, want mode 0604", fi.Mode(), err)
	}
	if err := errors.Join(f.Mkdir("/d", 0o777), os.Truncate(hosts["/shared/archive"]+"/f", maxMove+1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/d", "/shared/archive/f"} {
		if err := f.Rename(name, "/shared/x", false); !errors.Is(err, ErrCrossFolder) {
			t.Errorf("rename of %s to another folder = %v, want ErrCrossFolder", name, err)
		}
	}
	if err := f.Link("/shared/f", "/g"); !errors.Is(err, ErrCrossFolder) {
		t.Errorf("link to another folder = %v, want ErrCrossFolder", err)
	}
	for path, host := range hosts {
		if n := temps(t, host); n != 0 {
			t.Errorf("%d temporary files are left in %s", n, path)
		}
	}
}

// TestLinksInFolders checks that the root of a folder is the root for its
// links.
func TestLinksInFolders(t *testing.T) {
	hosts, f := tree(t)
	err := errors.Join(
		os.Symlink("/f", hosts["/shared"]+"/abs"),
		os.Symlink("../f", hosts["/shared"]+"/up"),
		os.Symlink("../../../../f", hosts["/shared"]+"/upup"),
		os.Symlink(hosts["/"]+"/f", hosts["/shared"]+"/host"),
		os.Symlink("shared/f", hosts["/"]+"/into"),
		os.Symlink("/etc", hosts["/shared/archive"]+"/out"),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/shared/abs": "/shared", "/shared/up": "/shared", "/shared/upup": "/shared", "/into": "/shared",
	} {
		fi, err := f.Stat(name)
		if err != nil || fi.Size() != int64(len(want)) {
			t.Errorf("Stat(%s) = %v, %v, want the file of %s", name, fi, err, want)
		}
	}
	for _, name := range []string{"/shared/host", "/shared/archive/out", "/shared/archive/out/passwd"} {
		if _, err := f.Stat(name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Stat(%s) = %v, want ErrNotExist", name, err)
		}
	}
}

// TestMountsWithoutRoot checks a view whose root is in no folder, and one
// without folders.
func TestMountsWithoutRoot(t *testing.T) {
	p := &policy.Policy{
		Folders: []policy.Folder{{Path: "/a/b", Host: t.TempDir()}},
		Access:  []policy.Access{{Path: "/a/b", Ops: policy.Full}},
	}
	f := mustOpen(t, p, Settings{})
	for dir, want := range map[string]string{"/": "a", "/a": "b", "/a/b": ""} {
		if got := strings.Join(names(t, f, dir), " "); got != want {
			t.Errorf("ReadDir(%s) = %q, want %q", dir, got, want)
		}
	}
	if err := openClose(f, "/a/b/f", truncating); err != nil {
		t.Error(err)
	}
	if err := f.Rename("/a/b/f", "/a/f", true); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("rename into a virtual directory = %v, want ErrPermission", err)
	}
	for what, err := range map[string]error{
		"mkdir": f.Mkdir("/x", 0o777), "create": openClose(f, "/a/x", truncating), "symlink": f.Symlink("x", "/x"),
	} {
		if !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s in a virtual directory = %v, want ErrPermission", what, err)
		}
	}
	if _, err := f.Stat("/x"); err == nil {
		t.Error("Stat of what is not there succeeded")
	}
	empty := mustOpen(t, &policy.Policy{}, Settings{})
	if err := readDirErr(empty, "/"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("ReadDir of a view without anything = %v, want ErrPermission", err)
	}
	if fi, err := empty.Stat("/"); err != nil || !fi.IsDir() {
		t.Errorf("Stat(/) of it = %v, %v, want a directory", fi, err)
	}
}

// TestRealpathInView checks how names resolve across folders and where a person
// may not list.
func TestRealpathInView(t *testing.T) {
	hosts, _ := tree(t)
	err := errors.Join(
		os.Mkdir(hosts["/shared"]+"/sub", 0o755),
		os.Symlink("sub", hosts["/shared"]+"/l"),
		os.Symlink("../../archive", hosts["/shared"]+"/out"),
		os.Symlink("/sub", hosts["/shared"]+"/abs"),
		os.Symlink("shared/abs", hosts["/"]+"/via"),
		os.Symlink("f", hosts["/shared/archive"]+"/l"),
		os.WriteFile(hosts["/"]+"/a.secret", nil, 0o644),
		os.Symlink("f", hosts["/far/away/place"]+"/l"),
	)
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policy{Access: []policy.Access{
		{Path: "/", Ops: policy.Full, Names: policy.Names{Deny: []string{"*.secret"}}, Hide: true},
		{Path: "/far", Ops: policy.List},
		{Path: "/far/away/place", Ops: policy.DropBox},
		{Path: "/shared/archive", Ops: policy.List}, // links are shown and not read
	}}
	for path, host := range hosts {
		p.Folders = append(p.Folders, policy.Folder{Path: path, Host: host})
	}
	f := mustOpen(t, p, Settings{})
	for name, want := range map[string]string{
		"/far/away/place/../../..": "/",
		"/shared/l/../../f":        "/f", // a name may leave a folder; the target of a link may not
		"/shared/out":              "/shared/archive",
		"/shared/abs":              "/shared/sub", // begins at the folder of the link
		"/via":                     "/shared/sub",
		"/shared/archive/l":        "/shared/archive/l",
		"/far/away/place/l":        "/far/away/place/l",
		"/far/away/place/none/x":   "/far/away/place/none/x",
		"/far/away/place/l/x":      "/far/away/place/l/x",
		"/a.secret":                "/a.secret",
		"/far/none":                "/far/none",
	} {
		if got, err := f.Realpath(name); got != want || err != nil {
			t.Errorf("Realpath(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"/a.secret/x", "/b.secret/x", "/a.secret/../f", "/far/none/x", "/far/none/", "/" + tempPrefix + "x/y"} {
		if got, err := f.Realpath(name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Realpath(%s) = %q, %v, want ErrNotExist", name, got, err)
		}
	}
}

// TestBrokenFolders checks a view some of whose folders cannot be opened: those
// are neither listed nor used, and the others work.
func TestBrokenFolders(t *testing.T) {
	hosts, _ := tree(t)
	for _, broken := range [][]string{{"/"}, {"/shared"}, {"/shared/archive"}, {"/", "/shared"}, {"/", "/far/away/place", "/shared"}} {
		p := &policy.Policy{}
		for path, host := range hosts {
			if slices.Contains(broken, path) {
				host += "/missing"
			}
			p.Folders = append(p.Folders, policy.Folder{Path: path, Host: host})
			p.Access = append(p.Access, policy.Access{Path: path, Ops: policy.Full})
		}
		p.Access = append(p.Access, policy.Access{Path: "/far", Ops: policy.List})
		f := mustOpen(t, p, Settings{})
		var said []string
		for _, b := range f.(*View).Broken {
			said = append(said, b.Path)
			if !errors.Is(b.Err, ErrFolderMissing) || b.Host != hosts[b.Path]+"/missing" || !strings.Contains(b.Err.Error(), b.Host) {
				t.Errorf("%v broken: Broken has %+v", broken, b)
			}
		}
		slices.Sort(said)
		if !slices.Equal(said, broken) {
			t.Errorf("Broken = %q, want %q", said, broken)
		}
		if fi, err := f.Stat("/"); err != nil || !fi.IsDir() {
			t.Errorf("%v broken: Stat(/) = %v, %v, want a directory", broken, fi, err)
		}
		if _, err := f.StatFS("/"); err != nil {
			t.Errorf("%v broken: StatFS(/) = %v", broken, err)
		}
		for at := range hosts {
			name := join(at, "f")
			want := error(nil)
			if slices.Contains(broken, at) {
				want = ErrFolderMissing
			}
			if err := openClose(f, name, os.O_RDONLY); !errors.Is(err, want) {
				t.Errorf("%v broken: open %s = %v, want %v", broken, name, err, want)
			}
			for what, err := range map[string]error{"create": openClose(f, join(at, "new"), truncating), "stat": second(f.Stat(name)), "mkdir": f.Mkdir(join(at, "dir"), 0o755)} {
				if want != nil && !errors.Is(err, want) {
					t.Errorf("%v broken: %s in %s = %v, want ErrFolderMissing", broken, what, at, err)
				}
			}
			if at == "/" {
				continue
			}
			inside := at == "/shared" && !slices.Contains(broken, "/shared/archive") // leads to a folder that works
			listed := slices.Contains(names(t, f, path.Dir(at)), path.Base(at))
			if listed != (want == nil || inside) {
				t.Errorf("%v broken: %s is listed: %t", broken, at, listed)
			}
		}
	}
}
