package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/policy"
)

// spy is a layer in which all files have one owner. It notes what is done with
// open files, and fails what fails says.
type spy struct {
	layer
	owner Owner
	did   []string
	fails string
}

func (s *spy) step(what string) error {
	s.did = append(s.did, what)
	if what == s.fails {
		return errDisk
	}
	return nil
}

func (s *spy) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		if err := s.step("read " + name); err != nil {
			return nil, err
		}
	}
	f, err := s.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return spied{f, s, name}, nil
}

func (s *spy) Lstat(name string) (iofs.FileInfo, error) {
	fi, err := s.layer.Lstat(name)
	if err == nil {
		fi.(*info).owner = s.owner
	}
	return fi, err
}

type spied struct {
	file
	s    *spy
	name string
}

// kind is what the file is: the temporary one of an upload, or that with the name.
func (f spied) kind() string {
	if hasTemp(f.name) {
		return "upload"
	}
	return f.name
}

func (f spied) Stat() (iofs.FileInfo, error) {
	fi, err := f.file.Stat()
	if err == nil && !hasTemp(f.name) {
		fi.(*info).owner = f.s.owner
	}
	return fi, err
}

func (f spied) WriteAt(p []byte, off int64) (int, error) {
	if err := f.s.step("write to " + f.kind()); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, off)
}

func (f spied) Sync() error { return errors.Join(f.s.step("sync "+f.kind()), f.file.Sync()) }

func (f spied) SetAttr(a Attr) error {
	if a.Set == AttrSize {
		if err := f.s.step("resize " + f.kind()); err != nil {
			return err
		}
	}
	if a.Set&AttrOwner == 0 {
		return f.file.SetAttr(a)
	}
	return f.s.step(fmt.Sprintf("give %s to %d:%d", f.kind(), a.UID, a.GID))
}

func newSpy(t *testing.T, content string) (host string, s *spy) {
	t.Helper()
	host = t.TempDir()
	write(t, host+"/f", content)
	l := mustJail(t, host)
	return host, &spy{layer: l}
}

// TestUploadKeepsOwner checks that the new file has the owner of the one that it
// replaces, in both ways to replace one.
func TestUploadKeepsOwner(t *testing.T) {
	for _, flag := range []int{truncating, os.O_WRONLY | os.O_CREATE} {
		_, s := newSpy(t, "old")
		s.owner = Owner{UID: 1234, GID: 4321, Nlink: 1}
		up := start(t, asFS(newUploads(s)), "/f", flag, "new", 0)
		owner := "give upload to 1234:4321"
		if !slices.Contains(s.did, owner) {
			t.Errorf("an upload over a file of 1234:4321 did %q, want %q", s.did, owner)
		}
		if err := up.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestEmptyLeftover checks that an empty leftover, as of a server that was killed
// just after the open, is neither shown nor resumed.
func TestEmptyLeftover(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	for _, name := range []string{"/new", "/old"} {
		write(t, host+partName("alice", name), "")
	}
	write(t, host+"/old", "content")
	for _, part := range []string{"/new", "/old"} { // younger than the file
		if err := os.Chtimes(host+partName("alice", part), time.Time{}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Stat("/new"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Stat of a name with an empty leftover = %v, want ErrNotExist", err)
	}
	if fi, err := f.Stat("/old"); err != nil || fi.Size() != 7 {
		t.Errorf("Stat of a file with an empty leftover = %v, %v, want its 7 bytes", fi, err)
	}
	if got := names(t, f, "/"); !slices.Equal(got, []string{"old"}) {
		t.Errorf("the listing has %q, want old only", got)
	}
}

// TestManyLeftovers lists a directory with more unfinished uploads than a listing
// keeps in memory.
func TestManyLeftovers(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	for i := range maxListed + 10 {
		write(t, host+partName("alice", fmt.Sprintf("/%d", i)), "half")
	}
	if got := len(names(t, f, "/")); got != maxListed {
		t.Errorf("%d unfinished uploads are listed, want %d", got, maxListed)
	}
}

// TestRmdirKeepsLeftovers checks that nobody loses what can be resumed through an
// Rmdir that fails.
func TestRmdirKeepsLeftovers(t *testing.T) {
	host := t.TempDir()
	if err := os.Mkdir(host+"/d", 0o777); err != nil {
		t.Fatal(err)
	}
	const left = 30
	bob := mustOpen(t, atomicPolicy(host, "bob"), Settings{})
	for i := range left {
		if err := start(t, bob, fmt.Sprintf("/d/%d", i), truncating, "half", 0).Abort(); err != nil {
			t.Fatal(err)
		}
	}
	running := start(t, mustOpen(t, atomicPolicy(host, "carol"), Settings{}), "/d/f", truncating, "half", 0)
	l := mustJail(t, host)
	alice := &uploads{layer: lastName{l, path.Base(partName("carol", "/d/f"))}, ledger: sharedLedger, host: host, person: "alice", atomic: true}
	if err := alice.Rmdir("/d"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("Rmdir during an upload = %v, want ErrNotEmpty", err)
	}
	if got := temps(t, host+"/d"); got != left+1 {
		t.Errorf("%d temporary files are there after it, want %d", got, left+1)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
}

// lastName is a layer in which one name comes last in its directory.
type lastName struct {
	layer
	name string
}

func (l lastName) names(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for base, err := range l.layer.names(dir) {
			if base != l.name && !yield(base, err) {
				return
			}
		}
		yield(l.name, nil)
	}
}

// TestKeptFromAbort checks that an upload is kept from the moment it broke off,
// whatever times the client has given it.
func TestKeptFromAbort(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	up := start(t, f, "/f", truncating, "half", 0)
	err := up.SetAttr(Attr{Set: AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0)})
	if err := errors.Join(err, up.Abort()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first would remove it
		if got := names(t, f, "/"); !slices.Equal(got, []string{"f"}) {
			t.Errorf("the listing has %q, want the unfinished upload", got)
		}
	}
}

// TestFailedWriteIsNotCounted has a write fail in a file that stays open: the quota
// counts the bytes that are there, and not those that should have been written.
func TestFailedWriteIsNotCounted(t *testing.T) {
	_, s := newSpy(t, "12345")
	q := newQuota(s, new(Quotas).of(t.TempDir()), Amount{}, nil)
	f, err := q.OpenFile("/f", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.fails = "write to /f"
	before := q.u.Used().Bytes
	if _, err := f.WriteAt(make([]byte, 1000), 0); !errors.Is(err, errDisk) {
		t.Errorf("WriteAt = %v, want the error of the disk", err)
	}
	if q.u.Used().Bytes != before {
		t.Errorf("after a write that failed %d bytes are counted, want %d", q.u.Used().Bytes, before)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestRewriteFails changes a part of a file and the beginning, in the way of
// OpenSSH's scp, while the old content cannot be read, or is another by now. What
// cannot be made whole never gets the name.
func TestRewriteFails(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func(host string, s *spy)
		want   string
	}{
		"unreadable": {func(_ string, s *spy) { s.fails = "read /f" }, "old content"},
		"replaced": {func(host string, _ *spy) {
			write(t, host+"/g", "newer content")
			if err := os.Rename(host+"/g", host+"/f"); err != nil {
				t.Error(err)
			}
		}, "newer content"},
	} {
		host, s := newSpy(t, "old content")
		up := start(t, asFS(newUploads(s)), "/f", os.O_WRONLY|os.O_CREATE, "new", 0)
		tt.breaks(host, s)
		if _, err := up.WriteAt([]byte("!"), 8); err == nil {
			t.Errorf("%s: a write after what cannot be copied succeeded", name)
		}
		if err := up.Close(); err == nil {
			t.Errorf("%s: Close succeeded", name)
		}
		hostHolds(t, host+"/f", tt.want)
		if n := temps(t, host); n != 0 {
			t.Errorf("%s: %d temporary files are left", name, n)
		}
	}
}

// TestRewriteSyncs checks that Sync is called for the file to which the data was
// written.
func TestRewriteSyncs(t *testing.T) {
	_, s := newSpy(t, "old")
	up := start(t, asFS(newUploads(s)), "/f", os.O_WRONLY|os.O_CREATE, "new", 0)
	if err := up.Sync(); err != nil {
		t.Fatal(err)
	}
	if last := s.did[len(s.did)-1]; last != "sync upload" {
		t.Errorf("Sync did %q, want the upload synced", last)
	}
	if err := up.Close(); err != nil {
		t.Error(err)
	}
}

// TestFilesAreClosed ends files in every way: no descriptor remains.
func TestFilesAreClosed(t *testing.T) {
	for what, end := range map[string]func(File) error{"Close": File.Close, "Abort": File.Abort} {
		for _, flag := range []int{os.O_RDONLY, truncating, os.O_WRONLY, os.O_WRONLY | os.O_CREATE, os.O_WRONLY | os.O_APPEND} {
			host := t.TempDir()
			f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
			before := descriptors(t)
			for range 3 {
				write(t, host+"/f", strings.Repeat("old", 5))
				file, err := f.OpenFile("/f", flag, 0o666)
				if err != nil {
					t.Fatal(err)
				}
				if writes(flag) {
					_, err = file.WriteAt([]byte("new"), 0)
					_, err2 := file.WriteAt([]byte("new"), 9)
					err = errors.Join(err, err2)
				}
				if err := errors.Join(err, end(file)); err != nil {
					t.Errorf("flag %#x, %s = %v", flag, what, err)
				}
			}
			if got := descriptors(t); got != before {
				t.Errorf("flag %#x, %s: %d descriptors remain", flag, what, got-before)
			}
		}
	}
}

// TestTempHasAnotherName locks a file that has got its name meanwhile.
func TestTempHasAnotherName(t *testing.T) {
	host, s := newSpy(t, "")
	write(t, host+"/temp", "half")
	f, err := s.OpenFile("/temp", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(host+"/temp", host+"/f"); err != nil {
		t.Fatal(err)
	}
	write(t, host+"/temp", "of another session")
	if _, err := lockTemp(s, f, "/temp"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("lockTemp = %v, want ErrNotExist", err)
	}
}

func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		dir, name string
		want      bool
	}{
		{"/", "/", true},
		{"/", "/a", true},
		{"/a", "/a", true},
		{"/a", "/a/b", true},
		{"/a", "/ab", false},
		{"/a", "/ab/c", false},
		{"/a/b", "/a", false},
	} {
		if got := policy.Below(tt.dir, tt.name); got != tt.want {
			t.Errorf("below(%q, %q) = %t", tt.dir, tt.name, got)
		}
	}
}

// TestDropBoxDirectories has a session look at the directories that it made, where
// it may not list, and at those of others.
func TestDropBoxDirectories(t *testing.T) {
	host := t.TempDir()
	p := full(host)
	p.Access[0].Ops = policy.DropBox | policy.Mkdir
	f := mustOpen(t, p, Settings{})
	if err := errors.Join(f.Mkdir("/own", 0o777), os.Mkdir(host+"/others", 0o777)); err != nil {
		t.Fatal(err)
	}
	if fi, err := f.Stat("/own"); err != nil || !fi.IsDir() {
		t.Errorf("Stat of a directory of this session = %v, %v", fi, err)
	}
	if fi, err := f.Stat("/others"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Stat of another directory = %v, %v, want ErrNotExist", fi, err)
	}
}

// TestOwnFiles checks what a session may not do with its own files either: take
// the name of one with O_EXCL, and carry one to a place with other rights without
// the right to rename.
func TestOwnFiles(t *testing.T) {
	host := t.TempDir()
	if err := os.Mkdir(host+"/out", 0o777); err != nil {
		t.Fatal(err)
	}
	p := dropBox(host)
	p.Access = append(p.Access, policy.Access{Path: "/out", Ops: policy.DropBox | policy.Read | policy.List})
	f := mustOpen(t, p, Settings{})
	if err := writeTo(f, "/f", truncating, "content"); err != nil {
		t.Fatal(err)
	}
	if err := openClose(f, "/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("exclusive open of an own file = %v, want ErrExist", err)
	}
	if err := f.Rename("/f", "/out/f", false); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("Rename to a place with other rights = %v, want ErrPermission", err)
	}
	if err := f.Rename("/f", "/g", false); err != nil {
		t.Errorf("Rename within the drop box = %v", err)
	}
}

// TestKeepOwner checks that the present owner is no change, and that any other is
// refused. Where files are the person's, another group is for the disk to decide.
func TestKeepOwner(t *testing.T) {
	stat := func() (iofs.FileInfo, error) { return &info{owner: Owner{UID: 1, GID: 2}}, nil }
	folders := newMounts([]mounted{{path: "/"}, {path: "/hers", as: &actor{}}, {path: "/hers/fixed", as: &actor{}}})
	p := &policy.Policy{Access: []policy.Access{{Path: "/", Ops: policy.Full}, {Path: "/hers/fixed", Ops: policy.Write}}}
	g := newGuard(nil, p, folders)
	for _, tt := range []struct {
		name     string
		uid, gid uint32
		want     error
		left     AttrSet
	}{
		{"/f", 1, 2, nil, AttrMode},
		{"/f", sameOwner, 2, nil, AttrMode},
		{"/f", 1, sameOwner, nil, AttrMode},
		{"/f", sameOwner, sameOwner, nil, AttrMode},
		{"/f", 1, 3, iofs.ErrPermission, 0},
		{"/f", 3, 2, iofs.ErrPermission, 0},
		{"/f", sameOwner, 1, iofs.ErrPermission, 0},
		{"/hers/f", 1, 2, nil, AttrMode},
		{"/hers/f", 1, 3, nil, AttrMode | AttrOwner},
		{"/hers/f", sameOwner, 3, nil, AttrMode | AttrOwner},
		{"/hers/f", 3, 2, iofs.ErrPermission, 0},
		{"/hers/f", 3, 3, iofs.ErrPermission, 0},
		{"/hers/fixed/f", 1, 2, nil, AttrMode},
		{"/hers/fixed/f", 1, 3, iofs.ErrPermission, 0},
	} {
		a, err := g.keepOwner(g.rules.Load(), Attr{Set: AttrOwner | AttrMode, UID: tt.uid, GID: tt.gid}, tt.name, stat)
		if !errors.Is(err, tt.want) || err == nil && (a.Set != tt.left || a.UID != sameOwner && a.Set&AttrOwner != 0) {
			t.Errorf("keepOwner(%s, %d, %d) = %+v, %v; want %v and %b left", tt.name, tt.uid, tt.gid, a, err, tt.want, tt.left)
		}
	}
}

// TestFailedTruncation checks that nothing of an open remains whose second step, the
// truncation, fails.
func TestFailedTruncation(t *testing.T) {
	host, s := newSpy(t, "12345")
	s.fails = "resize /f"
	q := newQuota(s, new(Quotas).of(host), Amount{}, nil)
	before := descriptors(t)
	if _, err := q.OpenFile("/f", os.O_WRONLY|os.O_TRUNC, 0); !errors.Is(err, errDisk) {
		t.Errorf("OpenFile = %v, want the error of the disk", err)
	}
	if got := descriptors(t); got != before || len(q.u.open) != 0 || q.u.Used().Bytes != 5 {
		t.Errorf("%d descriptors and %d files are open, and %d bytes are counted, want %d, 0 and 5", got, len(q.u.open), q.u.Used().Bytes, before)
	}
}

// TestOwnTimes sets the times after an upload, as clients do, without the right to
// set attributes and with all others that concern an own file, or that to overwrite.
func TestOwnTimes(t *testing.T) {
	for _, ops := range []policy.Op{policy.Full &^ policy.SetAttr, policy.Overwrite} {
		p := full(sample(t))
		p.Access[0].Ops = ops
		f := mustOpen(t, p, Settings{})
		if err := writeTo(f, "/f", truncating, "content"); err != nil {
			t.Fatal(err)
		}
		when := Attr{Set: AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0)}
		if err := f.SetAttr("/f", when); err != nil {
			t.Errorf("times of an own file with the rights %q = %v", ops, err)
		}
	}
}

// TestUploadSurvivesReload has the rules change to equal ones during an upload to a
// drop box.
func TestUploadSurvivesReload(t *testing.T) {
	for _, flag := range []int{truncating, os.O_WRONLY | os.O_CREATE | os.O_EXCL} {
		host := t.TempDir()
		f := mustOpen(t, dropBox(host), Settings{})
		up := start(t, f, "/f", flag, "half", 0)
		f.(*View).SetPolicy(dropBox(host))
		if _, err := up.WriteAt([]byte(" more"), 4); err != nil {
			t.Errorf("write after a reload = %v", err)
		}
		if err := up.Close(); err != nil {
			t.Errorf("Close after a reload = %v", err)
		}
		hostHolds(t, host+"/f", "half more")
	}
}

// TestTempLooksAbsent checks that the name of a temporary file seems not to exist,
// whether it does or not, for somebody who may only list.
func TestTempLooksAbsent(t *testing.T) {
	host := t.TempDir()
	p := full(host)
	p.Access[0].Ops = policy.ReadOnly
	f := mustOpen(t, p, Settings{})
	there, missing := "/"+newTempName(), "/"+newTempName()
	write(t, host+there, "half")
	for _, name := range []string{there, missing} {
		if _, err := f.Stat(name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Stat(%s) = %v, want ErrNotExist", name, err)
		}
	}
}
