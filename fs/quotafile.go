package fs

import (
	iofs "io/fs"
	"sync/atomic"
)

// quotaFile is a file open for writing whose growth is counted before it
// happens.
type quotaFile struct {
	file
	q       *quota
	t       *tracked
	id      fileID
	name    string
	appends bool
	closed  atomic.Bool
}

func (f *quotaFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.write(off, int64(len(p))); err != nil {
		return 0, fail("write", f.name, err)
	}
	n, err := f.file.WriteAt(p, off)
	if err != nil {
		f.settle()
	}
	return n, err
}

// write counts what a write of n bytes adds to the file.
func (f *quotaFile) write(off, n int64) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.appends {
		off = f.t.size
	}
	return f.grow(off + n)
}

// grow counts what makes the file reach to end. The caller holds t.mu.
func (f *quotaFile) grow(end int64) error {
	more := end - f.t.size
	if more <= 0 || f.t.gone {
		return nil
	}
	if err := f.q.u.reserve(more, 0, f.q.limit); err != nil {
		return err
	}
	f.t.size = end
	return nil
}

// resize sets the size of the file.
func (f *quotaFile) resize(size int64) error {
	f.t.mu.Lock()
	err := f.grow(size)
	f.t.mu.Unlock()
	if err != nil {
		return fail("setattr", f.name, err)
	}
	defer f.settle()
	return f.file.SetAttr(Attr{Set: AttrSize, Size: size})
}

// settle makes the count what the file has really come to.
func (f *quotaFile) settle() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	fi, err := f.file.Stat()
	if err != nil || f.t.gone {
		return
	}
	f.q.u.add(fi.Size()-f.t.size, 0)
	f.t.size = fi.Size()
}

func (f *quotaFile) SetAttr(a Attr) error {
	if a.Set&AttrSize != 0 {
		if err := f.resize(a.Size); err != nil {
			return err
		}
		a.Set &^= AttrSize
	}
	return f.file.SetAttr(a)
}

func (f *quotaFile) Close() error { return f.end(f.file.Close) }
func (f *quotaFile) Abort() error { return f.end(f.file.Abort) }

// end lets the file go before its handle is closed: afterwards its identity
// may be that of a new file.
func (f *quotaFile) end(how func() error) error {
	if f.closed.Swap(true) {
		return fail("close", f.name, iofs.ErrClosed)
	}
	f.settle()
	f.q.u.release(f.id, f.t)
	return how()
}
