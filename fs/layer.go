package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"
)

// layer is what one layer needs of the one below it: the methods of FS, with
// files that can be locked, and more. The layers under links never follow a
// symbolic link: where one is in the way they fail with ErrTooManyLinks. Their
// errors need no name; the topmost layer puts the caller's in.
type layer interface {
	OpenFile(name string, flag int, perm iofs.FileMode) (file, error)
	ReadDir(name string) iter.Seq2[iofs.FileInfo, error]
	Lstat(name string) (iofs.FileInfo, error)
	Readlink(name string) (string, error)
	Mkdir(name string, perm iofs.FileMode) error
	Remove(name string) error
	Rmdir(name string) error
	Rename(oldname, newname string, replace bool) error
	Symlink(target, name string) error
	SetAttr(name string, a Attr) error
	Link(oldname, newname string) error
	StatFS(name string) (Usage, error)
	Close() error
	// identify is Lstat that also finds out the generation, which costs more.
	identify(name string) (iofs.FileInfo, error)
	// syncDir makes what was renamed in a directory survive a crash.
	syncDir(name string) error
	// names yields the names in a directory, which is much cheaper than ReadDir.
	names(dir string) iter.Seq2[string, error]
}

// file is a File of a layer. A layer that wraps files embeds this interface, so
// that it forwards every method.
type file interface {
	File
	// identify is Stat that also finds out the generation.
	identify() (iofs.FileInfo, error)
	// replaces is the file that loses its name to this one when this one is closed, nil
	// if there is none.
	replaces() iofs.FileInfo
	// tryLock takes the file for this handle alone, among all that ask. The lock
	// ends with the handle, also when the server dies.
	tryLock() error
}

// Bounds of a name, as in Linux.
const (
	maxName = 4096 // bytes of a path
	maxBase = 255  // bytes of one element, which the system checks
)

// valid refuses names that are not absolute and clean, or too long.
func valid(name string) error {
	if len(name) > maxName {
		return ErrNameTooLong
	}
	if !strings.HasPrefix(name, "/") || strings.IndexByte(name, 0) >= 0 || path.Clean(name) != name {
		return iofs.ErrInvalid
	}
	return nil
}

// openFlags are those flags of OpenFile that are passed on.
const openFlags = os.O_RDONLY | os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREATE | os.O_EXCL | os.O_TRUNC

// writes reports whether an open with these flags can change a file.
func writes(flag int) bool {
	return flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0
}

// regular fails for everything that is never opened.
func regular(mode iofs.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return ErrIsDir
	}
	return ErrNotRegular
}

func truncate(l layer, name string, size int64) error {
	f, err := l.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.SetAttr(Attr{Set: AttrSize, Size: size}), f.Close())
}

// modeFor is the mode to set on something that has the mode old. A client may give
// a directory the set-group-id and sticky bits, and nothing else. The set-group-id
// bit of a directory stays, as with chmod of GNU: clients send modes without it, and
// a shared directory would lose its group.
func modeFor(old, mode iofs.FileMode) (iofs.FileMode, error) {
	allowed := iofs.ModePerm
	if old.IsDir() {
		allowed |= iofs.ModeSetgid | iofs.ModeSticky
		mode |= old & iofs.ModeSetgid
	}
	if mode&^allowed != 0 {
		return 0, iofs.ErrPermission
	}
	return mode, nil
}

// fail is err as the caller sees it: about name, and without any other path.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &iofs.PathError{Op: op, Path: name, Err: cause(err)}
}

// cause is err without the parts that name a path.
func cause(err error) error {
	for {
		pe, ok := errors.AsType[*iofs.PathError](err)
		if !ok {
			return err
		}
		err = pe.Err
	}
}

// join is the name of base in the clean directory dir.
func join(dir, base string) string {
	if dir == "/" {
		return "/" + base
	}
	return dir + "/" + base
}

// walk calls do with everything below dir until it returns an error. It calls do with
// the error of a directory, whose other entries are then left out.
func walk(l layer, dir string, do func(name string, fi iofs.FileInfo, err error) error) error {
	for dirs := []string{dir}; len(dirs) > 0; {
		dir = dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		for fi, err := range l.ReadDir(dir) {
			name := dir
			if err == nil {
				name = join(dir, fi.Name())
			}
			if err := do(name, fi, err); err != nil {
				return err
			}
			if err == nil && fi.IsDir() {
				dirs = append(dirs, name)
			}
		}
	}
	return nil
}

// info is the iofs.FileInfo of all layers.
type info struct {
	name  string
	size  int64
	mode  iofs.FileMode
	mtime time.Time
	ctime time.Time // of the last change, which no client can set
	owner Owner
	id    fileID
}

// fileID tells one file of a machine from another. It is zero for virtual
// directories. File systems give the number of a removed file to the next one; the
// generation is then another. Only identify finds that out: what Stat and Lstat say
// is enough for a file that is open or locked meanwhile.
type fileID struct{ dev, ino, generation uint64 }

func (i *info) Name() string        { return i.name }
func (i *info) Size() int64         { return i.size }
func (i *info) Mode() iofs.FileMode { return i.mode }
func (i *info) ModTime() time.Time  { return i.mtime }
func (i *info) IsDir() bool         { return i.mode.IsDir() }
func (i *info) Sys() any            { return &i.owner }

// What every iofs.FileInfo of a layer has, since all of them are an *info.
func idOf(fi iofs.FileInfo) fileID       { return fi.(*info).id }
func changed(fi iofs.FileInfo) time.Time { return fi.(*info).ctime }
func hardLinks(fi iofs.FileInfo) uint64  { return fi.(*info).owner.Nlink }

// named is fi under another name.
func named(fi iofs.FileInfo, name string) iofs.FileInfo {
	i := fi.(*info)
	if i.name == name {
		return fi
	}
	renamed := *i
	renamed.name = name
	return &renamed
}
