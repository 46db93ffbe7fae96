package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"sync"
)

// root is a host directory confined by os.Root: the jail of systems without
// openat2. It keeps every name inside, too, but takes several steps for one
// operation. So an operation can fail in a race of two sessions, or follow a link
// that was made at the right moment, though never to the outside.
type root struct {
	dir   *os.Root
	umask iofs.FileMode
}

func openRoot(host string, umask uint32) (layer, error) {
	dir, err := os.OpenRoot(host)
	if err != nil {
		return nil, err
	}
	return &root{dir: dir, umask: iofs.FileMode(umask).Perm()}, nil
}

// real is what os.Root calls name. It fails with ErrTooManyLinks if there is a
// link on the way, or if name is one and last is set.
func (r *root) real(name string, last bool) (string, error) {
	if err := valid(name); err != nil {
		return "", err
	}
	if name == "/" {
		return ".", nil
	}
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' || i == len(name) && !last {
			continue
		}
		fi, err := r.dir.Lstat(name[1:i])
		if err != nil {
			if i == len(name) {
				break // the operation itself fails
			}
			return "", err
		}
		if fi.Mode()&iofs.ModeSymlink != 0 {
			return "", ErrTooManyLinks
		}
	}
	return name[1:], nil
}

// do calls the method of os.Root that an operation is.
func (r *root) do(name string, last bool, call func(real string) error) error {
	real, err := r.real(name, last)
	if err == nil {
		err = call(real)
	}
	return translate(err)
}

// entry is do for what must not be done to the root itself.
func (r *root) entry(name string, call func(real string) error) error {
	if name == "/" {
		return iofs.ErrPermission
	}
	return r.do(name, false, call)
}

func (r *root) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	var opened *os.File
	exclusive := flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL
	err := r.do(name, !exclusive, func(real string) error {
		// The open of a FIFO would wait. Systems without O_NONBLOCK have none.
		if fi, err := r.dir.Lstat(real); err == nil && !exclusive {
			if err := regular(fi.Mode()); err != nil {
				return err
			}
		}
		f, err := r.dir.OpenFile(real, flag&openFlags|nonblock, perm.Perm()&^r.umask)
		if err != nil {
			return err
		}
		fi, err := f.Stat()
		if err == nil {
			err = regular(fi.Mode())
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
		opened = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &rootFile{file: opened, name: name, appends: flag&os.O_APPEND != 0}, nil
}

// batch is how many entries of a directory are in memory at a time.
const batch = 256

func (r *root) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		err := r.do(name, true, func(real string) error {
			if fi, err := r.dir.Lstat(real); err != nil {
				return err
			} else if !fi.IsDir() {
				return ErrNotDir
			}
			dir, err := r.dir.Open(real)
			if err != nil {
				return err
			}
			defer dir.Close()
			return readEntries(dir, yield)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

func (r *root) names(name string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for fi, err := range r.ReadDir(name) {
			base := ""
			if err == nil {
				base = fi.Name()
			}
			if !yield(base, err) {
				return
			}
		}
	}
}

func readEntries(dir *os.File, yield func(iofs.FileInfo, error) bool) error {
	for {
		entries, err := dir.ReadDir(batch)
		for _, e := range entries {
			fi, err := e.Info()
			if errors.Is(err, iofs.ErrNotExist) {
				continue // gone since
			}
			if err != nil {
				return err
			}
			if !yield(infoOf(e.Name(), fi), nil) {
				return nil
			}
		}
		if err == io.EOF || err == nil && len(entries) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *root) Lstat(name string) (fi iofs.FileInfo, err error) {
	err = r.do(name, false, func(real string) error {
		fi, err = r.dir.Lstat(real)
		return err
	})
	if err != nil {
		return nil, err
	}
	return infoOf(path.Base(name), fi), nil
}

func (r *root) Readlink(name string) (target string, err error) {
	err = r.do(name, false, func(real string) error {
		target, err = r.dir.Readlink(real)
		return err
	})
	return target, err
}

func (r *root) Mkdir(name string, perm iofs.FileMode) error {
	if name == "/" {
		return iofs.ErrExist
	}
	return r.entry(name, func(real string) error {
		return r.dir.Mkdir(real, perm.Perm()&^r.umask)
	})
}

func (r *root) Remove(name string) error { return r.remove(name, false) }
func (r *root) Rmdir(name string) error  { return r.remove(name, true) }

// remove looks before it removes: os.Root has one call for files and directories.
func (r *root) remove(name string, dir bool) error {
	return r.entry(name, func(real string) error {
		fi, err := r.dir.Lstat(real)
		switch {
		case err != nil:
			return err
		case fi.IsDir() && !dir:
			return ErrIsDir
		case !fi.IsDir() && dir:
			return ErrNotDir
		}
		return r.dir.Remove(real)
	})
}

// Rename without replace links and removes a file, which is safe against a race;
// for a directory, and where there are no links, it looks first.
func (r *root) Rename(oldname, newname string, replace bool) error {
	return r.pair(oldname, newname, func(oldreal, newreal string, old iofs.FileInfo) error {
		target, err := r.dir.Lstat(newreal)
		if err == nil {
			if !replace {
				return iofs.ErrExist
			}
			return r.replace(oldreal, newreal, old, target)
		}
		if !replace && old.Mode().IsRegular() && r.dir.Link(oldreal, newreal) == nil {
			return r.dir.Remove(oldreal)
		}
		return r.dir.Rename(oldreal, newreal)
	})
}

// replace renames over target, of which os.Root refuses directories.
func (r *root) replace(oldreal, newreal string, old, target iofs.FileInfo) error {
	switch {
	case os.SameFile(old, target):
		return nil
	case target.IsDir() && !old.IsDir():
		return ErrIsDir
	case !target.IsDir() && old.IsDir():
		return ErrNotDir
	case target.IsDir():
		if err := r.dir.Remove(newreal); err != nil {
			return err
		}
	}
	return r.dir.Rename(oldreal, newreal)
}

func (r *root) Link(oldname, newname string) error {
	return r.pair(oldname, newname, func(oldreal, newreal string, old iofs.FileInfo) error {
		if err := regular(old.Mode()); err != nil && old.Mode()&iofs.ModeSymlink == 0 {
			return err
		}
		return r.dir.Link(oldreal, newreal)
	})
}

func (r *root) pair(oldname, newname string, call func(oldreal, newreal string, old iofs.FileInfo) error) error {
	return r.entry(oldname, func(oldreal string) error {
		old, err := r.dir.Lstat(oldreal)
		if err != nil {
			return err
		}
		return r.entry(newname, func(newreal string) error { return call(oldreal, newreal, old) })
	})
}

func (r *root) Symlink(target, name string) error {
	if err := validTarget(target); err != nil {
		return err
	}
	return r.entry(name, func(real string) error { return r.dir.Symlink(target, real) })
}

// SetAttr changes no owner: only open files get one here, see uploads.
func (r *root) SetAttr(name string, a Attr) error {
	return r.do(name, !a.NoFollow, func(real string) error {
		fi, err := r.dir.Lstat(real)
		if err != nil {
			return err
		}
		if fi.Mode()&iofs.ModeSymlink != 0 && a.Set&(AttrMode|AttrTimes) != 0 {
			return ErrNotSupported // os.Root would change what it leads to
		}
		return a.apply(
			func() error { return truncate(r, name, a.Size) },
			func() error { return ErrNotSupported },
			func() error {
				mode, err := modeFor(fi.Mode(), a.Mode)
				if err != nil {
					return err
				}
				return r.dir.Chmod(real, mode)
			},
			func() error { return r.dir.Chtimes(real, a.Atime, a.Mtime) })
	})
}

func (r *root) StatFS(name string) (Usage, error) {
	return Usage{}, ErrNotSupported
}

func (r *root) syncDir(name string) error {
	return r.do(name, true, func(real string) error {
		dir, err := r.dir.Open(real)
		if err != nil {
			return err
		}
		defer dir.Close()
		return syncHandle(dir)
	})
}

func (r *root) Close() error { return translate(r.dir.Close()) }

// rootFile is an open regular file.
type rootFile struct {
	name    string
	appends bool
	file    *os.File
	mu      sync.Mutex // writers of a file that appends
}

func (f *rootFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	return n, translate(err)
}

func (f *rootFile) WriteAt(p []byte, off int64) (int, error) {
	if f.appends { // os.File refuses WriteAt
		f.mu.Lock()
		defer f.mu.Unlock()
		n, err := f.file.Write(p)
		return n, translate(err)
	}
	n, err := f.file.WriteAt(p, off)
	return n, translate(err)
}

func (f *rootFile) Stat() (iofs.FileInfo, error) {
	fi, err := f.file.Stat()
	if err != nil {
		return nil, translate(err)
	}
	return infoOf(path.Base(f.name), fi), nil
}

func (f *rootFile) SetAttr(a Attr) error {
	return translate(a.apply(
		func() error { return f.file.Truncate(a.Size) },
		func() error { return f.file.Chown(int(a.UID), int(a.GID)) },
		func() error {
			mode, err := modeFor(0, a.Mode)
			if err != nil {
				return err
			}
			return f.file.Chmod(mode)
		},
		func() error { return chtimesFile(f.file, a.Atime, a.Mtime) }))
}

func (f *rootFile) tryLock() error { return translate(lockHandle(f.file)) }

func (f *rootFile) Sync() error  { return translate(f.file.Sync()) }
func (f *rootFile) Close() error { return translate(f.file.Close()) }
func (f *rootFile) Abort() error { return f.Close() }

// infoOf is fi as this package has it.
func infoOf(name string, fi iofs.FileInfo) *info {
	i := &info{name: name, size: fi.Size(), mode: fi.Mode(), mtime: fi.ModTime(), ctime: fi.ModTime()}
	i.owner.Nlink = 1
	i.owner.Atime = fi.ModTime()
	describe(i, fi)
	return i
}
