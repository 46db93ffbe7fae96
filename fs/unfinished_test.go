package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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

// TestUploadOlderThanFile checks that a broken upload is no longer shown in
// place of a file that somebody has written since.
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
