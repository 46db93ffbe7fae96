package fs

import (
	"errors"
	iofs "io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func (j *jail) SetAttr(name string, a Attr) error {
	if a.Set&AttrSize != 0 {
		if err := j.truncate(name, a.Size); err != nil {
			return fail("setattr", name, translate(err))
		}
	}
	flags := unix.O_PATH
	if a.NoFollow {
		flags |= unix.O_NOFOLLOW // with O_PATH: a handle of the link itself
	}
	fd, err := j.openat2(name, flags, 0)
	if err != nil {
		return fail("setattr", name, translate(err))
	}
	defer unix.Close(fd)
	return fail("setattr", name, translate(setAttr(fd, a)))
}

func (j *jail) truncate(name string, size int64) error {
	f, err := j.OpenFile(name, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.SetAttr(Attr{Set: AttrSize, Size: size}), f.Close())
}

// setAttr changes what the handle fd stands for, all but the size. The times
// come last, since the other changes do not touch them but might.
func setAttr(fd int, a Attr) error {
	steps := []struct {
		set AttrSet
		do  func() error
	}{
		{AttrOwner, func() error {
			return unix.Fchownat(fd, "", int(a.UID), int(a.GID), unix.AT_EMPTY_PATH)
		}},
		{AttrMode, func() error { return chmod(fd, a.Mode) }},
		{AttrTimes, func() error { return chtimes(fd, a.Atime, a.Mtime) }},
	}
	for _, s := range steps {
		if a.Set&s.set == 0 {
			continue
		}
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}

// chmod sets the permissions of what fd stands for, which may be an O_PATH
// handle.
func chmod(fd int, m iofs.FileMode) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	m, err := modeFor(fileMode(st.Mode), m)
	if err != nil {
		return err
	}
	mode := uint32(m.Perm())
	for _, b := range modeBits {
		if m&b.mode != 0 {
			mode |= b.value
		}
	}
	err = unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EOPNOTSUPP) && st.Mode&unix.S_IFMT != unix.S_IFLNK { // before Linux 6.6
		return unix.Chmod(procName(fd), mode)
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
	err := unix.UtimesNanoAt(fd, "", times[:], unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // before Linux 5.8
		return unix.UtimesNanoAt(unix.AT_FDCWD, procName(fd), times[:], 0)
	}
	return err
}

// procName is a name of the handle fd that calls without AT_EMPTY_PATH take.
func procName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
