package scp

import (
	"cmp"
	"errors"
	"io"
	"os"
	"strings"

	"berth/fs"
)

// file takes one file. If it cannot be written, its data is read all the same, and the
// client gets the error once, at the end of the data.
func (s *sink) file(line string) error {
	r, p, err := s.take(line)
	if err != nil {
		return err
	}
	defer s.trace("C", p.name, s.begin())
	f, err := s.create(p)
	if err != nil { // the client does not send the data
		s.fail(p.shown, err)
		return nil
	}
	s.ok()
	failure, err := s.receive(f, r.size)
	if s.InPlace && failure == nil && err == nil { // else the file keeps its old end, as with OpenSSH
		failure = cut(f, r.size)
	}
	if err == nil {
		// The client answers whether it could read its file. libssh2, and curl with it,
		// does not: it has sent everything and leaves.
		if _, end := s.in.Peek(1); !errors.Is(end, io.EOF) {
			err = s.answer()
		}
	}
	if err != nil || failure != nil {
		f.Abort()
	} else {
		if p.attr.Set != 0 {
			failure = f.SetAttr(p.attr)
		}
		failure = cmp.Or(f.Close(), failure) // a failed Close is the worse of the two
	}
	switch {
	case err != nil && !errors.Is(err, errRefused):
		return err
	case failure != nil:
		s.fail(p.shown, failure)
	default:
		s.ok()
	}
	return nil
}

// create opens the file for writing, as a new version or in place (see Options).
func (s *sink) create(p place) (fs.File, error) {
	if p.err != nil {
		return nil, p.err
	}
	if len(s.stack) == 0 && !s.target.isDir && strings.HasSuffix(p.shown, "/") {
		return nil, fs.ErrIsDir
	}
	flag := os.O_WRONLY | os.O_CREATE
	if !s.InPlace {
		flag |= os.O_TRUNC
	}
	return s.files.OpenFile(p.name, flag, p.attr.Mode.Perm())
}

// cut sets the size of a file that was written in place. The file is not truncated
// before: the client may be reading the same file in another way.
func cut(f fs.File, size int64) error {
	fi, err := f.Stat()
	if err != nil || fi.Size() <= size {
		return err
	}
	return f.SetAttr(fs.Attr{Set: fs.AttrSize, Size: size})
}

// receive copies size bytes of the client into f. After a failure of f, which is its
// first result, it reads the rest of the data all the same, for the next record
// follows; err ends the transfer.
func (s *sink) receive(f io.WriterAt, size int64) (failure, err error) {
	buf, err := s.room(bufferSize) // nothing is sent meanwhile
	if err != nil {
		return nil, err
	}
	for at := int64(0); at < size; {
		n, err := io.ReadFull(s.in, buf[:min(int64(len(buf)), size-at)])
		if failure == nil {
			_, failure = f.WriteAt(buf[:n], at)
		}
		if err != nil {
			return failure, ended("read from", err)
		}
		at += int64(n)
	}
	return failure, nil
}
