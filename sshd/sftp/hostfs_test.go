package sftp_test

import (
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"berth/fs"
)

// hostFS is a directory of this machine as an fs.FS, for tests: simple, and not confined.
type hostFS struct {
	dir     string
	open    atomic.Int64 // files open now
	aborted atomic.Int64 // files that were aborted
}

var errnos = map[syscall.Errno]error{
	syscall.ENOTEMPTY: fs.ErrNotEmpty, syscall.ENOTDIR: fs.ErrNotDir, syscall.EISDIR: fs.ErrIsDir,
	syscall.ENAMETOOLONG: fs.ErrNameTooLong, syscall.EINVAL: iofs.ErrInvalid, syscall.ELOOP: fs.ErrTooManyLinks,
}

func portable(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && errnos[errno] != nil {
		return errnos[errno]
	}
	return err
}

func (h *hostFS) host(name string) string { return filepath.Join(h.dir, name) }

// OpenFile refuses what is no regular file.
func (h *hostFS) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	f, err := os.OpenFile(h.host(name), flag|syscall.O_NONBLOCK, perm.Perm())
	if err != nil {
		return nil, portable(err)
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, fs.ErrNotRegular
	}
	h.open.Add(1)
	return &hostFile{File: f, fs: h, appends: flag&os.O_APPEND != 0}, nil
}

type hostFile struct {
	*os.File
	fs      *hostFS
	appends bool
}

func (f *hostFile) WriteAt(b []byte, offset int64) (int, error) {
	if f.appends {
		return f.Write(b)
	}
	return f.File.WriteAt(b, offset)
}

func (f *hostFile) Stat() (iofs.FileInfo, error) {
	fi, err := f.File.Stat()
	return owned(fi), err
}

func (f *hostFile) SetAttr(a fs.Attr) error {
	if a.Set&fs.AttrSize != 0 {
		if err := f.Truncate(a.Size); err != nil {
			return portable(err)
		}
	}
	a.Set &^= fs.AttrSize
	return setAttr(f.Name(), a)
}

func (f *hostFile) Close() error { f.fs.open.Add(-1); return f.File.Close() }

func (f *hostFile) Abort() error { f.fs.aborted.Add(1); return f.Close() }

func (h *hostFS) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		d, err := os.Open(h.host(name))
		if err != nil {
			yield(nil, portable(err))
			return
		}
		defer d.Close()
		for {
			list, err := d.Readdir(64)
			for _, fi := range list {
				if !yield(owned(fi), nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, portable(err))
				return
			}
		}
	}
}

func (h *hostFS) Stat(name string) (iofs.FileInfo, error) {
	fi, err := os.Stat(h.host(name))
	return owned(fi), portable(err)
}

func (h *hostFS) Lstat(name string) (iofs.FileInfo, error) {
	fi, err := os.Lstat(h.host(name))
	return owned(fi), portable(err)
}

func (h *hostFS) Readlink(name string) (string, error) {
	target, err := os.Readlink(h.host(name))
	return target, portable(err)
}

func (h *hostFS) Mkdir(name string, perm iofs.FileMode) error {
	return portable(os.Mkdir(h.host(name), perm.Perm()))
}

func (h *hostFS) Remove(name string) error { return portable(syscall.Unlink(h.host(name))) }

func (h *hostFS) Rmdir(name string) error { return portable(syscall.Rmdir(h.host(name))) }

func (h *hostFS) Rename(oldname, newname string, replace bool) error {
	if _, err := os.Lstat(h.host(newname)); err == nil && !replace {
		return iofs.ErrExist
	}
	return portable(os.Rename(h.host(oldname), h.host(newname)))
}

func (h *hostFS) Symlink(target, name string) error {
	return portable(os.Symlink(target, h.host(name)))
}

func (h *hostFS) Link(oldname, newname string) error {
	return portable(os.Link(h.host(oldname), h.host(newname)))
}

func (h *hostFS) SetAttr(name string, a fs.Attr) error { return setAttr(h.host(name), a) }

func (h *hostFS) StatFS(name string) (fs.Usage, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(h.host(name), &st); err != nil {
		return fs.Usage{}, portable(err)
	}
	return fs.Usage{
		BlockSize: uint64(st.Bsize), Blocks: st.Blocks, BlocksFree: st.Bfree, BlocksAvail: st.Bavail,
		Files: st.Files, FilesFree: st.Ffree, NameMax: uint64(st.Namelen),
	}, nil
}

func (h *hostFS) Close() error { return nil }

func setAttr(host string, a fs.Attr) error {
	var err error
	if a.Set&fs.AttrSize != 0 {
		err = os.Truncate(host, a.Size)
	}
	if a.Set&fs.AttrMode != 0 && err == nil {
		err = os.Chmod(host, a.Mode)
	}
	if a.Set&fs.AttrOwner != 0 && err == nil {
		err = os.Chown(host, int(a.UID), int(a.GID))
	}
	if a.Set&fs.AttrTimes != 0 && err == nil {
		err = os.Chtimes(host, a.Atime, a.Mtime)
	}
	return portable(err)
}

// ownedInfo is a FileInfo whose Sys is the Owner of package fs.
type ownedInfo struct {
	iofs.FileInfo
	owner fs.Owner
}

func (i ownedInfo) Sys() any { return &i.owner }

func owned(fi iofs.FileInfo) iofs.FileInfo {
	if fi == nil {
		return nil
	}
	st := fi.Sys().(*syscall.Stat_t)
	return ownedInfo{fi, fs.Owner{UID: st.Uid, GID: st.Gid, Nlink: uint64(st.Nlink), Atime: fi.ModTime()}}
}
