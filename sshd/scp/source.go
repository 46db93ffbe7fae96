package scp

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"

	"berth/fs"
)

// Deepest tree, in directories; and how many links to directories one path may
// follow, which ends loops.
const (
	maxDepth = 100
	maxLinks = 8
)

// maxName is the longest name sent; a client's line has 2 KiB at least.
const maxName = 1024

var errNoName = errors.New("has no name of its own: name a directory, or use *")

// A source sends files to the client.
type source struct {
	*peer
	view
	recursive, preserve bool

	// owed is how many answers have not been read. With Ahead, the last answer for a
	// file is read with the first one for the next file, which saves a round trip.
	owed int
}

// source runs scp -f.
func (c Command) source(p *peer, v view) error {
	s := &source{peer: p, view: v, recursive: c.Recursive, preserve: c.Preserve}
	if err := s.answer(); err != nil && !errors.Is(err, errRefused) { // the client is ready
		return err
	}
	g := &glob{view: v, done: p.ctx.Done()}
	for _, pattern := range c.Paths {
		paths, err := g.expand(pattern)
		if err != nil {
			s.failText(unescape(pattern)+": "+err.Error(), err)
			continue
		}
		for _, path := range paths {
			if err := s.send(path); err != nil {
				return err
			}
		}
	}
	return s.settle(0)
}

// send sends the file or directory that a path of the client names.
func (s *source) send(p string) error {
	name, err := s.name(p)
	if err != nil {
		s.fail(shown(p), err)
		return nil
	}
	it := item{name: name, shown: shown(p), base: path.Base(name)}
	if it.base == "/" {
		s.failText(it.shown+" "+errNoName.Error(), errNoName)
		return nil
	}
	return s.any(it)
}

// An item is a file or directory to send.
type item struct {
	name  string // in the view
	shown string // as the client knows it
	base  string
	depth int // of directories it was found in
	links int // of those that were found through a link
}

// any sends an item of any kind. An error ends the transfer.
func (s *source) any(it item) error {
	if s.recursive {
		if fi, err := s.files.Stat(it.name); err == nil && fi.IsDir() {
			return s.directory(it)
		}
	}
	return s.file(it)
}

// file sends what should be a file.
func (s *source) file(it item) error {
	if err := s.ctx.Err(); err != nil {
		return fatal{text: errClosing.Error(), err: err}
	}
	defer s.trace("C", it.name, s.begin())
	f, err := s.files.OpenFile(it.name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrIsDir) {
		err = fs.ErrNotRegular
	}
	if err != nil {
		s.fail(it.shown, err)
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if accepted, err := s.announce('C', it, fi, err); err != nil || !accepted {
		return err
	}
	return s.content(it, f, fi.Size())
}

// announce sends a C or D record, with -p after a T record, and reports whether the
// client wants the file or directory. If there is a failure, the client gets that.
func (s *source) announce(kind byte, it item, fi iofs.FileInfo, failure error) (accepted bool, err error) {
	base := encodeName(it.base)
	if failure == nil && len(base) > maxName {
		failure = fs.ErrNameTooLong
	}
	if failure != nil {
		s.fail(it.shown, failure)
		return false, nil
	}
	if s.preserve {
		atime := fi.ModTime()
		if o, ok := fi.Sys().(*fs.Owner); ok && !o.Atime.IsZero() {
			atime = o.Atime
		}
		s.record(fmt.Sprintf("T%d 0 %d 0\n", max(0, fi.ModTime().Unix()), max(0, atime.Unix()))) // not before 1970
		if err := s.owe(); err != nil {
			return false, err
		}
	}
	size := fi.Size()
	if kind == 'D' {
		size = 0
	}
	mode := fs.PosixMode(fi.Mode()) & 0o6777 // without the sticky bit, as OpenSSH's scp sends it
	line := fmt.Sprintf("%c%04o %d %s", kind, mode, size, base)
	s.verbose("Sending file modes: " + line)
	s.record(line + "\n")
	s.owed++
	if err := s.settle(1); err != nil {
		return false, err
	}
	s.owed = 0
	err = s.answer()
	if errors.Is(err, errRefused) {
		return false, nil
	}
	return err == nil, err
}

// owe counts one more answer to read. It reads the answer now, unless that
// can wait.
func (s *source) owe() error {
	s.owed++
	if s.Ahead {
		return nil
	}
	return s.settle(0)
}

// settle reads answers until only so many are owed.
func (s *source) settle(left int) error {
	for ; s.owed > left; s.owed-- {
		if err := s.answer(); err != nil && !errors.Is(err, errRefused) {
			return err
		}
	}
	return nil
}

// content sends size bytes of f, and then whether they are right. Bytes that cannot be
// read are sent as zeros, because the client expects size bytes.
func (s *source) content(it item, f io.ReaderAt, size int64) error {
	var failure error
	for at := int64(0); at < size; {
		room, err := s.room(1)
		if err != nil {
			return err
		}
		room = room[:min(int64(len(room)), size-at)]
		n := 0
		if failure == nil {
			n, failure = f.ReadAt(room, at)
			if n < len(room) && (failure == nil || errors.Is(failure, io.EOF)) {
				failure = errShrunk
			}
			if n == len(room) {
				failure = nil
			}
		}
		clear(room[n:])
		s.out = s.out[:len(s.out)+len(room)]
		at += int64(len(room))
		if err := s.ctx.Err(); err != nil {
			return err // the client gets no text: it expects data here
		}
	}
	if failure != nil {
		s.fail(it.shown, failure)
	} else {
		s.ok()
	}
	return s.owe()
}

var errShrunk = errors.New("file became shorter while it was sent")

// directory sends a D record, what is in the directory, and an E record.
func (s *source) directory(it item) error {
	began := s.begin()
	fi, err := s.files.Stat(it.name)
	if err == nil && it.depth == maxDepth {
		err = errTooDeep
	}
	accepted, err := s.announce('D', it, fi, err)
	s.trace("D", it.name, began)
	if err != nil || !accepted {
		return err
	}
	if err := s.entries(it); err != nil {
		return err
	}
	s.verbose("Sending end of directory")
	s.record("E\n")
	return s.owe()
}

var errTooDeep = errors.New("directories nested too deeply")

// entries sends what is in a directory.
func (s *source) entries(it item) error {
	for fi, err := range s.files.ReadDir(it.name) {
		if err != nil {
			s.fail(it.shown, err)
			return nil
		}
		base := fi.Name()
		child := item{path.Join(it.name, base), path.Join(it.shown, base), base, it.depth + 1, it.links}
		if err := s.entry(child, fi.Mode()); err != nil {
			return err
		}
	}
	return nil
}

// entry sends one entry, which is of the type that Lstat sees. Links are
// followed, as OpenSSH does.
func (s *source) entry(it item, mode iofs.FileMode) error {
	switch mode.Type() {
	case iofs.ModeDir:
		return s.directory(it)
	case iofs.ModeSymlink:
		if it.links++; it.links > maxLinks {
			s.fail(it.shown, fs.ErrTooManyLinks)
			return nil
		}
		return s.any(it)
	}
	return s.file(it)
}
