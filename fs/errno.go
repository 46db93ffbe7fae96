package fs

import (
	"errors"
	iofs "io/fs"
	"syscall"
)

// errnos gives the errors of the system the names of io/fs and of this package.
var errnos = map[syscall.Errno]error{
	syscall.EACCES: iofs.ErrPermission,
	syscall.EPERM:  iofs.ErrPermission,
	syscall.ENOENT: iofs.ErrNotExist,
	syscall.EEXIST: iofs.ErrExist,
	syscall.EINVAL: iofs.ErrInvalid,
	syscall.EBADF:  iofs.ErrPermission, // reading what is open for writing, or the reverse
}

// A systemError has the same text on every system. errors.Is finds its errno.
type systemError struct {
	text  string
	errno syscall.Errno
}

func (e *systemError) Error() string { return e.text }

func (e *systemError) Is(target error) bool { return target == e.errno }

// newError is the name of an error of the system, and of others that mean the same.
func newError(text string, errno syscall.Errno, others ...syscall.Errno) error {
	e := &systemError{text, errno}
	for _, no := range append(others, errno) {
		errnos[no] = e
	}
	return e
}

// exhausted reports whether the process or the system has run out of something. Such an
// error says nothing about a file: it is never an answer about what exists.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

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
