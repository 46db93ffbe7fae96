package fs

import (
	"io"
	"sync"
)

// hostDir is a host directory that this process has open once, for all sessions
// that have it in their view. So the descriptors of a server grow with its
// directories and not with its sessions.
type hostDir struct {
	dir   io.Closer
	id    any
	users int
}

// hostDirs are those that are open, by what tells one directory from another.
var hostDirs = struct {
	sync.Mutex
	open map[any]*hostDir
}{open: map[any]*hostDir{}}

// shareDir returns dir for one more user. If the same directory is open already,
// dir is closed and the user gets that one. Id is comparable.
func shareDir(id any, dir io.Closer) *hostDir {
	hostDirs.Lock()
	defer hostDirs.Unlock()
	h, known := hostDirs.open[id]
	if known {
		_ = dir.Close()
	} else {
		h = &hostDir{dir: dir, id: id}
		hostDirs.open[id] = h
	}
	h.users++
	return h
}

// Close ends one use. Each user calls it once.
func (h *hostDir) Close() error {
	hostDirs.Lock()
	defer hostDirs.Unlock()
	if h.users--; h.users > 0 {
		return nil
	}
	delete(hostDirs.open, h.id)
	return h.dir.Close()
}
