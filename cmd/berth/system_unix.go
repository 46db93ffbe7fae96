//go:build unix

package main

import (
	"os"
	"syscall"
)

// clearUmask leaves modes to the folders: each has an umask of its own.
func clearUmask() { syscall.Umask(0) }

// descriptorLimit returns how many files this process may have open; 0 if that
// is not known.
func descriptorLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return uint64(r.Cur)
}

// lock takes the lock of f, which lasts until this process ends or closes the
// file.
func lock(f *os.File) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
}

// locker returns the other process that has the lock of f; 0 if none has. The
// kernel says so, not the file.
func locker(f *os.File) int {
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil || l.Type == syscall.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}
