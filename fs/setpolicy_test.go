package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"testing"

	"berth/policy"
)

// TestNarrowedUpload checks that an upload does not take its place once its
// rights are gone, even if nothing is written after that; and if a write was
// refused meanwhile, not with the rights back either.
func TestNarrowedUpload(t *testing.T) {
	host := sample(t)
	p := full(host)
	p.Uploads = policy.Atomic
	f := mustOpen(t, p, Settings{})
	w := start(t, f, "/f", truncating, "new", 0)
	narrow := *p
	narrow.Access = []policy.Access{{Path: "/", Ops: policy.ReadOnly}}
	f.(*View).SetPolicy(&narrow)
	if err := w.Close(); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("Close = %v, want ErrPermission", err)
	}
	f.(*View).SetPolicy(p)
	w = start(t, f, "/f", truncating, "new", 0)
	f.(*View).SetPolicy(&narrow)
	if _, err := w.WriteAt([]byte("more"), 3); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("WriteAt = %v, want ErrPermission", err)
	}
	f.(*View).SetPolicy(p)
	if err := w.Close(); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("Close after a refused write = %v, want ErrPermission", err)
	}
	hostHolds(t, host+"/f", "content")
}

// TestNarrowedToDropBox: who may only make files by now does not replace one that was
// there before, in any way that an open may have begun.
func TestNarrowedToDropBox(t *testing.T) {
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		for _, flag := range []int{truncating, os.O_WRONLY | os.O_CREATE, os.O_WRONLY | os.O_TRUNC} {
			host := sample(t)
			p := full(host)
			p.Uploads = uploads
			f := mustOpen(t, p, Settings{})
			w, err := f.OpenFile("/f", flag, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			made, err := f.OpenFile("/new", flag|os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			f.(*View).SetPolicy(dropBox(host))
			if _, err := w.WriteAt([]byte("x"), 0); !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("%s, flags %#x: WriteAt = %v, want ErrPermission", uploads, flag, err)
			}
			if err := w.Close(); !errors.Is(err, iofs.ErrPermission) {
				t.Errorf("%s, flags %#x: Close = %v, want ErrPermission", uploads, flag, err)
			}
			if uploads == policy.Atomic {
				hostHolds(t, host+"/f", "content")
			}
			if _, err := made.WriteAt([]byte("x"), 0); err != nil {
				t.Errorf("WriteAt to a new file = %v", err)
			}
			if err := made.Close(); err != nil {
				t.Errorf("Close of a new file = %v", err)
			}
		}
	}
}

// TestSetPolicy checks that a policy that is taken away ends open files too.
func TestSetPolicy(t *testing.T) {
	host := sample(t)
	p := full(host)
	p.Uploads = policy.Atomic
	f := mustOpen(t, p, Settings{})
	r, err := f.OpenFile("/f", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := f.OpenFile("/f", os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	list := *p
	list.Access = []policy.Access{{Path: "/", Ops: policy.List}}
	f.(*View).SetPolicy(&list)
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("ReadAt = %v, want ErrPermission", err)
	}
	if _, err := w.WriteAt([]byte("x"), 0); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("WriteAt = %v, want ErrPermission", err)
	}
	if err := w.Close(); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("Close of a refused upload = %v, want ErrPermission", err)
	}
	if got, err := os.ReadFile(host + "/f"); string(got) != "content" {
		t.Errorf("file = %q, %v, want it untouched", got, err)
	}
	f.(*View).SetPolicy(p)
	if _, err := r.ReadAt(make([]byte, 1), 0); err != nil && err != io.EOF {
		t.Errorf("ReadAt with the right back = %v", err)
	}
}

// TestListingOfLostRights: a listing that has begun ends when the right to list is gone.
func TestListingOfLostRights(t *testing.T) {
	p := full(sample(t))
	f := mustOpen(t, p, Settings{})
	shown := 0
	var last error
	for _, err := range f.ReadDir("/") {
		if last = err; err == nil {
			shown++
		}
		nothing := *p
		nothing.Access = []policy.Access{{Path: "/"}}
		f.(*View).SetPolicy(&nothing)
	}
	if shown != 1 || !errors.Is(last, iofs.ErrPermission) {
		t.Errorf("%d names, and then %v, want 1 and ErrPermission", shown, last)
	}
}

// TestOwnFilesOfLostRights: a session may not use the files that it made any more
// when it has lost the right to make files there.
func TestOwnFilesOfLostRights(t *testing.T) {
	host := t.TempDir()
	p := dropBox(host)
	f := mustOpen(t, p, Settings{})
	if err := start(t, f, "/a", truncating, "mine", 0).Close(); err != nil {
		t.Fatal(err)
	}
	nothing := *p
	nothing.Access = []policy.Access{{Path: "/"}}
	f.(*View).SetPolicy(&nothing)
	for what, err := range map[string]error{
		"open": openClose(f, "/a", os.O_WRONLY|os.O_TRUNC), "size": f.SetAttr("/a", Attr{Set: AttrSize}),
		"mode": f.SetAttr("/a", Attr{Set: AttrMode, Mode: 0o600}), "rename": f.Rename("/a", "/b", false),
		"stat": second(f.Stat("/a")),
	} {
		if !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s = %v, want ErrPermission", what, err)
		}
	}
	directories := *p
	directories.Access = []policy.Access{{Path: "/", Ops: policy.Mkdir}}
	f.(*View).SetPolicy(&directories)
	for what, err := range map[string]error{
		"open": openClose(f, "/a", os.O_WRONLY|os.O_TRUNC), "size": f.SetAttr("/a", Attr{Set: AttrSize}),
	} {
		if !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s with the right to make directories = %v, want ErrPermission", what, err)
		}
	}
	hostHolds(t, host+"/a", "mine")
	f.(*View).SetPolicy(p)
	if err := openClose(f, "/a", os.O_WRONLY); err != nil {
		t.Errorf("open with the right back = %v", err)
	}
}
