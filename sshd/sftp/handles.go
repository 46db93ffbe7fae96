package sftp

import (
	"encoding/binary"
	"fmt"
	"os"

	"berth/fs"
)

// handle is an open file or an open directory.
type handle struct {
	file fs.File  // of a file
	dir  *listing // of a directory
	name string   // it was opened by
	flag int      // of package os
	born uint32   // which of the handles at this place it is
}

func (h *handle) reads() bool  { return h.flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR) != os.O_WRONLY }
func (h *handle) writes() bool { return h.flag&(os.O_WRONLY|os.O_RDWR) != 0 }
func (h *handle) open() bool   { return h.file != nil || h.dir != nil }

// close ends what the handle stands for. A file that its client did not close is
// aborted: half an upload must not pass for a whole one.
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

// handles are what one session has open. A handle is its place in the list and
// the count of handles there before it, so one that was closed is never taken
// for its successor.
type handles struct {
	list   []handle
	free   []uint32 // places in list
	dirs   int      // of those open
	budget interface {
		Acquire() error
		Release()
	} // shared with other sessions, or nil
}

const (
	maxHandles = 1024 // of one session
	// maxDirs is how many of them may be directories. Each holds up to 100 KiB of
	// entries read ahead, and has a goroutine.
	maxDirs = 64

	handleSize = 8 // bytes on the wire
)

// reserve makes room for one more file or directory. add uses the room, and release
// gives it back.
func (hs *handles) reserve(dir bool) error {
	if len(hs.list)-len(hs.free) >= maxHandles || dir && hs.dirs >= maxDirs {
		return errTooManyOpen
	}
	if hs.budget != nil {
		if err := hs.budget.Acquire(); err != nil {
			return fmt.Errorf("%w: %w", errTooManyOpen, err)
		}
	}
	return nil
}

func (hs *handles) release() {
	if hs.budget != nil {
		hs.budget.Release()
	}
}

// add keeps h and returns its place.
func (hs *handles) add(h handle) uint32 {
	if h.dir != nil {
		hs.dirs++
	}
	if n := len(hs.free); n > 0 {
		place := hs.free[n-1]
		hs.free = hs.free[:n-1]
		h.born = hs.list[place].born
		hs.list[place] = h
		return place
	}
	hs.list = append(hs.list, h)
	return uint32(len(hs.list) - 1)
}

// find returns the open handle of a wire form, or nil. It stays good until the next add or remove.
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
	if gone.dir != nil {
		hs.dirs--
	}
	*h = handle{born: gone.born + 1}
	hs.free = append(hs.free, binary.BigEndian.Uint32(wire))
	return gone, true
}

// close ends all that is still open.
func (hs *handles) close() {
	for i := range hs.list {
		if h := &hs.list[i]; h.open() {
			h.close(false)
			hs.release()
		}
	}
	hs.list, hs.free = nil, nil
}
