package fs

import (
	iofs "io/fs"

	"golang.org/x/sys/unix"
)

// modeBits are the bits of st_mode beside the permissions. A character device is
// also a device in io/fs, so it comes first.
var modeBits = []struct {
	mask, value uint32
	mode        iofs.FileMode
}{
	{unix.S_IFMT, unix.S_IFDIR, iofs.ModeDir},
	{unix.S_IFMT, unix.S_IFLNK, iofs.ModeSymlink},
	{unix.S_IFMT, unix.S_IFIFO, iofs.ModeNamedPipe},
	{unix.S_IFMT, unix.S_IFSOCK, iofs.ModeSocket},
	{unix.S_IFMT, unix.S_IFCHR, iofs.ModeDevice | iofs.ModeCharDevice},
	{unix.S_IFMT, unix.S_IFBLK, iofs.ModeDevice},
	{unix.S_ISUID, unix.S_ISUID, iofs.ModeSetuid},
	{unix.S_ISGID, unix.S_ISGID, iofs.ModeSetgid},
	{unix.S_ISVTX, unix.S_ISVTX, iofs.ModeSticky},
}

// FileMode is the mode of io/fs for a mode of POSIX, which SFTP and SCP send.
func FileMode(posix uint32) iofs.FileMode {
	m := iofs.FileMode(posix & 0o777)
	for _, b := range modeBits {
		if posix&b.mask == b.value {
			m |= b.mode
		}
	}
	return m
}

// PosixMode is the opposite of FileMode. A mode without a type is that of a
// regular file.
func PosixMode(m iofs.FileMode) uint32 {
	posix := uint32(m.Perm())
	for _, b := range modeBits {
		if m&b.mode == b.mode && posix&b.mask == 0 {
			posix |= b.value
		}
	}
	if posix&unix.S_IFMT == 0 {
		posix |= unix.S_IFREG
	}
	return posix
}
