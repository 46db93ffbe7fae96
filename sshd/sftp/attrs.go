package sftp

import (
	iofs "io/fs"
	"math"
	"time"

	"berth/fs"
)

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
