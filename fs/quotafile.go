package fs

import (
	iofs "io/fs"
	"os"
	"sync/atomic"
)

// quotaFile is an open file whose growth is counted before it happens.
type quotaFile struct {
	file
	q      *quota
	t      *tracked
	flag   int // of package os
	closed atomic.Bool
}

func (f *quotaFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.write(p, off)
	if err != nil {
		f.settle()
	}
	return n, err
}

func (f *quotaFile) write(p []byte, off int64) (int, error) {
	f.t.writes.RLock()
	defer f.t.writes.RUnlock()
	if err := f.grow(off+int64(len(p)), len(p)); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, off)
}

func (f *quotaFile) resize(size int64) error {
	defer f.settle()
	f.t.writes.RLock()
	defer f.t.writes.RUnlock()
	if err := f.grow(size, 0); err != nil {
		return err
	}
	return f.file.SetAttr(Attr{Set: AttrSize, Size: size})
}

// grow counts what makes the file reach to end, or longer by appended bytes. The
// caller holds writes.
func (f *quotaFile) grow(end int64, appended int) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.closed.Load() {
		return iofs.ErrClosed
	}
	if f.flag&os.O_APPEND != 0 && appended > 0 {
		end = f.t.size + int64(appended)
	}
	more := end - f.t.size
	if more <= 0 {
		return nil
	}
	if err := f.q.u.Reserve(Amount{Bytes: more}, f.q.limit); err != nil {
		return err
	}
	f.t.size = end
	return nil
}

// settle corrects the count to the real size of the file, as soon as no write
// is under way.
func (f *quotaFile) settle() {
	f.t.writes.Lock()
	defer f.t.writes.Unlock()
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	fi, err := f.file.Stat()
	if err != nil {
		return
	}
	f.q.u.Add(Amount{Bytes: fi.Size() - f.t.size})
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

// end stops counting the file before its handle is closed: afterwards a new
// file may have its identity.
func (f *quotaFile) end(how func() error) error {
	if f.closed.Swap(true) {
		return iofs.ErrClosed
	}
	if writes(f.flag) {
		f.settle()
	}
	f.q.u.release(f.t)
	return how()
}
