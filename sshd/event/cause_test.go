package event_test

import (
	"fmt"
	iofs "io/fs"
	"testing"

	"berth/fs"
	"berth/sshd/event"
)

// Whatever a folder refuses has a reason.
func TestErrorsOfFilesHaveReasons(t *testing.T) {
	for err, want := range map[error]event.Reason{
		fs.ErrNotSupported: event.NotSupported, fs.ErrNotEmpty: event.NotEmpty, fs.ErrNotDir: event.NotADirectory,
		fs.ErrIsDir: event.IsDirectory, fs.ErrNotRegular: event.NotRegular, fs.ErrNoSpace: event.DiskFull,
		fs.ErrQuota: event.QuotaExceeded, fs.ErrTooLarge: event.FileTooLarge, fs.ErrNameTooLong: event.NameTooLong,
		fs.ErrReadOnly: event.ReadOnly, fs.ErrCrossFolder: event.DifferentDisks, fs.ErrTooManyLinks: event.TooManyLinks,
		iofs.ErrPermission: event.PermissionDenied, iofs.ErrNotExist: event.NoSuchFile, iofs.ErrExist: event.FileExists,
		iofs.ErrInvalid: event.InvalidRequest,
	} {
		if got := event.ReasonOf(&iofs.PathError{Op: "open", Path: "/a", Err: fmt.Errorf("x: %w", err)}); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}
