//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package fs

import (
	iofs "io/fs"
	"os"
	"time"
)

// nonblock is not needed: no open of a file of the tree waits.
const nonblock = 0

func describe(*info, iofs.FileInfo) {}

func chtimesFile(*os.File, time.Time, time.Time) error { return ErrNotSupported }

// syncHandle does nothing: such a system cannot flush a directory.
func syncHandle(*os.File) error { return nil }

// canLock says that lockHandle works.
const canLock = false

func lockHandle(*os.File) error { return ErrNotSupported }
