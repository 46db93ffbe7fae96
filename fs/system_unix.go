//go:build linux || darwin || freebsd || netbsd || openbsd

package fs

import (
	iofs "io/fs"
	"os"
	"syscall"
	"time"
)

// nonblock keeps the open of a FIFO from waiting.
const nonblock = syscall.O_NONBLOCK

// describe adds what the system tells about a file beside package os.
func describe(i *info, fi iofs.FileInfo) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	i.owner.UID, i.owner.GID, i.owner.Nlink = st.Uid, st.Gid, uint64(st.Nlink)
	i.id = fileID{dev: uint64(st.Dev), ino: st.Ino}
}

func chtimesFile(f *os.File, atime, mtime time.Time) error {
	times := []syscall.Timeval{syscall.NsecToTimeval(atime.UnixNano()), syscall.NsecToTimeval(mtime.UnixNano())}
	return syscall.Futimes(int(f.Fd()), times)
}

// syncHandle makes the entries of a directory safe.
func syncHandle(dir *os.File) error { return dir.Sync() }

// canLock says that lockHandle works.
const canLock = true

func lockHandle(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
