package sftp

import (
	iofs "io/fs"
	"math"
	"time"

	"berth/fs"
)

// File types and special bits of a POSIX mode, which version 3 sends as it is.
const (
	modeFIFO    = 0o010000
	modeChar    = 0o020000
	modeDir     = 0o040000
	modeBlock   = 0o060000
	modeRegular = 0o100000
	modeLink    = 0o120000
	modeSocket  = 0o140000

	modeSetuid = 0o4000
	modeSetgid = 0o2000
	modeSticky = 0o1000
)

// modeTypes maps the file types of io/fs to those of POSIX, the most specific first: a
// character device is also a device.
var modeTypes = []struct {
	mode  iofs.FileMode
	posix uint32
	ls    byte // how ls -l shows it
}{
	{iofs.ModeDir, modeDir, 'd'},
	{iofs.ModeSymlink, modeLink, 'l'},
	{iofs.ModeNamedPipe, modeFIFO, 'p'},
	{iofs.ModeSocket, modeSocket, 's'},
	{iofs.ModeCharDevice, modeChar, 'c'},
	{iofs.ModeDevice, modeBlock, 'b'},
}

var modeSpecial = []struct {
	mode  iofs.FileMode
	posix uint32
}{
	{iofs.ModeSetuid, modeSetuid},
	{iofs.ModeSetgid, modeSetgid},
	{iofs.ModeSticky, modeSticky},
}

// posixMode returns the st_mode of a mode of io/fs.
func posixMode(m iofs.FileMode) uint32 {
	posix := uint32(m.Perm())
	for _, s := range modeSpecial {
		if m&s.mode != 0 {
			posix |= s.posix
		}
	}
	for _, t := range modeTypes {
		if m&t.mode != 0 {
			return posix | t.posix
		}
	}
	return posix | modeRegular
}

// fileMode returns the permission and special bits of an st_mode. The type is left
// out, because a client cannot change it.
func fileMode(posix uint32) iofs.FileMode {
	m := iofs.FileMode(posix & 0o777)
	for _, s := range modeSpecial {
		if posix&s.posix != 0 {
			m |= s.mode
		}
	}
	return m
}

// ownerOf returns what package fs knows of a file beyond io/fs. If it knows nothing,
// the result is false, and the last access was at the time of the last change.
func ownerOf(fi iofs.FileInfo) (fs.Owner, bool) {
	if o, ok := fi.Sys().(*fs.Owner); ok {
		return *o, true
	}
	return fs.Owner{Nlink: 1, Atime: fi.ModTime()}, false
}

// seconds returns a time as version 3 carries it. A time before 1970 or after 2106
// becomes the nearest one that fits.
func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
