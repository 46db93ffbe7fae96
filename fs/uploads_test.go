package fs

import (
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
)

// newUploads is a layer of alice's own.
func newUploads(l layer) *uploads {
	return &uploads{layer: l, ledger: newLedger(), person: "alice", atomic: true, keep: time.Hour}
}

func atomicPolicy(host, user string) *policy.Policy {
	p := full(host)
	p.User = &directory.User{Name: user}
	p.Uploads = policy.Atomic
	return p
}

const truncating = os.O_WRONLY | os.O_CREATE | os.O_TRUNC

func start(t *testing.T, f FS, name string, flag int, content string, off int64) File {
	t.Helper()
	file, err := f.OpenFile(name, flag, 0o666)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	if _, err := file.WriteAt([]byte(content), off); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return file
}

func hostHolds(t *testing.T, host, want string) {
	t.Helper()
	got, err := os.ReadFile(host)
	if errors.Is(err, iofs.ErrNotExist) {
		got, err = []byte("nothing"), nil
	}
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", filepath.Base(host), got, err, want)
	}
}

// temps counts the temporary files in a host directory.
func temps(t *testing.T, host string) int {
	t.Helper()
	entries, err := os.ReadDir(host)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if isTemp(e.Name()) {
			n++
		}
	}
	return n
}

func TestUploadAppearsWhenClosed(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := os.WriteFile(host+"/old", []byte("old"), 0o604); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/new", "/old"} {
		before := "nothing"
		if name == "/old" {
			before = "old"
		}
		up := start(t, f, name, truncating, "whole", 0)
		hostHolds(t, host+name, before)
		if fi, err := f.Stat(name); err != nil || fi.Size() != 5 || fi.Name() != name[1:] {
			t.Errorf("Stat by its own session = %v, %v, want the 5 bytes so far", fi, err)
		}
		if err := up.Close(); err != nil {
			t.Fatal(err)
		}
		hostHolds(t, host+name, "whole")
	}
	if fi, err := os.Stat(host + "/old"); err != nil || fi.Mode().Perm() != 0o604 {
		t.Errorf("replaced file is %v, %v, want the mode of the old one, 0604", fi.Mode(), err)
	}
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

func TestUploadInPlace(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := os.WriteFile(host+"/f", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := start(t, f, "/f", os.O_WRONLY|os.O_CREATE, " more", 4) // as sftp's reput
	hostHolds(t, host+"/f", "half more")
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	up = start(t, f, "/f", os.O_WRONLY|os.O_APPEND, "!", 0)
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "half more!")
}

// TestUploadWithoutTruncation replaces a file as OpenSSH's scp does: it is
// opened without truncation, and the size is set at the end.
func TestUploadWithoutTruncation(t *testing.T) {
	const opened = os.O_WRONLY | os.O_CREATE
	size := func(n int64) Attr { return Attr{Set: AttrSize, Size: n} }
	for name, tt := range map[string]struct {
		do   func(up File) error
		want string
		late bool // not before it is closed
	}{
		"shorter": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			return errors.Join(err, up.SetAttr(size(3)))
		}, "new", true},
		"empty":      {func(up File) error { return up.SetAttr(size(0)) }, "", true},
		"first part": {func(up File) error { _, err := up.WriteAt([]byte("new"), 0); return err }, "new content", true},
		"two parts": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			_, err2 := up.WriteAt([]byte("NT"), 9)
			return errors.Join(err, err2)
		}, "new conteNT", true},
		"size that is none": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			if serr := up.SetAttr(size(-1)); serr == nil {
				err = errors.New("a size of -1 was set")
			}
			return err
		}, "new content", true},
		"last part": {func(up File) error { _, err := up.WriteAt([]byte("!"), 11); return err }, "old content!", false},
		"cut":       {func(up File) error { return up.SetAttr(size(3)) }, "old", false},
		"mode":      {func(up File) error { return up.SetAttr(Attr{Set: AttrMode, Mode: 0o600}) }, "old content", false},
	} {
		host := t.TempDir()
		f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
		for _, end := range []func(File) error{func(up File) error { return up.Abort() }, File.Close} {
			if err := os.WriteFile(host+"/f", []byte("old content"), 0o604); err != nil {
				t.Fatal(err)
			}
			up, err := f.OpenFile("/f", opened, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.do(up); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			fi, err := up.Stat()
			if err != nil || fi.Size() != int64(len(tt.want)) {
				t.Errorf("%s: Stat of the open file = %v, %v, want %d bytes", name, fi, err, len(tt.want))
			}
			if tt.late {
				hostHolds(t, host+"/f", "old content")
			} else {
				hostHolds(t, host+"/f", tt.want)
			}
			if err := end(up); err != nil {
				t.Errorf("%s: end = %v", name, err)
			}
			if parts, _ := filepath.Glob(host + "/" + tempPrefix + "*"); len(parts) == 1 {
				hostHolds(t, host+"/f", "old content") // aborted, and kept to be resumed
				if err := os.Remove(parts[0]); err != nil {
					t.Error(err)
				}
			}
		}
		hostHolds(t, host+"/f", tt.want)
		if fi, err := os.Stat(host + "/f"); err != nil || tt.late && fi.Mode().Perm() != 0o604 {
			t.Errorf("%s: the file is %v, %v, want the mode of the old one, 0604", name, fi.Mode(), err)
		}
		if n := temps(t, host); n != 0 {
			t.Errorf("%s: %d temporary files are left", name, n)
		}
	}
}

// TestUploadEqualsInPlace writes here and there and sets sizes, atomically and in
// place: the content is the same.
func TestUploadEqualsInPlace(t *testing.T) {
	for seed := range uint64(300) {
		var got [2]string
		for i, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
			rnd := rand.New(rand.NewPCG(seed, 3))
			host := t.TempDir()
			if err := os.WriteFile(host+"/f", []byte(strings.Repeat("old", rnd.IntN(10))), 0o644); err != nil {
				t.Fatal(err)
			}
			p := atomicPolicy(host, "alice")
			p.Uploads = uploads
			p.Limits.Quota = 1000
			var q Quotas
			f := mustOpen(t, p, Settings{Quotas: &q})
			up, err := f.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 1 + rnd.IntN(5) {
				off := rnd.Int64N(40) * int64(min(n+rnd.IntN(2), 1)) // the first often at 0
				if rnd.IntN(3) == 0 {
					err = up.SetAttr(Attr{Set: AttrSize, Size: off})
				} else {
					_, err = up.WriteAt([]byte(strings.Repeat(string(rune('a'+n)), rnd.IntN(20))), off)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if err := up.Close(); err != nil {
				t.Error(err)
			}
			data, err := os.ReadFile(host + "/f")
			if err != nil {
				t.Fatal(err)
			}
			got[i] = string(data)
			used(t, &q, host)
		}
		if got[0] != got[1] {
			t.Errorf("seed %d: in place %q, atomically %q", seed, got[0], got[1])
		}
	}
}

func TestUploadThroughLink(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := errors.Join(os.Mkdir(host+"/d", 0o755), os.Symlink("/d/target", host+"/l")); err != nil {
		t.Fatal(err)
	}
	if err := start(t, f, "/l", truncating, "x", 0).Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/d/target", "x")
	if target, err := os.Readlink(host + "/l"); target != "/d/target" {
		t.Errorf("the link is now %q, %v, want it kept", target, err)
	}
}

// TestUploadResume has the client disappear in the middle, in the ways that an
// engine, or the death of the server, can end an upload.
func TestUploadResume(t *testing.T) {
	ends := map[string]func(FS, File) error{
		"abort":       func(_ FS, up File) error { return up.Abort() },
		"FS closed":   func(f FS, _ File) error { return f.Close() },
		"both":        func(f FS, up File) error { return errors.Join(f.Close(), up.Abort()) },
		"close after": func(f FS, up File) error { _ = f.Close(); _ = up.Close(); return nil },
	}
	for name, end := range ends {
		for _, old := range []string{"nothing", "old content that is longer"} {
			t.Run(name+" over "+old, func(t *testing.T) {
				host := t.TempDir()
				if old != "nothing" {
					if err := os.WriteFile(host+"/f", []byte(old), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
				up := start(t, f, "/f", truncating, "half", 0)
				if err := end(f, up); err != nil {
					t.Fatal(err)
				}
				_ = up.Close() // what "FS closed" leaves to the engine
				hostHolds(t, host+"/f", old)

				bob := mustOpen(t, atomicPolicy(host, "bob"), Settings{})
				if fi, err := bob.Stat("/f"); old == "nothing" && !errors.Is(err, iofs.ErrNotExist) || old != "nothing" && fi.Size() != int64(len(old)) {
					t.Errorf("another user sees %v, %v, want what was there before", fi, err)
				}
				again := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
				fi, err := again.Stat("/f")
				if err != nil || fi.Size() != 4 || fi.Name() != "f" {
					t.Fatalf("Stat by the same user = %v, %v, want the 4 bytes so far", fi, err)
				}
				up = start(t, again, "/f", os.O_RDWR, " more", fi.Size())
				hostHolds(t, host+"/f", old)
				if err := up.Close(); err != nil {
					t.Fatal(err)
				}
				hostHolds(t, host+"/f", "half more")
				if n := temps(t, host); n != 0 {
					t.Errorf("%d temporary files are left", n)
				}
			})
		}
	}
}

// TestUploadOlderThanFile checks that a broken upload no longer stands in for a
// file that somebody has written since.
func TestUploadOlderThanFile(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := start(t, f, "/f", truncating, "half", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := errors.Join(os.WriteFile(host+"/f", []byte("newer"), 0o644), os.Chtimes(host+"/f", later, later)); err != nil {
		t.Fatal(err)
	}
	if fi, err := f.Stat("/f"); err != nil || fi.Size() != 5 {
		t.Errorf("Stat = %v, %v, want the newer file", fi, err)
	}
	if err := start(t, f, "/f", os.O_WRONLY, "!", 5).Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "newer!")
}

func TestUploadStartsAgain(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := start(t, f, "/f", truncating, "a long broken one", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	if err := start(t, f, "/f", truncating, "short", 0).Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "short")
	if err := start(t, f, "/g", truncating, "broken", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("/g"); err != nil {
		t.Errorf("Remove of a broken upload = %v", err)
	}
	if _, err := f.Stat("/g"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Stat of a removed broken upload = %v", err)
	}
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// TestUploadsAtOnce has several sessions of one user upload to one name: the
// file is always one of theirs as a whole.
func TestUploadsAtOnce(t *testing.T) {
	host := t.TempDir()
	const size = 64 << 10
	var wg sync.WaitGroup
	for i := range 4 {
		f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
		content := strings.Repeat(string(rune('a'+i)), size)
		wg.Go(func() {
			for range 10 {
				file, err := f.OpenFile("/f", truncating, 0o666)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = file.WriteAt([]byte(content[:size/2]), size/2)
				if err == nil {
					_, err = file.WriteAt([]byte(content[:size/2]), 0)
				}
				if err := errors.Join(err, file.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		data, err := os.ReadFile(host + "/f")
		if err == nil && (len(data) != size || strings.Count(string(data), string(data[:1])) != size) {
			t.Fatalf("a reader sees %d bytes of several uploads", len(data))
		}
	}
	wg.Wait()
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// TestOthersTakeThePartName: other sessions of the person begin an upload to the same name
// all the time, and each removes what this one has just made. It begins under another name.
func TestOthersTakeThePartName(t *testing.T) {
	host := t.TempDir()
	l := mustJail(t, host)
	opened := 0
	f := asFS(newUploads(&afterOpen{l, func() {
		opened++
		_ = l.Remove(partName("alice", "/f"))
	}}))
	if err := start(t, f, "/f", truncating, "whole", 0).Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "whole")
	if opened < 2 {
		t.Error("nobody has taken the name")
	}
}

func TestUploadRenamedAndRemoved(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := f.Mkdir("/d", 0o777); err != nil {
		t.Fatal(err)
	}
	up := start(t, f, "/d/a", truncating, "x", 0)
	if err := f.Rename("/d/a", "/d/b", false); err != nil {
		t.Fatalf("Rename of a running upload = %v", err)
	}
	if err := f.Rename("/d", "/e", false); err != nil {
		t.Fatal(err)
	}
	if err := f.SetAttr("/e/b", Attr{Set: AttrMode, Mode: 0o600}); err != nil {
		t.Errorf("SetAttr of a running upload by name = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/e/b", "x")

	up = start(t, f, "/gone", truncating, "x", 0)
	if err := f.Remove("/gone"); err != nil {
		t.Errorf("Remove of a running upload = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Errorf("Close of a removed upload = %v", err)
	}
	hostHolds(t, host+"/gone", "nothing")

	up = start(t, f, "/x", truncating, "x", 0)
	if err := os.Mkdir(host+"/x", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := up.Close(); !errors.Is(err, ErrIsDir) {
		t.Errorf("Close of an upload over a directory = %v, want ErrIsDir", err)
	}
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

func TestUploadExclusive(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	up := start(t, f, "/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, "mine", 0)
	if err := os.WriteFile(host+"/f", []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := up.Close(); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("Close = %v, want ErrExist", err)
	}
	hostHolds(t, host+"/f", "theirs")
}

// TestUploadAfterFailedWrite checks that an upload with a failed write does not
// come to stand under its name although the client closes it.
func TestUploadAfterFailedWrite(t *testing.T) {
	host := t.TempDir()
	p := atomicPolicy(host, "alice")
	p.Limits.MaxFile = 10
	f := mustOpen(t, p, Settings{})
	up := start(t, f, "/f", truncating, "12345", 0)
	if _, err := up.WriteAt([]byte("1234567890"), 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("WriteAt = %v, want ErrTooLarge", err)
	}
	if err := up.Close(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Close = %v, want ErrTooLarge", err)
	}
	hostHolds(t, host+"/f", "nothing")
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

func TestStaleUploads(t *testing.T) {
	host := t.TempDir()
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{"/" + tempPrefix + "old", "/" + tempPrefix + "new", "/d/" + tempPrefix + "old", "/d/f"} {
		err := errors.Join(os.MkdirAll(filepath.Dir(host+name), 0o755), os.WriteFile(host+name, []byte("x"), 0o644))
		if err == nil && !strings.HasSuffix(name, "new") {
			err = os.Chtimes(host+name, long, long)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := atomicPolicy(host, "alice")
	p.Limits.Quota = 100
	var q Quotas
	f := mustOpen(t, p, Settings{Quotas: &q})
	if err := readDirErr(f, "/"); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/"+tempPrefix+"old", "nothing")
	hostHolds(t, host+"/"+tempPrefix+"new", "x")
	if err := openClose(f, "/e", truncating); err != nil { // from now on it is counted
		t.Fatal(err)
	}
	n, err := q.Sweep(t.Context(), host, 24*time.Hour)
	if n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	if b, _ := used(t, &q, host); b != 2 {
		t.Errorf("used %d bytes after Sweep, want the 2 of /d/f and the younger upload", b)
	}
	hostHolds(t, host+"/d/f", "x")
}

// TestUploadNameIsTaken checks that two exclusive opens never both succeed, in
// one session, in several, of whomever and however they upload.
func TestUploadNameIsTaken(t *testing.T) {
	const exclusive = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	host := t.TempDir()
	direct := full(host)
	sessions := []FS{
		mustOpen(t, atomicPolicy(host, "alice"), Settings{}), mustOpen(t, atomicPolicy(host, "alice"), Settings{}),
		mustOpen(t, atomicPolicy(host, "bob"), Settings{}), mustOpen(t, direct, Settings{}),
	}
	for i, first := range sessions {
		lock := start(t, first, "/lock", exclusive, "pid", 0)
		for _, f := range sessions {
			if err := openClose(f, "/lock", exclusive); !errors.Is(err, iofs.ErrExist) {
				t.Errorf("second exclusive open beside that of session %d = %v, want ErrExist", i, err)
			}
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
		for _, f := range sessions {
			if err := openClose(f, "/lock", exclusive); !errors.Is(err, iofs.ErrExist) {
				t.Errorf("exclusive open of a file that is there = %v, want ErrExist", err)
			}
		}
		if err := first.Remove("/lock"); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	var held, won atomic.Int32
	for _, f := range sessions {
		wg.Go(func() {
			for range 50 {
				lock, err := f.OpenFile("/lock", exclusive, 0o666)
				if err != nil {
					continue
				}
				won.Add(1)
				if held.Add(1) != 1 {
					t.Error("two sessions hold one lock file")
				}
				held.Add(-1)
				if err := errors.Join(f.Remove("/lock"), lock.Close()); err != nil && !errors.Is(err, iofs.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() == 0 {
		t.Error("nobody got the lock")
	}
}

// TestLateClose checks that an upload never replaces what is newer than its
// open, wherever that came from.
func TestLateClose(t *testing.T) {
	for name, tt := range map[string]struct {
		newer func(t *testing.T, host string, other FS) error
		want  error
	}{
		"another upload": {func(t *testing.T, _ string, other FS) error {
			return start(t, other, "/f", truncating, "newer", 0).Close()
		}, nil},
		"a rename": {func(t *testing.T, _ string, other FS) error {
			return errors.Join(start(t, other, "/g", truncating, "newer", 0).Close(), other.Rename("/g", "/f", true))
		}, nil},
		"another program": {func(_ *testing.T, host string, _ FS) error {
			return errors.Join(os.WriteFile(host+"/g", []byte("newer"), 0o644), os.Rename(host+"/g", host+"/f"))
		}, iofs.ErrExist},
		"another program in place": {func(_ *testing.T, host string, _ FS) error {
			return os.WriteFile(host+"/f", []byte("newer"), 0o644)
		}, iofs.ErrExist},
	} {
		for _, person := range []string{"alice", "bob"} {
			for _, old := range []bool{false, true} {
				host := t.TempDir()
				if old {
					if err := os.WriteFile(host+"/f", []byte("old"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				tick := fsClock(t)
				tick()
				f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
				other := mustOpen(t, atomicPolicy(host, person), Settings{})
				late := start(t, f, "/f", truncating, "late", 0)
				tick()
				if err := tt.newer(t, host, other); err != nil {
					t.Fatal(err)
				}
				if err := late.Close(); !errors.Is(err, tt.want) {
					t.Errorf("%s of %s, over a file %t: late close = %v, want %v", name, person, old, err, tt.want)
				}
				hostHolds(t, host+"/f", "newer")
				if n := temps(t, host); n != 0 {
					t.Errorf("%s: %d temporary files are left", name, n)
				}
			}
		}
	}
}

// TestRmdirWithLeftovers checks that a directory that looks empty can be removed
// although somebody's client disappeared there, and not while somebody uploads.
func TestRmdirWithLeftovers(t *testing.T) {
	host := t.TempDir()
	alice := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	again := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	for name, f := range map[string]FS{"bob": mustOpen(t, atomicPolicy(host, "bob"), Settings{}), "direct": mustOpen(t, full(host), Settings{})} {
		if err := f.Mkdir("/d", 0o777); err != nil {
			t.Fatal(err)
		}
		up := start(t, alice, "/d/f", truncating, "half", 0)
		if got := names(t, f, "/d"); len(got) > 0 {
			t.Errorf("%s sees %q", name, got)
		}
		if got := names(t, again, "/d"); len(got) != 1 || got[0] != "f" {
			t.Errorf("another session of alice sees %q, want her upload", got)
		}
		if err := f.Rmdir("/d"); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("Rmdir by %s during an upload = %v, want ErrNotEmpty", name, err)
		}
		if err := up.Abort(); err != nil {
			t.Fatal(err)
		}
		if err := again.Rmdir("/d"); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("Rmdir by alice, who sees what she left = %v, want ErrNotEmpty", err)
		}
		if err := f.Rmdir("/d"); err != nil {
			t.Errorf("Rmdir by %s of what looks empty = %v", name, err)
		}
	}
}

// TestUploadTakenOver has a client come back before the server knows that it was
// gone.
func TestUploadTakenOver(t *testing.T) {
	host := t.TempDir()
	lost := start(t, mustOpen(t, atomicPolicy(host, "alice"), Settings{}), "/f", truncating, "half", 0)
	back := start(t, mustOpen(t, atomicPolicy(host, "alice"), Settings{}), "/f", os.O_WRONLY, " more", 4)
	if _, err := lost.WriteAt([]byte("wrong"), 0); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("write of the lost session = %v, want ErrClosed", err)
	}
	if err := back.Close(); err != nil {
		t.Error(err)
	}
	if err := lost.Close(); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("close of the lost session = %v, want ErrClosed", err)
	}
	hostHolds(t, host+"/f", "half more")
}

// TestNoZerosAfterFailedWrite sets the size after a write that failed, as
// OpenSSH's scp does: a file in place must not get zeros for what is missing.
func TestNoZerosAfterFailedWrite(t *testing.T) {
	host := t.TempDir()
	p := full(host)
	p.Limits.Quota = 100
	up := start(t, mustOpen(t, p, Settings{}), "/f", os.O_WRONLY|os.O_CREATE, "1234567890", 0)
	if _, err := up.WriteAt(make([]byte, 100), 10); !errors.Is(err, ErrQuota) {
		t.Fatalf("WriteAt = %v, want ErrQuota", err)
	}
	if err := up.SetAttr(Attr{Set: AttrSize, Size: 50}); !errors.Is(err, ErrQuota) {
		t.Errorf("a larger size after a failed write = %v, want ErrQuota", err)
	}
	if err := up.SetAttr(Attr{Set: AttrSize, Size: 5}); err != nil {
		t.Errorf("a smaller size after a failed write = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Error(err)
	}
	hostHolds(t, host+"/f", "12345")
}

// fsClock waits until files get another time of change than before.
func fsClock(t *testing.T) (tick func()) {
	l := mustJail(t, t.TempDir())
	return func() {
		if err := l.Mkdir("/t", 0o777); err != nil {
			t.Fatal(err)
		}
		first, err := l.Lstat("/t")
		for now := first; err == nil && !changed(now).After(changed(first)); {
			if err = errors.Join(l.Rmdir("/t"), l.Mkdir("/t", 0o777)); err == nil {
				now, err = l.Lstat("/t")
			}
		}
		if err := errors.Join(err, l.Rmdir("/t")); err != nil {
			t.Fatal(err)
		}
	}
}
