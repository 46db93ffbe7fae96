package event

import (
	"errors"
	iofs "io/fs"
	"os"
	"syscall"
)

// causes has the reasons for errors of the system. The first entry that
// matches counts.
var causes = []struct {
	err    error
	reason Reason
}{
	{syscall.ENOSPC, DiskFull},
	{syscall.EDQUOT, QuotaExceeded},
	{syscall.EROFS, ReadOnly},
	{syscall.EFBIG, FileTooLarge},
	{syscall.ENOTEMPTY, NotEmpty},
	{syscall.EISDIR, IsDirectory},
	{syscall.ENOTDIR, NotADirectory},
	{syscall.ENAMETOOLONG, NameTooLong},
	{syscall.ELOOP, TooManyLinks},
	{syscall.EMLINK, TooManyLinks},
	{syscall.EXDEV, DifferentDisks},
	{syscall.EBUSY, Busy},
	{syscall.ETXTBSY, Busy},
	{syscall.EMFILE, TooManyOpenFiles},
	{syscall.ENFILE, TooManyOpenFiles},
	{syscall.EIO, InputOutput},
	{syscall.ESTALE, StorageGone},
	{os.ErrDeadlineExceeded, StorageTimeout},
	{syscall.ETIMEDOUT, StorageTimeout},
	{iofs.ErrPermission, PermissionDenied},
	{iofs.ErrNotExist, NoSuchFile},
	{iofs.ErrExist, FileExists},
	{errors.ErrUnsupported, NotSupported},
	{syscall.EOPNOTSUPP, NotSupported},
	{syscall.ENXIO, NotRegular},
	{iofs.ErrInvalid, InvalidRequest},
	{syscall.EINVAL, InvalidRequest},
}

// ReasonOf is the reason for an error of a file operation; none if the error is
// not one of the system.
func ReasonOf(err error) Reason {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.reason
		}
	}
	return Reason{}
}
