package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"testing"
	"time"

	"berth/policy"
)

// busy is a layer in which something happens as soon as a file is opened.
type busy struct {
	layer
	happens func() error
}

func (b busy) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	f, err := b.layer.OpenFile(name, flag, perm)
	return f, errors.Join(err, b.happens())
}

// TestMoveOfBusyFile: a file that is written or replaced while it is moved to another
// folder stays where it is.
func TestMoveOfBusyFile(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(host string) error
		want    string
	}{
		"replaced": {func(host string) error {
			return errors.Join(os.WriteFile(host+"/new", []byte("newer"), 0o644), os.Rename(host+"/new", host+"/f"))
		}, "newer"},
		"written": {func(host string) error {
			f, err := os.OpenFile(host+"/f", os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(" and more")
			return errors.Join(err, f.Close())
		}, "content and more"},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := sample(t), t.TempDir()
			from := mustJail(t, source)
			to := mustJail(t, target)
			b := busy{from, func() error { return tt.happens(source) }}
			if err := move(b, to, "/f", "/f", false); !errors.Is(err, errMoved) {
				t.Errorf("move = %v, want %v", err, errMoved)
			}
			hostHolds(t, source+"/f", tt.want)
			if left, err := os.ReadDir(target); err != nil || len(left) > 0 {
				t.Errorf("the other folder has %v, %v, want nothing", left, err)
			}
		})
	}
}

// TestMoveOfUnfinishedUpload: an unfinished upload cannot be moved to another folder.
// The upload continues.
func TestMoveOfUnfinishedUpload(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	p := &policy.Policy{
		Uploads: policy.Atomic,
		Folders: []policy.Folder{{Path: "/in", Host: in}, {Path: "/out", Host: out}},
		Access:  []policy.Access{{Path: "/in", Ops: policy.Full}, {Path: "/out", Ops: policy.Full}},
	}
	f, another := mustOpen(t, p, Settings{}), mustOpen(t, p, Settings{})
	w := start(t, f, "/in/a", truncating, "half", 0)
	if err := another.Rename("/in/a", "/out/a", false); !errors.Is(err, ErrCrossFolder) {
		t.Errorf("rename = %v, want ErrCrossFolder", err)
	}
	if _, err := w.WriteAt([]byte(" and half"), 4); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, in+"/a", "half and half")
	if err := another.Rename("/in/a", "/out/a", false); err != nil {
		t.Errorf("rename of the whole file = %v", err)
	}
	hostHolds(t, out+"/a", "half and half")
}

// listed is a layer in which somebody lists the root just before each rename.
type listed struct{ layer }

func (l listed) Rename(oldname, newname string, replace bool) error {
	for _, err := range l.ReadDir("/") {
		if err != nil {
			return err
		}
	}
	return l.layer.Rename(oldname, newname, replace)
}

// TestMoveOfOldFile: a listing of the other folder does not take the copy of an old file
// for a broken upload that is to be removed.
func TestMoveOfOldFile(t *testing.T) {
	source, target := sample(t), t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(source+"/f", old, old); err != nil {
		t.Fatal(err)
	}
	from := mustJail(t, source)
	to := mustJail(t, target)
	u := newUploads(to)
	defer u.Close()
	if err := move(from, listed{u}, "/f", "/f", false); err != nil {
		t.Errorf("move = %v", err)
	}
	hostHolds(t, target+"/f", "content")
	hostHolds(t, source+"/f", "nothing")
}
