package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"testing"
	"time"

	"berth/policy"
)

// dropBox is a policy of which / may only be uploaded to.
func dropBox(host string) *policy.Policy {
	p := full(host)
	p.Access[0].Ops = policy.DropBox
	return p
}

func TestDropBox(t *testing.T) {
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		t.Run(string(uploads), func(t *testing.T) {
			host := sample(t)
			p := dropBox(host)
			p.Uploads = uploads
			f := mustOpen(t, p, Settings{})
			// What clients do: look at the place and the name, write, look, set
			// times, rename from a temporary name.
			if fi, err := f.Stat("/"); err != nil || !fi.IsDir() {
				t.Errorf("Stat(/) = %v, %v, want a directory", fi, err)
			}
			if _, err := f.Stat("/up.filepart"); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("Stat before = %v, want ErrNotExist", err)
			}
			w, err := f.OpenFile("/up.filepart", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.WriteAt([]byte("mine"), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := w.ReadAt(make([]byte, 4), 0); !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("ReadAt of what is uploaded = %v, want ErrPermission", err)
			}
			times := Attr{Set: AttrTimes | AttrMode, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0), Mode: 0o600}
			if err := errors.Join(w.SetAttr(times), w.Close()); err != nil {
				t.Error(err)
			}
			if fi, err := f.Stat("/up.filepart"); err != nil || fi.Size() != 4 {
				t.Errorf("Stat after = %v, %v, want 4 bytes", fi, err)
			}
			if err := f.SetAttr("/up.filepart", times); err != nil {
				t.Errorf("SetAttr of an own file = %v", err)
			}
			if err := f.Rename("/up.filepart", "/f", true); !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("Rename over another's file = %v, want ErrPermission", err)
			}
			if err := f.Rename("/up.filepart", "/up", true); err != nil {
				t.Errorf("Rename of an own file = %v", err)
			}
			if err := openClose(f, "/up", os.O_WRONLY); err != nil {
				t.Errorf("resume of an own file = %v", err)
			}
			if err := openClose(f, "/up", os.O_RDONLY); !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("read of an own file = %v, want ErrPermission", err)
			}
			if err := start(t, f, "/up", truncating, "mine", 0).Close(); err != nil {
				t.Errorf("upload over an own file = %v", err)
			}
			for name, err := range map[string]error{
				"readdir": readDirErr(f, "/"), "remove": f.Remove("/up"), "rename": f.Rename("/f", "/g", false),
				"overwrite": openClose(f, "/f", os.O_WRONLY|os.O_TRUNC|os.O_CREATE), "setattr": f.SetAttr("/f", times),
			} {
				if !errors.Is(err, iofs.ErrPermission) {
					t.Errorf("%s = %v, want ErrPermission", name, err)
				}
			}
			for _, name := range []string{"/f", "/d", "/d/g", "/l", "/nothing"} {
				if fi, err := f.Stat(name); !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("Stat(%s) = %v, %v, want it to look absent", name, fi, err)
				}
			}
			if got, err := os.ReadFile(host + "/up"); string(got) != "mine" {
				t.Errorf("host file = %q, %v", got, err)
			}
		})
	}
}

// TestDropBoxReplaces: with atomic uploads, a second upload to a drop box is as whole as
// the first. A failed one leaves the first, which is still the session's own.
func TestDropBoxReplaces(t *testing.T) {
	for _, ops := range []policy.Op{policy.DropBox, policy.ReadOnly | policy.Create} {
		for _, flag := range []int{truncating, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_CREATE | os.O_TRUNC | os.O_APPEND} {
			host := t.TempDir()
			p := dropBox(host)
			p.Access[0].Ops, p.Uploads, p.Limits.MaxFile = ops, policy.Atomic, 4
			f := mustOpen(t, p, Settings{})
			if err := start(t, f, "/a", truncating, "old", 0).Close(); err != nil {
				t.Fatal(err)
			}
			w := start(t, f, "/a", flag, "n", 0)
			hostHolds(t, host+"/a", "old")
			if _, err := w.WriteAt([]byte("too long"), 1); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("WriteAt = %v, want ErrTooLarge", err)
			}
			if err := w.Close(); err == nil {
				t.Error("a failed upload is closed without an error")
			}
			hostHolds(t, host+"/a", "old")
			w = start(t, f, "/a", flag, "n", 0)
			again := start(t, f, "/a", truncating, "ne", 0) // the same upload
			hostHolds(t, host+"/a", "old")
			if err := errors.Join(again.Close(), w.Close()); err != nil {
				t.Errorf("Close = %v", err)
			}
			hostHolds(t, host+"/a", "ne")
			if err := f.Rename("/a", "/b", false); err != nil {
				t.Errorf("rename of the second upload = %v", err)
			}
		}
	}
}

// TestReplaceOwnOnly: somebody else's file that has the name by now is not replaced.
func TestReplaceOwnOnly(t *testing.T) {
	host := t.TempDir()
	p := dropBox(host)
	p.Uploads = policy.Atomic
	f := mustOpen(t, p, Settings{})
	if err := start(t, f, "/a", truncating, "mine", 0).Close(); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.WriteFile(host+"/b", []byte("yours"), 0o644), os.Rename(host+"/b", host+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	g := f.(*View).guard
	if _, err := g.replaceOwn(g.rules.Load(), "/a", truncating); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("upload over another's file = %v, want ErrPermission", err)
	}
	hostHolds(t, host+"/a", "yours")
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// TestDropBoxOtherSession checks that a session owns a file and not a name,
// and only until it ends.
func TestDropBoxOtherSession(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, dropBox(host), Settings{})
	if err := openClose(f, "/a", os.O_WRONLY|os.O_CREATE|os.O_TRUNC); err != nil {
		t.Fatal(err)
	}
	second := mustOpen(t, dropBox(host), Settings{})
	if _, err := second.Stat("/a"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("another session sees the file: %v", err)
	}
	if err := openClose(second, "/a", os.O_WRONLY|os.O_CREATE|os.O_TRUNC); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("another session's upload over it = %v, want ErrPermission", err)
	}
	// It is fetched, and somebody else uploads one of the same name.
	err := errors.Join(os.WriteFile(host+"/b", nil, 0o644), os.Rename(host+"/b", host+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("/a"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the first session sees another's file: %v", err)
	}
	if err := openClose(f, "/a", os.O_WRONLY); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("the first session writes to another's file: %v", err)
	}
}
