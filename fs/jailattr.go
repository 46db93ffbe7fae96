package fs

import (
	"errors"
	iofs "io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func (j *jail) SetAttr(name string, a Attr) error {
	flags := unix.O_PATH
	if a.NoFollow {
		flags |= unix.O_NOFOLLOW // with O_PATH: a handle of the link itself
	}
	return j.use(name, flags, func(fd int) error {
		return setAttr(fd, a, func() error { return truncate(j, name, a.Size) })
	})
}

// setAttr changes the attributes of the file that fd is a handle of. The size needs
// a handle that is open for writing. The times come last, since the other changes
// may touch them.
func setAttr(fd int, a Attr, size func() error) error {
	var err error
	if a.Set&AttrSize != 0 {
		err = size()
	}
	if err == nil && a.Set&AttrOwner != 0 {
		err = unix.Fchownat(fd, "", int(a.UID), int(a.GID), unix.AT_EMPTY_PATH)
	}
	if err == nil && a.Set&AttrMode != 0 {
		err = chmod(fd, a.Mode)
	}
	if err == nil && a.Set&AttrTimes != 0 {
		err = chtimes(fd, a.Atime, a.Mtime)
	}
	return err
}

// chmod sets the permissions of the file that fd is a handle of, which may be an
// O_PATH handle.
func chmod(fd int, m iofs.FileMode) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	m, err := modeFor(FileMode(st.Mode), m)
	if err != nil {
		return err
	}
	mode := PosixMode(m) &^ unix.S_IFMT
	err = unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	missing := errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) // before Linux 6.6, or a filter of system calls
	if missing && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
	}
	return err
}

func chtimes(fd int, atime, mtime time.Time) error {
	var times [2]unix.Timespec
	for i, t := range []time.Time{atime, mtime} {
		ts, err := unix.TimeToTimespec(t)
		if err != nil {
			return err
		}
		times[i] = ts
	}
	return unix.UtimesNanoAt(fd, "", times[:], unix.AT_EMPTY_PATH)
}
