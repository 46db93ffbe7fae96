package fstest

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"berth/fs"
)

func testDirectories(t *tester) {
	t.mkdir("/d")
	t.mkdir("/d/e")
	t.fails(t.Mkdir("/d", 0o777), "mkdir", "/d", iofs.ErrExist)
	t.fails(t.Mkdir("/", 0o777), "mkdir", "/", iofs.ErrExist)
	t.fails(t.Mkdir("/none/d", 0o777), "mkdir", "/none/d", iofs.ErrNotExist)
	t.write("/f", "")
	t.fails(t.Mkdir("/f", 0o777), "mkdir", "/f", iofs.ErrExist)
	t.fails(t.Mkdir("/f/d", 0o777), "mkdir", "/f/d", fs.ErrNotDir)
	t.fails(t.Rmdir("/d"), "rmdir", "/d", fs.ErrNotEmpty)
	t.must(t.Rmdir("/d/e"), "rmdir")
	t.must(t.Rmdir("/d"), "rmdir")
	t.absent("/d")
	t.fails(t.Rmdir("/d"), "rmdir", "/d", iofs.ErrNotExist)
	if err := t.Rmdir("/"); err == nil {
		t.Error("rmdir of the root succeeded")
	}
	t.must(t.Mkdir("/m", 0o750|iofs.ModeSetgid|iofs.ModeSticky), "mkdir with special bits")
	if fi, err := t.Stat("/m"); err != nil || fi.Mode()&(iofs.ModeSetgid|iofs.ModeSticky|iofs.ModeSetuid) != 0 {
		t.Errorf("mode = %v, %v, want no special bits", fi.Mode(), err)
	}
}

func testReadDir(t *tester) {
	t.lists("/")
	t.mkdir("/d")
	var want []string
	for i := range 300 { // more than one batch
		name := strings.Repeat("a file with a long name ", 8) + strconv.Itoa(i)
		want = append(want, name)
		t.write("/d/"+name, "x")
	}
	t.mkdir("/d/sub")
	t.symlink("nowhere", "/d/link")
	t.lists("/d", append(want, "sub", "link")...)
	for fi, err := range t.ReadDir("/d") {
		if err != nil {
			t.Fatal(err)
		}
		one, err := t.Lstat("/d/" + fi.Name())
		if err != nil || one.Mode() != fi.Mode() || one.Size() != fi.Size() || !one.ModTime().Equal(fi.ModTime()) {
			t.Errorf("readdir says %v, lstat %v, %v", fi, one, err)
		}
	}
	n := 0
	for range t.ReadDir("/d") { // may be left early
		if n++; n == 3 {
			break
		}
	}
	t.write("/f", "")
	for name, want := range map[string]error{"/none": iofs.ErrNotExist, "/f": fs.ErrNotDir, "/d/link": iofs.ErrNotExist} {
		n := 0
		for fi, err := range t.ReadDir(name) {
			n++
			t.fails(err, "readdir", name, want)
			if fi != nil {
				t.Errorf("readdir %q yields %v with an error", name, fi)
			}
		}
		if n != 1 {
			t.Errorf("readdir %q yields %d times, want one error", name, n)
		}
	}
}

func testStat(t *tester) {
	t.write("/f", "hello")
	t.symlink("f", "/l")
	tests := []struct {
		what string
		stat func(string) (iofs.FileInfo, error)
		name string
		typ  iofs.FileMode
		size int64
	}{
		{"stat", t.Stat, "/f", 0, 5},
		{"lstat", t.Lstat, "/f", 0, 5},
		{"stat", t.Stat, "/l", 0, 5},
		{"lstat", t.Lstat, "/l", iofs.ModeSymlink, 1},
		{"stat", t.Stat, "/", iofs.ModeDir, -1},
		{"lstat", t.Lstat, "/", iofs.ModeDir, -1},
	}
	for _, tt := range tests {
		fi, err := tt.stat(tt.name)
		if err != nil {
			t.Errorf("%s %q: %v", tt.what, tt.name, err)
			continue
		}
		if fi.Mode().Type() != tt.typ || tt.size >= 0 && fi.Size() != tt.size || fi.IsDir() != (tt.typ == iofs.ModeDir) || fi.Name() != path.Base(tt.name) {
			t.Errorf("%s %q = %q, %v, %d bytes; want type %v, %d bytes", tt.what, tt.name, fi.Name(), fi.Mode(), fi.Size(), tt.typ, tt.size)
		}
		if _, ok := fi.Sys().(*fs.Owner); !ok {
			t.Errorf("Sys of %q is a %T, want *fs.Owner", tt.name, fi.Sys())
		}
	}
	for what, stat := range map[string]func(string) (iofs.FileInfo, error){"stat": t.Stat, "lstat": t.Lstat} {
		fi, err := stat("/none")
		t.fails(err, what, "/none", iofs.ErrNotExist)
		if fi != nil {
			t.Errorf("%s yields %v with an error", what, fi)
		}
		t.fails(second(stat("/f/g")), what, "/f/g", fs.ErrNotDir)
	}
}

func testRename(t *tester) {
	t.write("/a", "a")
	t.must(t.Rename("/a", "/b", false), "rename")
	t.absent("/a")
	t.holds("/b", "a")
	t.write("/c", "c")
	t.fails(t.Rename("/b", "/c", false), "rename", "/b", iofs.ErrExist)
	t.holds("/c", "c")
	t.must(t.Rename("/b", "/c", true), "rename over a file")
	t.absent("/b")
	t.holds("/c", "a")
	t.fails(t.Rename("/none", "/x", true), "rename", "/none", iofs.ErrNotExist)
	t.fails(t.Rename("/none", "/x", false), "rename", "/none", iofs.ErrNotExist)
	t.fails(t.Rename("/c", "/none/x", false), "rename", "/c", iofs.ErrNotExist)
	t.symlink("c", "/l")
	t.must(t.Rename("/l", "/m", false), "rename a link")
	if target, err := t.Readlink("/m"); target != "c" || err != nil {
		t.Errorf("readlink = %q, %v, want c", target, err)
	}
	t.must(t.Rename("/c", "/c", true), "rename to itself")
	t.holds("/c", "a")
	t.mkdir("/d")
	t.must(t.Rename("/c", "/d/c", false), "rename into a directory")
	t.holds("/d/c", "a")
	t.fails(t.Rename("/m", "/d", true), "rename", "/m", fs.ErrIsDir)
	t.fails(t.Rename("/m", "/d", false), "rename", "/m", iofs.ErrExist)
	if t.Rename("/", "/x", true) == nil || t.Rename("/d", "/", true) == nil {
		t.Error("rename of the root succeeded")
	}
}

func testRenameDir(t *tester) {
	t.mkdir("/a")
	t.write("/a/f", "f")
	t.must(t.Rename("/a", "/b", false), "rename a directory")
	t.holds("/b/f", "f")
	t.mkdir("/empty")
	t.fails(t.Rename("/b", "/empty", false), "rename", "/b", iofs.ErrExist)
	t.must(t.Rename("/b", "/empty", true), "rename over an empty directory")
	t.holds("/empty/f", "f")
	t.mkdir("/c")
	t.fails(t.Rename("/c", "/empty", true), "rename", "/c", fs.ErrNotEmpty)
	t.write("/g", "")
	t.fails(t.Rename("/c", "/g", true), "rename", "/c", fs.ErrNotDir)
	t.fails(t.Rename("/c", "/c/inside", false), "rename", "/c", iofs.ErrInvalid)
	t.lists("/", "c", "empty", "g")
}

func testRemove(t *tester) {
	t.write("/f", "f")
	t.mkdir("/d")
	t.symlink("f", "/lf")
	t.symlink("d", "/ld")
	t.fails(t.Rmdir("/f"), "rmdir", "/f", fs.ErrNotDir)
	t.fails(t.Rmdir("/ld"), "rmdir", "/ld", fs.ErrNotDir)
	t.fails(t.Remove("/d"), "remove", "/d", fs.ErrIsDir)
	t.must(t.Remove("/lf"), "remove a link")
	t.must(t.Remove("/ld"), "remove a link to a directory")
	t.holds("/f", "f")
	t.must(t.Remove("/f"), "remove")
	t.fails(t.Remove("/f"), "remove", "/f", iofs.ErrNotExist)
	if t.Remove("/") == nil {
		t.Error("remove of the root succeeded")
	}
	t.lists("/", "d")

	f := t.open("/gone", os.O_RDWR|os.O_CREATE)
	t.must(t.Remove("/gone"), "remove an open file")
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Errorf("write to a removed file: %v", err)
	}
	t.must(f.Close(), "close a removed file")
	t.absent("/gone")
}

func testLinks(t *tester) {
	t.mkdir("/d")
	t.mkdir("/d/sub")
	t.write("/d/f", "f")
	targets := []string{"d/f", "nowhere", "../../../x", "/abs/olute", "a b\n", "./d//f", strings.Repeat("t", 300)}
	for i, target := range targets {
		name := "/l" + strconv.Itoa(i)
		t.symlink(target, name)
		if got, err := t.Readlink(name); got != target || err != nil {
			t.Errorf("readlink %q = %q, %v, want %q", name, got, err, target)
		}
	}
	t.holds("/l0", "f")
	t.holds("/l5", "f")
	t.symlink("d", "/dir")
	t.holds("/dir/f", "f")
	t.lists("/dir", "f", "sub")
	t.write("/dir/g", "g")
	t.holds("/d/g", "g")
	t.must(t.Rename("/dir/g", "/dir/sub/h", false), "rename through links")
	t.holds("/d/sub/h", "g")
	t.write("/dir/g", "g")
	t.symlink("f", "/d/lf")
	t.must(t.Rename("/dir/g", "/d/lf", true), "rename through a link, over another") // which is replaced, not followed
	t.holds("/d/f", "f")
	t.holds("/d/lf", "g")
	t.must(t.Remove("/dir/sub/h"), "remove through a link")

	t.write("/l1", "made through a dangling link")
	t.holds("/nowhere", "made through a dangling link")
	t.openFails("/l2", os.O_WRONLY|os.O_CREATE|os.O_EXCL, iofs.ErrExist)
	t.symlink("nothing", "/d/dangling")
	t.openFails("/dir/dangling", os.O_WRONLY|os.O_CREATE|os.O_EXCL, iofs.ErrExist) // through a link, to the link itself
	t.absent("/d/nothing")
	t.fails(t.Symlink("x", "/d"), "symlink", "/d", iofs.ErrExist)
	t.fails(t.Symlink("", "/e"), "symlink", "/e", iofs.ErrInvalid)
	t.fails(t.Mkdir("/l3", 0o777), "mkdir", "/l3", iofs.ErrExist)
	t.fails(second(t.Readlink("/d/f")), "readlink", "/d/f", iofs.ErrInvalid)
	t.fails(second(t.Readlink("/d")), "readlink", "/d", iofs.ErrInvalid)
	t.fails(second(t.Readlink("/none")), "readlink", "/none", iofs.ErrNotExist)
}

// testChroot checks that the root is the root for links too.
func testChroot(t *tester) {
	t.mkdir("/d")
	t.mkdir("/d/e")
	t.write("/f", "root")
	t.write("/d/f", "d")
	tests := []struct{ target, want string }{
		{"/f", "root"},
		{"../f", "d"},
		{"../../f", "root"},
		{"../../../../../../f", "root"},
		{"/../../d/f", "d"},
		{"/d/e/../../../../f", "root"},
		{"/./d/./f", "d"},
		{"up/f", "d"}, // through another link
	}
	t.symlink("..", "/d/e/up")
	for i, tt := range tests {
		name := "/d/e/l" + strconv.Itoa(i)
		t.symlink(tt.target, name)
		t.holds(name, tt.want)
	}
	t.symlink("/etc/passwd", "/d/out")
	t.openFails("/d/out", os.O_RDONLY, iofs.ErrNotExist)
	t.fails(second(t.Stat("/d/out")), "stat", "/d/out", iofs.ErrNotExist)
	t.openFails("/d/out", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, iofs.ErrNotExist)
	t.symlink("/", "/d/e/root")
	t.lists("/d/e/root", "d", "f")
	t.symlink("..", "/above")
	t.lists("/above", "above", "d", "f")
}

func testLinkLoops(t *tester) {
	t.symlink("b", "/a")
	t.symlink("a", "/b")
	t.symlink(".", "/here")
	t.fails(second(t.Stat("/a")), "stat", "/a", fs.ErrTooManyLinks)
	t.openFails("/a", os.O_RDONLY, fs.ErrTooManyLinks)
	t.openFails("/a/x", os.O_WRONLY|os.O_CREATE, fs.ErrTooManyLinks)
	if _, err := t.Lstat("/a"); err != nil {
		t.Errorf("lstat of a loop: %v", err)
	}
	t.write("/f", "f")
	t.holds(strings.Repeat("/here", 20)+"/f", "f")
	if _, err := t.Stat(strings.Repeat("/here", 60) + "/f"); !errors.Is(err, fs.ErrTooManyLinks) {
		t.Errorf("stat through 60 links = %v, want ErrTooManyLinks", err)
	}
	t.must(t.Remove("/a"), "remove half of a loop")
}

func testHardLinks(t *tester) {
	t.write("/f", "one")
	t.must(t.Link("/f", "/g"), "link")
	t.put("/g", os.O_WRONLY, "two")
	t.holds("/f", "two")
	t.fails(t.Link("/f", "/g"), "link", "/f", iofs.ErrExist)
	t.fails(t.Link("/none", "/h"), "link", "/none", iofs.ErrNotExist)
	t.mkdir("/d")
	if t.Link("/d", "/d2") == nil {
		t.Error("hard link to a directory succeeded")
	}
	t.must(t.Remove("/f"), "remove")
	t.holds("/g", "two")
}

func testOddNames(t *tester) {
	names := []string{
		" ", "...", "..a", "-rf", "a b", "tab\there", "new\nline", `back\slash`, "*?[x]", "'quote\"", "übung",
		"日本語", "\xff\xfe not utf-8", strings.Repeat("n", 255), "CASE", "case", "C:", "con", "a:b", "%2e%2e",
	}
	for _, base := range names {
		t.write("/"+base, base)
	}
	for _, base := range names {
		t.holds("/"+base, base)
	}
	t.lists("/", names...)
	deep := strings.Repeat("/d", 100)
	for i := 2; i <= len(deep); i += 2 {
		t.mkdir(deep[:i])
	}
	t.write(deep+"/f", "deep")
	t.holds(deep+"/f", "deep")
}

func testBadNames(t *tester) {
	t.mkdir("/d")
	t.write("/f", "f")
	tests := []struct {
		name string
		want error
	}{
		{"", iofs.ErrInvalid},
		{".", iofs.ErrInvalid},
		{"..", iofs.ErrInvalid},
		{"f", iofs.ErrInvalid},
		{"//f", iofs.ErrInvalid},
		{"/../f", iofs.ErrInvalid},
		{"/..", iofs.ErrInvalid},
		{"/d/../f", iofs.ErrInvalid},
		{"/d/..", iofs.ErrInvalid},
		{"/./f", iofs.ErrInvalid},
		{"//", iofs.ErrInvalid},
		{"/d//", iofs.ErrInvalid},
		{"/f\x00", iofs.ErrInvalid},
		{"/f\x00/../x", iofs.ErrInvalid},
		{"/" + strings.Repeat("n", 256), fs.ErrNameTooLong},
		{strings.Repeat("/nnnnnnn", 600), fs.ErrNameTooLong},
	}
	for _, tt := range tests {
		t.allFail(tt.name, tt.want)
		t.openFails(tt.name, os.O_WRONLY|os.O_CREATE, tt.want)
		t.fails(t.Mkdir(tt.name, 0o777), "mkdir", tt.name, tt.want)
		if err := t.Rename("/f", tt.name, true); !errors.Is(err, tt.want) {
			t.Errorf("rename to %q = %v, want %v", tt.name, err, tt.want)
		}
		t.fails(t.Symlink("t", tt.name), "symlink", tt.name, tt.want)
	}
	t.lists("/", "d", "f")
}

// testSlashes checks that a name that ends in a slash is only ever that of a
// directory.
func testSlashes(t *tester) {
	t.mkdir("/d/")
	t.write("/d/f", "f")
	t.symlink("d", "/ld")
	t.symlink("d/f", "/lf")
	t.lists("/ld/", "f")
	for _, name := range []string{"/d/", "/ld/"} {
		for what, stat := range map[string]func(string) (iofs.FileInfo, error){"stat": t.Stat, "lstat": t.Lstat} {
			if fi, err := stat(name); err != nil || !fi.IsDir() || fi.Name() != path.Base(name) {
				t.Errorf("%s %s = %v, %v, want a directory", what, name, fi, err)
			}
		}
		t.must(t.SetAttr(name, fs.Attr{Set: fs.AttrMode, Mode: 0o750, NoFollow: true}), "setattr "+name)
		t.fails(second(t.Readlink(name)), "readlink", name, iofs.ErrInvalid)
		t.openFails(name, os.O_RDONLY, fs.ErrIsDir)
		t.fails(t.Symlink("x", name), "symlink", name, iofs.ErrExist)
	}
	for name, want := range map[string]error{"/d/f/": fs.ErrNotDir, "/lf/": fs.ErrNotDir, "/none/": iofs.ErrNotExist} {
		t.allFail(name, want)
	}
	for _, name := range []string{"/d/", "/d/f/", "/none/"} {
		t.openFails(name, os.O_WRONLY|os.O_CREATE, fs.ErrIsDir)
		t.openFails(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.ErrIsDir)
		t.fails(t.Rename("/d/f", name, true), "rename", "/d/f", fs.ErrNotDir)
		t.fails(t.Rename("/ld", name, true), "rename", "/ld", fs.ErrNotDir)
		if t.Link("/d/f", name) == nil {
			t.Errorf("link to %s succeeded", name)
		}
	}
	t.fails(t.Symlink("x", "/none/"), "symlink", "/none/", iofs.ErrNotExist)
	t.fails(t.Remove("/d/"), "remove", "/d/", fs.ErrIsDir)
	t.fails(t.Remove("/ld/"), "remove", "/ld/", fs.ErrNotDir)
	t.fails(t.Rmdir("/ld/"), "rmdir", "/ld/", fs.ErrNotDir)
	t.fails(t.Rename("/ld/", "/x", true), "rename", "/ld/", fs.ErrNotDir)
	t.must(t.Rename("/d/", "/e/", false), "rename a directory")
	t.mkdir("/empty")
	t.must(t.Rename("/e/", "/empty/", true), "rename a directory over another")
	t.lists("/", "empty", "ld", "lf")
	t.holds("/empty/f", "f")
	t.mkdir("/d")
	t.must(t.Rmdir("/d/"), "rmdir")
}

// testRealpath checks what names become when all links are followed. The answers
// are those of OpenSSH's server, but for ".." after a file.
func testRealpath(t *tester) {
	t.mkdir("/d")
	t.mkdir("/d/sub")
	t.write("/d/f", "f")
	t.symlink("d/sub", "/l")
	t.symlink("/d/./sub/", "/d/abs")
	t.symlink("../../../d", "/d/up")
	t.symlink("l/../f", "/twice")
	t.symlink("nowhere", "/dangling")
	t.symlink("dangling", "/chain")
	t.symlink("loop", "/loop")
	for name, want := range map[string]string{
		"/": "/", "//": "/", "/.": "/", "/..": "/", "/../../d": "/d", "/d/": "/d", "/d/f": "/d/f", "/d/f/": "/d/f", "/./d//sub": "/d/sub",
		"/l": "/d/sub", "/l/": "/d/sub", "/l/..": "/d", "/l/../f": "/d/f", "/d/abs/../f": "/d/f", "/d/up/sub/..": "/d", "/twice": "/d/f",
		"/none": "/none", "/d/none": "/d/none", "/l/none": "/d/sub/none", "/dangling": "/nowhere", "/d/sub/../..": "/",
	} {
		if got, err := t.Realpath(name); got != want || err != nil {
			t.Errorf("Realpath(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"": iofs.ErrInvalid, "d": iofs.ErrInvalid, "/d\x00": iofs.ErrInvalid, "/none/": iofs.ErrNotExist, "/none/..": iofs.ErrNotExist,
		"/none/../d": iofs.ErrNotExist, "/none/x": iofs.ErrNotExist, "/dangling/x": iofs.ErrNotExist, "/chain/x": iofs.ErrNotExist, "/dangling/": iofs.ErrNotExist,
		"/d/f/..": fs.ErrNotDir, "/d/f/../f": fs.ErrNotDir, "/d/f/x": fs.ErrNotDir, "/twice/..": fs.ErrNotDir, "/loop": fs.ErrTooManyLinks,
		"/" + strings.Repeat("d/../", 1000): iofs.ErrInvalid,
	} {
		t.fails(second(t.Realpath(name)), "realpath", name, want)
	}
}

// testErrors checks that an error is about the name that was asked for, also
// where a link leads elsewhere.
func testErrors(t *tester) {
	t.mkdir("/target")
	t.symlink("/target", "/link")
	t.openFails("/link/none", os.O_RDONLY, iofs.ErrNotExist)
	t.fails(second(t.Stat("/link/none/x")), "stat", "/link/none/x", iofs.ErrNotExist)
	t.fails(t.Rmdir("/link/none"), "rmdir", "/link/none", iofs.ErrNotExist)
}

func testStatFS(t *tester) {
	u, err := t.StatFS("/")
	if err != nil || u.BlockSize == 0 || u.BlocksFree > u.Blocks || u.BlocksAvail > u.BlocksFree {
		t.Errorf("StatFS = %+v, %v", u, err)
	}
	t.fails(second(t.StatFS("/none")), "statfs", "/none", iofs.ErrNotExist)
}
