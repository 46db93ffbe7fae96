package sftp

import (
	"encoding/binary"
	"os"
	"slices"

	"berth/fs"
)

type handle struct {
	file fs.File  // of a file
	dir  *listing // of a directory
	name string   // by which it was opened
	flag int      // of package os
	born uint32   // how many earlier handles had its place
}

func (h *handle) reads() bool  { return h.flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR) != os.O_WRONLY }
func (h *handle) writes() bool { return h.flag&(os.O_WRONLY|os.O_RDWR) != 0 }
func (h *handle) open() bool   { return h.file != nil || h.dir != nil }

// close closes the file or directory. A file that the client did not close is
// aborted, so that half an upload is not taken for a whole one.
func (h *handle) close(byClient bool) error {
	if h.dir != nil {
		h.dir.stop()
		return nil
	}
	if !byClient {
		return h.file.Abort()
	}
	return h.file.Close()
}

// handles are the open files and directories of one session. On the wire a handle is
// its place in the list and the number of handles that were there before, so a closed
// handle is never taken for the next one at its place.
type handles struct {
	list []handle // closed ones leave a place for the next
	open int      // of list
	dirs int      // of those open
}

const (
	maxHandles = 1024 // of one session
	// maxDirs is how many of them may be directories. Each holds up to 48 KiB of
	// entries read ahead, and has a goroutine.
	maxDirs = 64

	handleSize = 8 // bytes on the wire
)

// full reports whether there is no room for one more file or directory.
func (hs *handles) full(dir bool) bool {
	return hs.open >= maxHandles || dir && hs.dirs >= maxDirs
}

// add keeps h and returns its place.
func (hs *handles) add(h handle) uint32 {
	hs.open++
	if h.dir != nil {
		hs.dirs++
	}
	place := slices.IndexFunc(hs.list, func(h handle) bool { return !h.open() })
	if place < 0 {
		place = len(hs.list)
		hs.list = append(hs.list, handle{})
	}
	h.born = hs.list[place].born
	hs.list[place] = h
	return uint32(place)
}

// find returns the open handle of a wire form, or nil. It is valid until the next add or remove.
func (hs *handles) find(wire []byte) *handle {
	if len(wire) != handleSize {
		return nil
	}
	place := binary.BigEndian.Uint32(wire)
	if uint64(place) >= uint64(len(hs.list)) {
		return nil
	}
	if h := &hs.list[place]; h.open() && h.born == binary.BigEndian.Uint32(wire[4:]) {
		return h
	}
	return nil
}

// remove forgets the handle of a wire form and returns it.
func (hs *handles) remove(wire []byte) (handle, bool) {
	h := hs.find(wire)
	if h == nil {
		return handle{}, false
	}
	gone := *h
	hs.open--
	if gone.dir != nil {
		hs.dirs--
	}
	*h = handle{born: gone.born + 1}
	return gone, true
}

func (hs *handles) close() {
	for i := range hs.list {
		if h := &hs.list[i]; h.open() {
			h.close(false)
		}
	}
	hs.list = nil
}
