package fs

import (
	"errors"
	iofs "io/fs"
	"syscall"
)

// errnos gives the errors of the system the names of this package.
var errnos = map[syscall.Errno]error{
	syscall.EACCES:       iofs.ErrPermission,
	syscall.EPERM:        iofs.ErrPermission,
	syscall.ENOENT:       iofs.ErrNotExist,
	syscall.EEXIST:       iofs.ErrExist,
	syscall.EINVAL:       iofs.ErrInvalid,
	syscall.EBADF:        iofs.ErrPermission, // reading what is open for writing, or the reverse
	syscall.ENOTEMPTY:    ErrNotEmpty,
	syscall.ENOTDIR:      ErrNotDir,
	syscall.EISDIR:       ErrIsDir,
	syscall.ENXIO:        ErrNotRegular, // a FIFO without a reader, a socket
	syscall.ENODEV:       ErrNotRegular,
	syscall.ENOSPC:       ErrNoSpace,
	syscall.EDQUOT:       ErrQuota,
	syscall.EFBIG:        ErrTooLarge,
	syscall.ENAMETOOLONG: ErrNameTooLong,
	syscall.EROFS:        ErrReadOnly,
	syscall.EXDEV:        ErrCrossFolder,
	syscall.ELOOP:        ErrTooManyLinks,
	syscall.EMFILE:       ErrNoDescriptors,
	syscall.ENFILE:       ErrNoDescriptors, // of all processes
	syscall.EOPNOTSUPP:   ErrNotSupported,
	syscall.ENOSYS:       ErrNotSupported,
}

// A systemError has the same text on every system. errors.Is finds its errno.
type systemError struct {
	text  string
	errno syscall.Errno
}

func (e *systemError) Error() string { return e.text }

func (e *systemError) Is(target error) bool { return target == e.errno }

// translate gives an error of a system call the name that this package has for it.
func translate(err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	if known, ok := errnos[errno]; ok {
		return known
	}
	return errno
}
