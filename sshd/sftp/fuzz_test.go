package sftp_test

import (
	"bytes"
	iofs "io/fs"
	"slices"
	"testing"

	"berth/fs"
	"berth/sshd/sftp"
)

// smallFS keeps files small, so that what the fuzzer finds in a minute does not
// hash or copy a terabyte of zeros.
type smallFS struct{ *hostFS }

const small = 1 << 20

func (s smallFS) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	f, err := s.hostFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return smallFile{f}, nil
}

func (s smallFS) SetAttr(name string, a fs.Attr) error {
	if a.Size > small {
		return fs.ErrTooLarge
	}
	return s.hostFS.SetAttr(name, a)
}

type smallFile struct{ fs.File }

func (f smallFile) WriteAt(b []byte, offset int64) (int, error) {
	if offset > small {
		return 0, fs.ErrTooLarge
	}
	return f.File.WriteAt(b, offset)
}

func (f smallFile) SetAttr(a fs.Attr) error {
	if a.Size > small {
		return fs.ErrTooLarge
	}
	return f.File.SetAttr(a)
}

func (f smallFile) Abort() error { return f.File.Abort() }

// FuzzServe sends any bytes after INIT. The server must end, close all files
// that it has opened, and send only whole packets.
func FuzzServe(f *testing.F) {
	open := packet(fxOpen, 1, "/f", rd|wr, noAttrs)
	opendir := packet(fxOpendir, 1, "/")
	for _, ask := range everyRequest() {
		f.Add(ask)
		f.Add(slices.Concat(open, ask, ask))
		f.Add(slices.Concat(opendir, ask, ask))
	}
	f.Add([]byte("\xff\xff\xff\xff\x03"))
	for name := range sessions {
		f.Add(readSession(f, name)[len(hello):])
	}
	f.Fuzz(func(t *testing.T, asks []byte) {
		files := smallFS{aTree(t)}
		s := &script{Reader: bytes.NewReader(slices.Concat(hello, asks))}
		sftp.Serve(s, files, sftp.Options{User: "alice"})
		if n := len(split(t, s.Bytes())); n > len(asks)/9+1 {
			t.Errorf("%d answers to %d bytes", n, len(asks))
		}
		if n := files.open.Load(); n != 0 {
			t.Errorf("%d files left open", n)
		}
	})
}
