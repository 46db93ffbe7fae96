package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// jailFile is an open regular file. It is a bare handle, since os.File would
// ask the poller about every file, which costs as much as the open.
type jailFile struct {
	name    string
	max     int64 // bytes; 0: no limit
	appends bool

	mu sync.RWMutex // held for reading while fd is in use: Close waits for reads and writes
	fd int          // -1 when closed
}

func (f *jailFile) use(do func(fd int) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return iofs.ErrClosed
	}
	return translate(do(f.fd))
}

// ReadAt reads until p is full or the file ends.
func (f *jailFile) ReadAt(p []byte, off int64) (int, error) {
	return f.all(unix.Pread, p, off, io.EOF)
}

// WriteAt writes all of p. In a file that appends the kernel ignores the offset.
func (f *jailFile) WriteAt(p []byte, off int64) (int, error) {
	if f.max > 0 && f.appends {
		fi, err := f.Stat()
		if err != nil {
			return 0, err
		}
		off = fi.Size()
	}
	if f.max > 0 && off > f.max-int64(len(p)) {
		return 0, ErrTooLarge
	}
	return f.all(unix.Pwrite, p, off, io.ErrShortWrite)
}

// all calls move until all of p is moved. If move moves nothing, the error is
// none.
func (f *jailFile) all(move func(fd int, p []byte, off int64) (int, error), p []byte, off int64, none error) (n int, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, iofs.ErrClosed
	}
	for n < len(p) {
		m, err := move(f.fd, p[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, translate(err)
		case m == 0:
			return n, none
		default:
			n += m
		}
	}
	return n, nil
}

func (f *jailFile) Stat() (iofs.FileInfo, error)     { return f.stat(infoOfHandle) }
func (f *jailFile) identify() (iofs.FileInfo, error) { return f.stat(identifyHandle) }

func (f *jailFile) stat(stat func(fd int, name string) (iofs.FileInfo, error)) (fi iofs.FileInfo, err error) {
	err = f.use(func(fd int) error {
		fi, err = stat(fd, path.Base(f.name))
		return err
	})
	return fi, err
}

func (f *jailFile) SetAttr(a Attr) error {
	return f.use(func(fd int) error {
		return setAttr(fd, a, func() error {
			if f.max > 0 && a.Size > f.max {
				return ErrTooLarge
			}
			return again(func() error { return unix.Ftruncate(fd, a.Size) })
		})
	})
}

func (f *jailFile) Sync() error {
	return f.use(func(fd int) error {
		return again(func() error { return unix.Fsync(fd) })
	})
}

func (f *jailFile) replaces() iofs.FileInfo { return nil }

func (f *jailFile) tryLock() error {
	return f.use(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

func (f *jailFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return iofs.ErrClosed
	}
	fd := f.fd
	f.fd = -1
	// The handle is gone even when close was interrupted.
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		return translate(err)
	}
	return nil
}

func (f *jailFile) Abort() error { return f.Close() }
