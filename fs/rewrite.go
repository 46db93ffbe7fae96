package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"sync"
)

// rewrite is an existing file that was opened for writing with O_CREATE but
// without O_TRUNC. OpenSSH's scp replaces files like that and sets the size at
// the end; other clients change a part. The first operation decides: a write at
// the beginning, or a size of 0, begins an upload. Anything else changes the file
// in place. The upload copies from the old file what the client does not write,
// so the content is the same either way.
type rewrite struct {
	file // the old file
	u    *uploads
	name string
	flag int

	mu      sync.Mutex
	decided bool
	failed  error   // why the upload could not begin
	up      *upload // nil: in place
	done    int64   // bytes at the beginning of up that are complete
	old     int64   // from done to here, the content of the old file is not yet copied to up
}

func (u *uploads) rewrite(name string, flag int, perm iofs.FileMode) (file, error) {
	f, err := u.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &rewrite{file: f, u: u, name: name, flag: flag}, nil
}

// decide makes the first decision the only one: whole begins an upload, otherwise the
// file is changed in place. If the upload cannot begin, the file stays as it is. The
// caller holds mu.
func (r *rewrite) decide(whole bool) error {
	if whole && !r.decided {
		r.failed = r.begin()
	}
	r.decided = true
	return r.failed
}

// begin begins the upload, unless the file has lost its name.
func (r *rewrite) begin() error {
	found, missing := r.u.layer.Lstat(r.name)
	if exhausted(missing) {
		return missing
	}
	is, same, err := r.current(found, missing)
	if err != nil || !same {
		return err
	}
	r.old = is.Size()
	r.up, err = r.u.beginOver(r.name, r.flag, is)
	return err
}

// current is the old file, and whether found, which has its name, is the same.
func (r *rewrite) current(found iofs.FileInfo, missing error) (is iofs.FileInfo, same bool, err error) {
	if is, err = r.file.Stat(); err != nil {
		return nil, false, err
	}
	return is, missing == nil && idOf(found) == idOf(is), nil
}

func (r *rewrite) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.decide(off == 0); err != nil {
		return 0, err
	}
	if r.up == nil {
		return r.file.WriteAt(p, off)
	}
	if err := r.fill(off); err != nil {
		return 0, err
	}
	n, err := r.up.WriteAt(p, off)
	r.done = max(r.done, off+int64(n))
	return n, err
}

// fill copies the old content up to end. After an error Close removes the upload.
func (r *rewrite) fill(end int64) error {
	if end <= r.done {
		return nil
	}
	if from, n := r.done, min(end, r.old)-r.done; n > 0 {
		if err := r.copyOld(from, n); err != nil {
			r.up.fail(err)
			return err
		}
	}
	r.done = end
	return nil
}

func (r *rewrite) copyOld(from, n int64) error {
	src, err := r.u.layer.OpenFile(r.name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, same, err := r.current(src.Stat()); err != nil || !same { // replaced since
		return errors.Join(err, iofs.ErrNotExist)
	}
	_, err = io.CopyBuffer(io.NewOffsetWriter(r.up, from), io.NewSectionReader(src, from, n), make([]byte, 256<<10))
	return err
}

func (r *rewrite) SetAttr(a Attr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Set&AttrSize != 0 {
		if err := r.decide(a.Size == 0); err != nil {
			return err
		}
	}
	if r.up == nil {
		return r.file.SetAttr(a)
	}
	if a.Set&AttrSize == 0 {
		return r.up.SetAttr(a)
	}
	if err := r.fill(min(r.old, a.Size)); err != nil {
		return err
	}
	if err := r.up.SetAttr(a); err != nil {
		return err
	}
	r.done, r.old = a.Size, min(r.old, a.Size)
	return nil
}

func (r *rewrite) Stat() (iofs.FileInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		return r.file.Stat()
	}
	fi, err := r.up.Stat()
	if err != nil {
		return nil, err
	}
	whole := *fi.(*info)
	whole.size = max(whole.size, r.old)
	return &whole, nil
}

func (r *rewrite) Sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		return r.file.Sync()
	}
	return r.up.Sync()
}

func (r *rewrite) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		return r.file.Close()
	}
	_ = r.fill(r.old) // Close of the upload returns the error
	return errors.Join(r.up.Close(), r.file.Close())
}

// Abort aborts the upload, if there is one.
func (r *rewrite) Abort() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		return r.file.Abort()
	}
	return errors.Join(r.up.Abort(), r.file.Close())
}
