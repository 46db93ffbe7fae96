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
	fd, err := j.open(name, flags, 0)
	if err != nil {
		return translate(err)
	}
	defer unix.Close(fd)
	return translate(setAttr(fd, a, func() error { return truncate(j, name, a.Size) }))
}

// setAttr changes the attributes of the file that fd is a handle of. The size needs
// a handle that is open for writing.
func setAttr(fd int, a Attr, size func() error) error {
	return a.apply(size,
		func() error { return unix.Fchownat(fd, "", int(a.UID), int(a.GID), unix.AT_EMPTY_PATH) },
		func() error { return chmod(fd, a.Mode) },
		func() error { return chtimes(fd, a.Atime, a.Mtime) })
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
