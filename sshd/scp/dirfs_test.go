package scp

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"berth/fs"
)

// A dirFS is a host directory as an fs.FS, without any confinement.
type dirFS string

func (d dirFS) host(name string) string { return filepath.Join(string(d), name) }

func (d dirFS) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	if fi, err := os.Stat(d.host(name)); err == nil && fi.IsDir() {
		return nil, &iofs.PathError{Op: "open", Path: name, Err: fs.ErrIsDir}
	} else if err == nil && !fi.Mode().IsRegular() {
		return nil, &iofs.PathError{Op: "open", Path: name, Err: fs.ErrNotRegular}
	}
	f, err := os.OpenFile(d.host(name), flag, perm)
	if errors.Is(err, syscall.ENOTDIR) {
		err = &iofs.PathError{Op: "open", Path: name, Err: fs.ErrNotDir}
	}
	if err != nil {
		return nil, err
	}
	return dirFile{f, d, name}, nil
}

func (d dirFS) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		entries, err := os.ReadDir(d.host(name))
		for _, e := range entries {
			fi, err := e.Info()
			if err == nil && !yield(fi, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func (d dirFS) Stat(name string) (iofs.FileInfo, error)  { return os.Stat(d.host(name)) }
func (d dirFS) Lstat(name string) (iofs.FileInfo, error) { return os.Lstat(d.host(name)) }
func (d dirFS) Readlink(name string) (string, error)     { return os.Readlink(d.host(name)) }
func (d dirFS) Mkdir(name string, perm iofs.FileMode) error {
	return os.Mkdir(d.host(name), perm)
}
func (d dirFS) Remove(name string) error { return os.Remove(d.host(name)) }
func (d dirFS) Rmdir(name string) error  { return os.Remove(d.host(name)) }
func (d dirFS) Rename(oldname, newname string, _ bool) error {
	return os.Rename(d.host(oldname), d.host(newname))
}
func (d dirFS) Symlink(target, name string) error { return os.Symlink(target, d.host(name)) }
func (d dirFS) Link(oldname, newname string) error {
	return os.Link(d.host(oldname), d.host(newname))
}
func (d dirFS) StatFS(string) (fs.Usage, error)      { return fs.Usage{}, fs.ErrNotSupported }
func (d dirFS) Realpath(name string) (string, error) { return filepath.Clean(name), nil }
func (d dirFS) Close() error                         { return nil }

func (d dirFS) SetAttr(name string, a fs.Attr) error {
	var err error
	if a.Set&fs.AttrSize != 0 {
		err = os.Truncate(d.host(name), a.Size)
	}
	if a.Set&fs.AttrMode != 0 {
		err = errors.Join(err, os.Chmod(d.host(name), a.Mode))
	}
	if a.Set&fs.AttrTimes != 0 {
		err = errors.Join(err, os.Chtimes(d.host(name), a.Atime, a.Mtime))
	}
	return err
}

type dirFile struct {
	*os.File
	dir  dirFS
	name string
}

func (f dirFile) SetAttr(a fs.Attr) error { return f.dir.SetAttr(f.name, a) }
func (f dirFile) Abort() error            { return f.Close() }
