package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"slices"
	"testing"
)

// journal is a layer that notes the steps which a power cut makes matter, and
// fails one of them.
type journal struct {
	layer
	steps []string
	fails string
}

var errDisk = errors.New("the disk is broken")

func (j *journal) step(what string) error {
	j.steps = append(j.steps, what)
	if what == j.fails {
		return errDisk
	}
	return nil
}

func (j *journal) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	f, err := j.layer.OpenFile(name, flag, perm)
	if err != nil || flag&os.O_CREATE == 0 {
		return f, err
	}
	return journalFile{f, j}, nil
}

func (j *journal) Rename(oldname, newname string, replace bool) error {
	if err := j.step("rename to " + newname); err != nil {
		return err
	}
	return j.layer.Rename(oldname, newname, replace)
}

func (j *journal) Remove(name string) error {
	if !hasTemp(name) {
		_ = j.step("remove " + name)
	}
	return j.layer.Remove(name)
}

func (j *journal) syncDir(name string) error {
	if err := j.step("sync directory " + name); err != nil {
		return err
	}
	return j.layer.syncDir(name)
}

type journalFile struct {
	file
	j *journal
}

func (f journalFile) WriteAt(p []byte, off int64) (int, error) {
	_ = f.j.step("write")
	return f.file.WriteAt(p, off)
}

func (f journalFile) Sync() error {
	if err := f.j.step("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f journalFile) Close() error {
	return errors.Join(f.j.step("close"), f.file.Close())
}

// TestUploadIsSafe checks the order that makes an acknowledged upload outlast a
// power cut, and that no step which fails leaves half a file or says yes.
func TestUploadIsSafe(t *testing.T) {
	order := []string{"write", "sync", "rename to /d/f", "sync directory /d", "close"}
	for _, fails := range append([]string{""}, order[1:]...) {
		host := t.TempDir()
		if err := errors.Join(os.Mkdir(host+"/d", 0o755), os.WriteFile(host+"/d/f", []byte("old"), 0o644)); err != nil {
			t.Fatal(err)
		}
		l := mustJail(t, host)
		j := &journal{layer: l, fails: fails}
		u := newUploads(j)
		err := start(t, asFS(u), "/d/f", truncating, "whole", 0).Close()
		_ = u.Close()
		if fails == "" && (err != nil || !slices.Equal(j.steps, order)) {
			t.Errorf("steps of an upload = %q, %v, want %q", j.steps, err, order)
		}
		if fails == "" {
			hostHolds(t, host+"/d/f", "whole")
			continue
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("Close when %q fails = %v, want that error", fails, err)
		}
		want := "whole" // it is there, but nobody can promise that it stays
		if slices.Index(order, fails) <= slices.Index(order, "rename to /d/f") {
			want = "old"
		}
		hostHolds(t, host+"/d/f", want)
		if n := temps(t, host+"/d"); n != 0 {
			t.Errorf("%d temporary files are left when %q fails", n, fails)
		}
	}
}

// TestMoveIsSafe checks the same for a file that is moved to another folder: it
// goes from the one when it is safe in the other.
func TestMoveIsSafe(t *testing.T) {
	order := []string{"write", "sync", "rename to /new", "sync directory /", "close", "remove /f"}
	for _, fails := range append([]string{""}, order[1:5]...) {
		from, to := t.TempDir(), t.TempDir()
		if err := os.WriteFile(from+"/f", []byte("whole"), 0o644); err != nil {
			t.Fatal(err)
		}
		j := &journal{layer: mustJail(t, to), fails: fails}
		source := &journal{layer: mustJail(t, from)}
		err := move(source, j, "/f", "/new", false)
		if steps := slices.Concat(j.steps, source.steps); fails == "" && (err != nil || !slices.Equal(steps, order)) {
			t.Errorf("steps of a move = %q, %v, want %q", steps, err, order)
		}
		if fails == "" {
			hostHolds(t, from+"/f", "nothing")
			hostHolds(t, to+"/new", "whole")
			continue
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("move when %q fails = %v, want that error", fails, err)
		}
		hostHolds(t, from+"/f", "whole")
		if slices.Index(order, fails) <= slices.Index(order, "rename to /new") {
			hostHolds(t, to+"/new", "nothing")
		}
		if n := temps(t, to); n != 0 {
			t.Errorf("%d temporary files are left when %q fails", n, fails)
		}
	}
}
