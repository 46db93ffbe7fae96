// Package fs holds the files a person sees: one view made of host directories,
// in which every name is confined and every operation is checked.
//
// An FS is made of layers of the same interface. From the bottom: jail (a host
// directory that no name leads out of), owned (where files are the person's), quota,
// uploads (atomic ones), mounts (several folders in one tree), rates, guard (the
// policy) and links. Links are followed in the topmost layer, so that the guard
// decides about the names that they lead to. The package knows no protocol. Start at
// FS and Open.
package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"path"
	"strings"
	"syscall"
	"time"
)

// FS is a tree of files. Names are absolute, slash-separated, clean (path.Clean
// of "/"+name) and otherwise any bytes but NUL. A clean name may have one slash
// more at its end. It is then the name of a directory, as in Linux: no operation
// finds, makes or removes anything else by that name. Errors wrap the errors
// of io/fs or the ones below, never hold a host path, and are *iofs.PathError
// where a name is known. An FS is safe for concurrent use.
type FS interface {
	// OpenFile opens a regular file with the flags of package os: O_RDONLY,
	// O_WRONLY or O_RDWR, with O_APPEND, O_CREATE, O_EXCL, O_TRUNC. Directories,
	// FIFOs, devices and sockets are refused and never opened.
	OpenFile(name string, flag int, perm iofs.FileMode) (File, error)
	// ReadDir yields the entries of a directory with what Lstat reports, in the
	// order of the disk, without "." and "..". It ends after the first error.
	ReadDir(name string) iter.Seq2[iofs.FileInfo, error]
	Stat(name string) (iofs.FileInfo, error)
	Lstat(name string) (iofs.FileInfo, error)
	Readlink(name string) (string, error)
	Mkdir(name string, perm iofs.FileMode) error
	Remove(name string) error // a file or a link, never a directory
	Rmdir(name string) error  // an empty directory, never a file
	// Rename moves a file or directory. Unless replace is set it fails with
	// iofs.ErrExist when newname exists.
	Rename(oldname, newname string, replace bool) error
	// Symlink makes name a link to target. The target is stored unchanged.
	Symlink(target, name string) error
	// SetAttr changes the attributes of what name leads to, or of a link itself
	// when a.NoFollow is set.
	SetAttr(name string, a Attr) error
	// Link gives a file another name.
	Link(oldname, newname string) error
	// StatFS reports how much room the file system has.
	StatFS(name string) (Usage, error)
	// Realpath follows all links in a name, which is absolute but need not be clean.
	// After a link ".." leaves the directory that the link leads to; after a file it
	// is ErrNotDir. The last element may be missing, unless a slash follows it. Where
	// a person may not list a directory, the answer does not depend on what exists
	// in it.
	Realpath(name string) (string, error)
	// Close ends the session: atomic uploads that are still open are aborted.
	// Open files stay readable and must be closed separately.
	Close() error
}

// Clean returns the absolute clean form of a client's name, which starts from "/" if it
// is relative. files resolves what comes before a "..": it may be a link, or missing.
func Clean(files FS, name string) (string, error) {
	name = "/" + name
	if i := strings.LastIndex(name+"/", "/../"); i >= 0 {
		dir, err := files.Realpath(name[:i+3])
		if err != nil {
			return "", err
		}
		name = dir + name[i+3:]
	}
	return path.Clean(name), nil
}

// File is an open regular file. ReadAt and WriteAt may be used concurrently.
// In a file opened with O_APPEND WriteAt ignores the offset. An error of Close
// means that what was written is not safe under the name.
//
// A session that ends before the client closed a file calls Abort instead of
// Close. An atomic upload then does not get its name: its data is kept for a
// while, out of sight, for the same user to resume. A file that is written in
// place stays as it is.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (iofs.FileInfo, error)
	SetAttr(a Attr) error
	Sync() error
	Abort() error
}

// Attr is a set of attributes to change. Only those named by Set count.
type Attr struct {
	Set      AttrSet
	Size     int64
	Mode     iofs.FileMode // permissions; set-group-id and sticky bits for directories only
	Atime    time.Time
	Mtime    time.Time
	UID, GID uint32 // math.MaxUint32 leaves one as it is
	NoFollow bool
}

// AttrSet names attributes.
type AttrSet uint8

// The attributes that can be set.
const (
	AttrSize AttrSet = 1 << iota
	AttrMode
	AttrTimes // both
	AttrOwner // both
)

// More errors than io/fs has. A protocol engine maps them to its own status.
// errors.Is finds the error of the system in each.
var (
	ErrNotSupported  = newError("operation not supported", syscall.EOPNOTSUPP, syscall.ENOSYS)
	ErrNotEmpty      = newError("directory not empty", syscall.ENOTEMPTY)
	ErrNotDir        = newError("not a directory", syscall.ENOTDIR)
	ErrIsDir         = newError("is a directory", syscall.EISDIR)
	ErrNotRegular    = newError("not a regular file", syscall.ENXIO, syscall.ENODEV) // a FIFO without a reader, a socket
	ErrNoSpace       = newError("no space left on device", syscall.ENOSPC)
	ErrQuota         = newError("quota exceeded", syscall.EDQUOT)
	ErrTooLarge      = newError("file too large", syscall.EFBIG)
	ErrNameTooLong   = newError("file name too long", syscall.ENAMETOOLONG)
	ErrReadOnly      = newError("read-only file system", syscall.EROFS)
	ErrCrossFolder   = newError("cannot be moved to another folder", syscall.EXDEV)
	ErrTooManyLinks  = newError("too many levels of symbolic links", syscall.ELOOP)
	ErrNoDescriptors = newError("the server has too many open files", syscall.EMFILE, syscall.ENFILE) // the latter: of all processes
	ErrFolderMissing = errors.New("folder is missing on the server")
	ErrTooManyOpen   = errors.New("the user has too many open files") // no error of the system: a limit of this server
)

// Owner says who a file belongs to, by number, as the SFTP protocol carries it.
// Sys of a FileInfo of this package returns a *Owner. Do not change it.
type Owner struct {
	UID, GID uint32
	Nlink    uint64
	Atime    time.Time
}

// BrokenFolder is a folder that could not be opened. Err names its host directory.
type BrokenFolder struct {
	Path, Host string
	Err        error
}

// BrokenFolders are those of one view. They are the error of Open if no folder can
// be opened.
type BrokenFolders []BrokenFolder

func (b BrokenFolders) Error() string { return errors.Join(b.Unwrap()...).Error() }

func (b BrokenFolders) Unwrap() (errs []error) {
	for _, f := range b {
		errs = append(errs, f.Err)
	}
	return errs
}

// LocatedFile is a File of a View. HostPath is where it was opened on this machine.
type LocatedFile interface {
	HostPath() string
}

// Usage is the room in a file system, with the fields of statvfs(3).
type Usage struct {
	BlockSize, Blocks, BlocksFree, BlocksAvail uint64
	Files, FilesFree                           uint64
	FSID, Flags, NameMax                       uint64
}
