package fs

import (
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A resolver opens a clean absolute name below the directory root as openat(2)
// does. It never leaves root and follows no link: a link on the way is ELOOP.
// The layer named links follows them, so that the policy knows where they lead.
type resolver func(root int, name string, flags int, mode uint32) (fd int, err error)

// resolve is the resolver of this process.
var resolve = sync.OnceValue(func() resolver {
	fd, err := byKernel(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // EPERM: a filter of system calls
		return byElement
	}
	if err == nil {
		_ = unix.Close(fd)
	}
	return byKernel
})

// byKernel is one openat2(2), which Linux has since 5.6.
func byKernel(root int, name string, flags int, mode uint32) (int, error) {
	return unix.Openat2(root, name, &unix.OpenHow{
		Flags: uint64(flags), Mode: uint64(mode), Resolve: confined,
	})
}

// confined is how openat2 resolves a name.
const confined = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS

// byElement does the same where openat2 is missing. It opens one directory after
// the other, each below the one before. No element is ".." or followed as a link,
// so no step leads out, also while others move directories.
func byElement(root int, name string, flags int, mode uint32) (int, error) {
	dir, rest := root, name[1:]
	for {
		base, after, more := strings.Cut(rest, "/")
		var fd int
		var err error
		switch {
		case more:
			fd, err = openElement(dir, base, unix.O_PATH|unix.O_DIRECTORY, 0)
		case base == "":
			fd, err = unix.Openat(dir, ".", flags, mode)
		default:
			fd, err = openElement(dir, base, flags, mode)
		}
		if dir != root {
			_ = unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, rest = fd, after
	}
}

// openElement opens base in the directory dir. A link fails with ELOOP, unless the
// flags ask for a handle of the link itself.
func openElement(dir int, base string, flags int, mode uint32) (int, error) {
	fd, err := unix.Openat(dir, base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	var st unix.Stat_t
	switch {
	case errors.Is(err, unix.ENOTDIR): // O_DIRECTORY has this error for a link, too
		if unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return -1, unix.ELOOP
		}
	case err == nil && flags&(unix.O_PATH|unix.O_NOFOLLOW) == unix.O_PATH:
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = unix.ELOOP
		}
		if err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
	}
	return fd, err
}
