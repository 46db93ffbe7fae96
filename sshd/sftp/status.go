package sftp

import (
	"errors"
	"io"
	iofs "io/fs"

	"berth/fs"
)

// Status codes of section 7 of the draft that this server uses.
const (
	fxOK               = 0
	fxEOF              = 1
	fxNoSuchFile       = 2
	fxPermissionDenied = 3
	fxFailure          = 4
	fxBadMessage       = 5
	fxOpUnsupported    = 8
)

// status is an outcome as the client gets it. As an error it is one that has its own
// code and text.
type status struct {
	code uint32
	text string
}

func (s status) Error() string { return s.text }

var (
	errMalformed     = status{fxBadMessage, "Bad message"}
	errBadName       = status{fxFailure, "Invalid file name"}
	errBadHandle     = status{fxFailure, "Invalid handle"}
	errNotOpenRead   = status{fxPermissionDenied, "Handle is not open for reading"}
	errNotOpenWrite  = status{fxPermissionDenied, "Handle is not open for writing"}
	errTooManyOpen   = status{fxFailure, "Too many open files"}
	errUnknownUser   = status{fxNoSuchFile, "No such user"}
	errUnknownHash   = status{fxOpUnsupported, "No such hash algorithm"}
	errTooMuchAsked  = status{fxFailure, "Answer would be too long"}
	errSameFile      = status{fxFailure, "Source and target are the same file"}
	errSessionIsOver = status{fxFailure, "Session is over"}
)

// statuses maps errors to the status that a client gets. The first entry that
// errors.Is matches is used. The text of the error is never sent, because it may name
// a path of this machine. The codes are those that OpenSSH's clients expect.
var statuses = []struct {
	err error
	status
}{
	{io.EOF, status{fxEOF, "End of file"}},
	{fs.ErrFolderMissing, status{fxNoSuchFile, "Folder is missing on the server"}},
	{fs.ErrQuota, status{fxFailure, "Quota exceeded"}},
	{fs.ErrNoSpace, status{fxFailure, "No space left on device"}},
	{fs.ErrTooManyOpen, errTooManyOpen},
	{fs.ErrNoDescriptors, status{fxFailure, "The server has too many open files"}},
	{fs.ErrTooLarge, status{fxFailure, "File too large"}},
	{fs.ErrNotEmpty, status{fxFailure, "Directory not empty"}},
	{fs.ErrNotDir, status{fxNoSuchFile, "Not a directory"}},
	{fs.ErrIsDir, status{fxFailure, "Is a directory"}},
	{fs.ErrNotRegular, status{fxFailure, "Not a regular file"}},
	{fs.ErrNameTooLong, status{fxFailure, "File name too long"}},
	{fs.ErrReadOnly, status{fxPermissionDenied, "Read-only file system"}},
	{fs.ErrCrossFolder, status{fxFailure, "Cannot be moved to another folder"}},
	{fs.ErrTooManyLinks, status{fxNoSuchFile, "Too many levels of symbolic links"}},
	{fs.ErrNotSupported, status{fxOpUnsupported, "Operation unsupported"}},
	{errors.ErrUnsupported, status{fxOpUnsupported, "Operation unsupported"}},
	{iofs.ErrNotExist, status{fxNoSuchFile, "No such file"}},
	{iofs.ErrPermission, status{fxPermissionDenied, "Permission denied"}},
	{iofs.ErrExist, status{fxFailure, "File exists"}},
	{iofs.ErrInvalid, status{fxFailure, "Invalid argument"}},
}

func statusOf(err error) status {
	if err == nil {
		return status{fxOK, "Success"}
	}
	if st := (status{}); errors.As(err, &st) {
		return st
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return status{fxFailure, "Failure"}
}
