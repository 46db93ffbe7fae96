package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/policy"
)

// operations is every way to the files of an FS and what it needs, on a tree
// that has the file /f, the directory /d, the empty directory /e and the link
// /l. Each is tried with every set of rights that is one short of what it needs
// and with just what it needs.
var operations = []struct {
	name  string
	needs policy.Op
	do    func(f FS) error
}{
	{"stat", policy.List, func(f FS) error { _, err := f.Stat("/f"); return err }},
	{"lstat", policy.List, func(f FS) error { _, err := f.Lstat("/l"); return err }},
	{"readdir", policy.List, func(f FS) error { return readDirErr(f, "/d") }},
	{"readdir of the root", policy.List, func(f FS) error { return readDirErr(f, "/") }},
	{"readlink", policy.Read, func(f FS) error { _, err := f.Readlink("/l"); return err }},
	{"read", policy.Read, func(f FS) error { return openClose(f, "/f", os.O_RDONLY) }},
	{"read through a link", policy.Read, func(f FS) error { return openClose(f, "/l", os.O_RDONLY) }},
	{"create", policy.Create, func(f FS) error { return openClose(f, "/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL) }},
	{"create or truncate, new", policy.Create, func(f FS) error { return openClose(f, "/new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC) }},
	{"create for both, new", policy.Create, func(f FS) error { return openClose(f, "/new", os.O_RDWR|os.O_CREATE|os.O_TRUNC) }},
	{"create for reading, new", policy.Create, func(f FS) error { return openClose(f, "/new", os.O_RDONLY|os.O_CREATE) }},
	{"create or truncate, old", policy.Overwrite, func(f FS) error { return openClose(f, "/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC) }},
	{"write in place", policy.Overwrite, func(f FS) error { return openClose(f, "/f", os.O_WRONLY) }},
	{"write in place, O_EXCL alone", policy.Overwrite, func(f FS) error { return openClose(f, "/f", os.O_WRONLY|os.O_EXCL) }},
	{"append", policy.Overwrite, func(f FS) error { return openClose(f, "/f", os.O_WRONLY|os.O_APPEND) }},
	{"truncate at open for reading", policy.Overwrite, func(f FS) error { return openClose(f, "/f", os.O_RDONLY|os.O_TRUNC) }},
	{"write through a link", policy.Overwrite, func(f FS) error { return openClose(f, "/l", os.O_WRONLY) }},
	{"mkdir", policy.Mkdir, func(f FS) error { return f.Mkdir("/new", 0o777) }},
	{"remove", policy.Delete, func(f FS) error { return f.Remove("/f") }},
	{"remove a link", policy.Delete, func(f FS) error { return f.Remove("/l") }},
	{"rmdir", policy.Rmdir, func(f FS) error { return f.Rmdir("/e") }},
	{"rename", policy.Rename, func(f FS) error { return f.Rename("/f", "/new", false) }},
	{"rename a directory", policy.Rename, func(f FS) error { return f.Rename("/d", "/new", false) }},
	{"rename over a file", policy.Rename | policy.Overwrite, func(f FS) error { return f.Rename("/f", "/d/g", true) }},
	{"rename over a directory", policy.Rename | policy.Rmdir, func(f FS) error { return f.Rename("/d", "/e", true) }},
	{"chmod", policy.SetAttr, func(f FS) error { return f.SetAttr("/f", Attr{Set: AttrMode, Mode: 0o600}) }},
	{"times", policy.SetAttr, func(f FS) error {
		return f.SetAttr("/f", Attr{Set: AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0)})
	}},
	{"size", policy.Overwrite, func(f FS) error { return f.SetAttr("/f", Attr{Set: AttrSize, Size: 1}) }},
	{"size and mode", policy.Overwrite | policy.SetAttr, func(f FS) error {
		return f.SetAttr("/f", Attr{Set: AttrSize | AttrMode, Size: 1, Mode: 0o600})
	}},
	{"symlink", policy.Symlink, func(f FS) error { return f.Symlink("f", "/new") }},
	{"link", policy.Symlink, func(f FS) error { return f.Link("/f", "/new") }},
	{"read what is open for both", policy.Overwrite | policy.Read, func(f FS) error {
		return withOpen(f, "/f", os.O_RDWR, func(file File) error { _, err := file.ReadAt(make([]byte, 1), 0); return err })
	}},
	{"write to an open file", policy.Overwrite, func(f FS) error {
		return withOpen(f, "/f", os.O_WRONLY, func(file File) error { _, err := file.WriteAt([]byte("x"), 0); return err })
	}},
	{"size of an open file", policy.Overwrite, func(f FS) error {
		return withOpen(f, "/f", os.O_WRONLY, func(file File) error { return file.SetAttr(Attr{Set: AttrSize, Size: 1}) })
	}},
	{"mode of an open file", policy.Overwrite | policy.SetAttr, func(f FS) error {
		return withOpen(f, "/f", os.O_WRONLY, func(file File) error { return file.SetAttr(Attr{Set: AttrMode, Mode: 0o600}) })
	}},
	{"mode of a file open for reading", policy.Read | policy.SetAttr, func(f FS) error {
		return withOpen(f, "/f", os.O_RDONLY, func(file File) error { return file.SetAttr(Attr{Set: AttrMode, Mode: 0o600}) })
	}},
}

// withOpen opens name, does something to the file and closes it.
func withOpen(f FS, name string, flag int, do func(File) error) error {
	file, err := f.OpenFile(name, flag, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(do(file), file.Close())
}

func openClose(f FS, name string, flag int) error {
	file, err := f.OpenFile(name, flag, 0o666)
	if err != nil {
		return err
	}
	return file.Close()
}

func readDirErr(f FS, name string) error {
	for _, err := range f.ReadDir(name) {
		if err != nil {
			return err
		}
	}
	return nil
}

// sample fills a host directory for operations.
func sample(t *testing.T) string {
	t.Helper()
	host := t.TempDir()
	err := errors.Join(
		os.WriteFile(host+"/f", []byte("content"), 0o644),
		os.Mkdir(host+"/d", 0o755),
		os.WriteFile(host+"/d/g", []byte("g"), 0o644),
		os.Mkdir(host+"/e", 0o755),
		os.Symlink("f", host+"/l"))
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// TestGuardMatrix tries every operation with exactly the rights that it
// needs, and with all rights except one that it needs.
func TestGuardMatrix(t *testing.T) {
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		for _, tt := range operations {
			host := sample(t)
			p := full(host)
			p.Uploads = uploads
			before := snapshot(t, host)
			short := append(without(tt.needs), 0, policy.Full&^tt.needs)
			for _, missing := range without(tt.needs) {
				short = append(short, policy.Full&^(tt.needs&^missing))
			}
			for _, ops := range short {
				err := try(t, p, ops, tt.do)
				if !errors.Is(err, iofs.ErrPermission) && !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("%s, %s with rights %q = %v, want ErrPermission or ErrNotExist", uploads, tt.name, ops, err)
				}
			}
			if after := snapshot(t, host); after != before {
				t.Errorf("%s, %s was refused but changed\n%sto\n%s", uploads, tt.name, before, after)
			}
			if err := try(t, p, tt.needs, tt.do); err != nil {
				t.Errorf("%s, %s with rights %q = %v, want it allowed", uploads, tt.name, tt.needs, err)
			}
		}
	}
}

// try does one operation with the rights ops.
func try(t *testing.T, p *policy.Policy, ops policy.Op, do func(FS) error) error {
	t.Helper()
	limited := *p
	limited.Access = []policy.Access{{Path: "/", Ops: ops}}
	return do(mustOpen(t, &limited, Settings{}))
}

// without is every set that lacks one operation of ops.
func without(ops policy.Op) []policy.Op {
	var sets []policy.Op
	for bit := policy.Op(1); bit <= ops; bit <<= 1 {
		if ops&bit != 0 {
			sets = append(sets, ops&^bit)
		}
	}
	return sets
}

// snapshot is a host directory as text: names, modes, contents, targets.
func snapshot(t testing.TB, host string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(host, func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		content := ""
		switch {
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fi.ModTime().String() + " " + string(data)
		case fi.Mode()&iofs.ModeSymlink != 0:
			content, err = os.Readlink(path)
			if err != nil {
				return err
			}
		}
		b.WriteString(path + " " + fi.Mode().String() + " " + content + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGuardFollowsLinks checks that a link does not lead around the rights of
// the place it leads to.
func TestGuardFollowsLinks(t *testing.T) {
	host := sample(t)
	p := full(host)
	p.Access = append(p.Access, policy.Access{Path: "/d"}, policy.Access{Path: "/e", Ops: policy.ReadOnly})
	f := mustOpen(t, p, Settings{})
	for _, link := range []string{"d/g", "/d/g", "../d/./g"} {
		if err := f.Symlink(link, "/new"); err != nil {
			t.Fatal(err)
		}
		if err := openClose(f, "/new", os.O_RDONLY); !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("read through a link to %s = %v, want ErrPermission", link, err)
		}
		if err := f.SetAttr("/new", Attr{Set: AttrMode, Mode: 0o777}); !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("setattr through a link to %s = %v, want ErrPermission", link, err)
		}
		if err := f.Remove("/new"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Symlink("e", "/dir"); err != nil {
		t.Fatal(err)
	}
	if err := openClose(f, "/dir/x", os.O_WRONLY|os.O_CREATE); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("create through a link to a read-only directory = %v, want ErrPermission", err)
	}
	if err := f.Link("/d/g", "/g"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("hard link to what may not be read = %v, want ErrPermission", err)
	}
	if err := os.Symlink("e", host+"/way"); err != nil {
		t.Fatal(err)
	}
	p.Access = []policy.Access{{Path: "/", Ops: policy.List}, {Path: "/e", Ops: policy.Full}}
	f.(*View).SetPolicy(p)
	if err := openClose(f, "/way/x", truncating); err != nil { // the rights of /way do not count
		t.Errorf("create through a link to a directory with all rights = %v", err)
	}
	p.Access = append(full(host).Access, policy.Access{Path: "/d"}, policy.Access{Path: "/e", Ops: policy.ReadOnly})
	f.(*View).SetPolicy(p)
	for _, name := range []string{"/d", "/e"} {
		if err := f.Rename(name, "/elsewhere", false); !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("rename of %s, which has rights of its own = %v, want ErrPermission", name, err)
		}
	}
}

// TestExistenceFirst checks that a refusal comes after the answer whether a name
// exists, as on any system, where a person may list; and not elsewhere.
func TestExistenceFirst(t *testing.T) {
	host := sample(t)
	inner := t.TempDir()
	p := full(host)
	p.Folders = append(p.Folders, policy.Folder{Path: "/far/away", Host: inner})
	p.Access = []policy.Access{
		{Path: "/", Ops: policy.List | policy.Create | policy.Rename},
		{Path: "/d", Ops: policy.List},
		{Path: "/e", Ops: policy.Create},
		{Path: "/far", Ops: policy.List},
		{Path: "/far/away", Ops: policy.Full},
	}
	f := mustOpen(t, p, Settings{})
	mode := Attr{Set: AttrMode, Mode: 0o600}
	const excl = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	for what, tt := range map[string]struct{ err, want error }{
		"mkdir of a directory":       {f.Mkdir("/d", 0o755), iofs.ErrExist},
		"mkdir of a file":            {f.Mkdir("/f", 0o755), iofs.ErrExist},
		"mkdir of the root":          {f.Mkdir("/", 0o755), iofs.ErrExist},
		"mkdir of a virtual folder":  {f.Mkdir("/far", 0o755), iofs.ErrExist},
		"mkdir of a folder":          {f.Mkdir("/far/away", 0o755), iofs.ErrExist},
		"mkdir":                      {f.Mkdir("/d/new", 0o755), iofs.ErrPermission},
		"mkdir in a virtual folder":  {f.Mkdir("/far/new", 0o755), iofs.ErrPermission},
		"mkdir in none":              {f.Mkdir("/none/new", 0o755), iofs.ErrNotExist},
		"mkdir in a file":            {f.Mkdir("/f/new", 0o755), ErrNotDir},
		"remove":                     {f.Remove("/f"), iofs.ErrPermission},
		"remove of none":             {f.Remove("/none"), iofs.ErrNotExist},
		"rmdir":                      {f.Rmdir("/d"), iofs.ErrPermission},
		"rmdir of none":              {f.Rmdir("/none"), iofs.ErrNotExist},
		"rmdir of none below":        {f.Rmdir("/d/none"), iofs.ErrNotExist},
		"rename of none":             {f.Rename("/d/none", "/d/new", false), iofs.ErrNotExist},
		"setattr":                    {f.SetAttr("/f", mode), iofs.ErrPermission},
		"setattr of none":            {f.SetAttr("/none", mode), iofs.ErrNotExist},
		"size of none":               {f.SetAttr("/none", Attr{Set: AttrSize}), iofs.ErrNotExist},
		"read":                       {openClose(f, "/f", os.O_RDONLY), iofs.ErrPermission},
		"read of none":               {openClose(f, "/none", os.O_RDONLY), iofs.ErrNotExist},
		"write":                      {openClose(f, "/f", os.O_WRONLY), iofs.ErrPermission},
		"write of none":              {openClose(f, "/none", os.O_WRONLY), iofs.ErrNotExist},
		"create":                     {openClose(f, "/d/new", truncating), iofs.ErrPermission},
		"create in none":             {openClose(f, "/d/none/new", truncating), iofs.ErrNotExist},
		"create what is there":       {openClose(f, "/d/g", excl), iofs.ErrExist},
		"create or write":            {openClose(f, "/d/g", truncating), iofs.ErrPermission},
		"readlink of none":           {second(f.Readlink("/none")), iofs.ErrNotExist},
		"symlink over a file":        {f.Symlink("x", "/f"), iofs.ErrExist},
		"symlink":                    {f.Symlink("x", "/new"), iofs.ErrPermission},
		"link over a file":           {f.Link("/d/g", "/f"), iofs.ErrExist},
		"in a drop box, mkdir":       {f.Mkdir("/e/new", 0o755), iofs.ErrPermission},
		"in a drop box, remove":      {f.Remove("/e/none"), iofs.ErrPermission},
		"in a drop box, setattr":     {f.SetAttr("/e/none", mode), iofs.ErrPermission},
		"in a drop box, read":        {openClose(f, "/e/none", os.O_RDONLY), iofs.ErrPermission},
		"in a drop box, create deep": {openClose(f, "/e/none/new", truncating), iofs.ErrNotExist},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s = %v, want %v", what, tt.err, tt.want)
		}
	}
	p.Access[0].Ops = policy.List | policy.Overwrite // may be overwritten but not made
	f.(*View).SetPolicy(p)
	for name, want := range map[string]error{"/new": iofs.ErrPermission, "/none/new": iofs.ErrNotExist} {
		if err := openClose(f, name, truncating); !errors.Is(err, want) {
			t.Errorf("create of %s where files may be overwritten = %v, want %v", name, err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestWindowsNames checks the spellings of names in folders that are compared as
// Windows does, and that the others are left alone.
func TestWindowsNames(t *testing.T) {
	host, share := t.TempDir(), t.TempDir()
	p := full(host)
	p.Folders = append(p.Folders, policy.Folder{Path: "/share", Host: share, WindowsNames: string(policy.Refuse)})
	p.Access = append(p.Access, policy.Access{Path: "/share", Ops: policy.Full, Names: policy.Names{Deny: []string{"*.exe", "*.secret"}}},
		policy.Access{Path: "/share/Archive", Ops: policy.ReadOnly}, policy.Access{Path: "/share/nul", Ops: policy.Full})
	if err := errors.Join(os.Mkdir(host+"/share", 0o755), os.Mkdir(share+"/Archive", 0o755), os.Mkdir(share+"/archive", 0o755), os.Mkdir(share+"/nul", 0o755)); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, p, Settings{})
	refused := []string{
		"a.exe.", "a.exe ", "a.exe. .", "a.exe::$DATA", "a:b", `a\b`, "A~1.SEC", "LONGNA~1", "abc~12.ex", "con", "Aux", "nul.txt", "com1", "LPT9.log", "prn .x", "...", " ",
		"ARCHIVE/x", "archive", "aRCHIVE", "Archive./x", "nul/prn", ".Berth-Upload-x",
	}
	allowed := []string{"a.e", ".a", "a b", "console", "com", "com10", "com1a", "lptx", "a~b", "a~1b", "longname~1", "a~1.html", "nulx", "nul/x", "Archives"}
	for _, base := range refused {
		name := "/share/" + base
		if err := f.Mkdir(name, 0o755); !errors.Is(err, iofs.ErrPermission) && !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("mkdir %q = %v, want it refused", name, err)
		}
		if _, err := f.Stat(name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("stat %q = %v, want ErrNotExist", name, err)
		}
	}
	for _, base := range allowed {
		if err := f.Mkdir("/share/"+base, 0o755); err != nil {
			t.Errorf("mkdir %q = %v, want it allowed", base, err)
		}
	}
	for _, base := range refused[:17] {
		if err := openClose(f, "/"+base, truncating); err != nil {
			t.Errorf("create %q in a folder of another kind = %v", base, err)
		}
	}
	if got := strings.Join(names(t, f, "/share"), " "); strings.Contains(got, "archive") || !strings.Contains(got, "Archive") {
		t.Errorf("the share lists %q, want Archive and not archive", got)
	}
}

func TestHiddenNames(t *testing.T) {
	host := sample(t)
	for _, name := range []string{"a.exe", "b.txt", tempPrefix + "x"} {
		if err := os.WriteFile(filepath.Join(host, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(host+"/dir.exe", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, hide := range []bool{false, true} {
		p := full(host)
		p.Access[0].Names = policy.Names{Deny: []string{"*.exe"}}
		p.Access[0].Hide = hide
		f := mustOpen(t, p, Settings{})
		listed := map[string]bool{}
		for fi, err := range f.ReadDir("/") {
			if err != nil {
				t.Fatal(err)
			}
			listed[fi.Name()] = true
		}
		if listed["a.exe"] == hide || listed["dir.exe"] == hide || !listed["b.txt"] || listed[tempPrefix+"x"] {
			t.Errorf("hide %t: listed %v", hide, listed)
		}
		want := iofs.ErrPermission
		if hide {
			want = iofs.ErrNotExist
		}
		readOnly := *p
		readOnly.Access = []policy.Access{{Path: "/", Ops: policy.ReadOnly, Names: p.Access[0].Names, Hide: hide}}
		f.(*View).SetPolicy(&readOnly)
		if _, err := f.Stat("/dir.exe/x"); !errors.Is(err, want) {
			t.Errorf("hide %t: Stat below a refused directory = %v, want %v", hide, err, want)
		}
		f.(*View).SetPolicy(p)
		if err := openClose(f, "/a.exe", os.O_RDONLY); !errors.Is(err, want) {
			t.Errorf("hide %t: open = %v, want %v", hide, err, want)
		}
		if err := f.Rename("/b.txt", "/c.exe", false); err == nil {
			t.Errorf("hide %t: rename to a refused name succeeded", hide)
		}
		if _, err := f.Stat("/" + tempPrefix + "x"); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Stat of a temporary file = %v, want ErrNotExist", err)
		}
		for name, err := range map[string]error{
			"open":   openClose(f, "/"+tempPrefix+"y", os.O_WRONLY|os.O_CREATE),
			"mkdir":  f.Mkdir("/"+tempPrefix+"d", 0o777),
			"rename": f.Rename("/b.txt", "/"+tempPrefix+"z", true),
		} {
			if !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("%s of a temporary name = %v, want ErrPermission", name, err)
			}
		}
	}
}

func TestOwnerNeverChanges(t *testing.T) {
	f := mustOpen(t, full(sample(t)), Settings{})
	fi, err := f.Stat("/f")
	if err != nil {
		t.Fatal(err)
	}
	o := *fi.Sys().(*Owner)
	if err := f.SetAttr("/f", Attr{Set: AttrOwner, UID: o.UID, GID: o.GID}); err != nil {
		t.Errorf("set the owner there is = %v", err)
	}
	for _, same := range []Attr{{UID: sameOwner, GID: o.GID}, {UID: o.UID, GID: sameOwner}, {UID: sameOwner, GID: sameOwner}} {
		same.Set = AttrOwner
		if err := f.SetAttr("/f", same); err != nil {
			t.Errorf("set owner %d and group %d, which changes nothing = %v", same.UID, same.GID, err)
		}
	}
	if err := f.SetAttr("/f", Attr{Set: AttrOwner, UID: sameOwner, GID: o.GID + 1}); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("set another group = %v, want ErrPermission", err)
	}
	if err := f.SetAttr("/f", Attr{Set: AttrOwner, UID: o.UID + 1, GID: o.GID}); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("set another owner = %v, want ErrPermission", err)
	}
}

// TestWayToPlaces checks that one finds what one has rights on, and nothing
// else, where one may not list.
func TestWayToPlaces(t *testing.T) {
	host := sample(t)
	for _, ops := range []policy.Op{0, policy.DropBox} {
		p := full(host)
		p.Access = []policy.Access{{Path: "/", Ops: ops}, {Path: "/d", Ops: policy.ReadOnly}}
		f := mustOpen(t, p, Settings{})
		if got := strings.Join(names(t, f, "/"), " "); got != "d" {
			t.Errorf("ReadDir(/) with rights %q lists %q, want d alone", ops, got)
		}
		if got := strings.Join(names(t, f, "/d"), " "); got != "g" {
			t.Errorf("ReadDir(/d) lists %q, want g", got)
		}
	}
}

func TestIgnoreSetAttr(t *testing.T) {
	host := sample(t)
	p := full(host)
	p.Access[0].Ops = policy.ReadOnly | policy.Write
	p.IgnoreSetAttr = true
	f := mustOpen(t, p, Settings{})
	before, err := f.Stat("/f")
	if err != nil {
		t.Fatal(err)
	}
	a := Attr{Set: AttrMode | AttrTimes | AttrOwner, Mode: 0o777, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0), UID: 12345}
	w, err := f.OpenFile("/f", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.SetAttr("/f", a), w.SetAttr(a), w.Close()); err != nil {
		t.Errorf("SetAttr = %v, want it ignored", err)
	}
	if fi, err := f.Stat("/f"); err != nil || fi.Mode() != before.Mode() || !fi.ModTime().Equal(before.ModTime()) {
		t.Errorf("file is %v, %v, want it as it was", fi, err)
	}
	if err := f.SetAttr("/none", a); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("SetAttr of what is not there = %v, want ErrNotExist", err)
	}
	a.Set |= AttrSize
	if err := f.SetAttr("/f", a); err != nil {
		t.Errorf("SetAttr with the size = %v, want that set", err)
	}
	if fi, err := f.Stat("/f"); err != nil || fi.Size() != 0 {
		t.Errorf("file is %v, %v, want it empty", fi, err)
	}
}
