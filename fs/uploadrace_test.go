package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

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

// TestLateClose checks that an upload never replaces a file that is newer
// than its open, whoever wrote that file.
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
