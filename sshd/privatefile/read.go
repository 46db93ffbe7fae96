// Package privatefile reads and writes small files that hold secrets or decide whom to
// trust: private keys, keytabs, passphrases, the keys of authorities. It refuses a file
// that other people could read or change, and one that is too long. It reads a file
// again when it has changed, and writes a file whole or not at all.
//
// Errors do not name the file: the caller knows what the file is for. Start at Read for
// a file that is read once, at File for a file that may change.
package privatefile

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Mask is the permissions that a file must not have.
type Mask os.FileMode

// The masks.
const (
	OwnerReads Mask = 0o077 // a private key: only the owner may use it
	GroupReads Mask = 0o027 // a secret that root made for the service: its group may read it
	AllRead    Mask = 0o022 // not secret: only the owner may change it
)

// Read returns the content of the file at path; a file of more than most bytes is an
// error. The file must have none of the forbidden permissions. Its owner must be root or
// the user who reads it, because an owner can change the mode at any time. Root may read
// files of any owner, because an administrator checks the files of the service.
//
// Mode and owner are those of the opened file. So nobody can replace the file between
// the check and the reading.
func Read(path string, forbidden Mask, most int) ([]byte, error) {
	text, _, err := read(path, forbidden, most)
	return text, err
}

func read(path string, forbidden Mask, most int) ([]byte, os.FileInfo, error) {
	// Opening a FIFO would wait for somebody to write to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&os.FileMode(forbidden) != 0 {
		return nil, nil, fmt.Errorf("mode %04o gives other users too much access: chmod %04o is right", mode, mode&^os.FileMode(forbidden))
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; !mayOwn(uid, os.Geteuid()) {
		return nil, nil, fmt.Errorf("belongs to user id %d, who could change it: it must belong to root or to the user that the server runs as", uid)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, nil, cause(err)
	}
	if len(text) > most {
		return nil, nil, fmt.Errorf("is longer than %d bytes", most)
	}
	return text, info, nil
}

// mayOwn reports whether a file of the user owner may be read by reader.
func mayOwn(owner uint32, reader int) bool {
	return reader == 0 || owner == 0 || int64(owner) == int64(reader)
}

// FirstLine returns the first line of a file that its group may read, such as a
// systemd credential.
func FirstLine(path string) (string, error) {
	text, err := Read(path, GroupReads, 64<<10)
	if err != nil {
		return "", err
	}
	return Line(text)
}

// Line returns the first line of a text. It is an error if that is empty, or begins with
// the mark that some editors on Windows write.
func Line(text []byte) (string, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(line, mark) {
			return "", errors.New("begins with a byte order mark: must be plain UTF-8 without one")
		}
	}
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", errors.New("the first line is empty")
	}
	return line, nil
}

// cause returns err without the path.
func cause(err error) error {
	if p, ok := errors.AsType[*iofs.PathError](err); ok {
		return p.Err
	}
	return err
}

// A File is a file that is parsed, and read again when it has changed. It is
// safe for concurrent use. The exported fields must not be changed after the
// first call of Current.
type File[T any] struct {
	Path      string
	Forbidden Mask
	Most      int // bytes
	Parse     func([]byte) (T, error)

	mu    sync.Mutex
	value T
	info  os.FileInfo // of the file that value was read from; nil: it must be read
	taken time.Time   // when it was read
}

// Current returns the value of the file as it is now. With an error it returns
// the last value that could be read, or the zero value: the caller decides
// whether to go on with that. A value must not be changed.
func (f *File[T]) Current() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now, err := os.Stat(f.Path); err == nil && f.info != nil && f.unchanged(now) {
		return f.value, nil
	}
	f.info, f.taken = nil, time.Now()
	text, info, err := read(f.Path, f.Forbidden, f.Most)
	if err != nil {
		return f.value, err
	}
	value, err := f.Parse(text)
	if err != nil {
		return f.value, err
	}
	f.value, f.info = value, info
	return value, nil
}

// tick is longer than the precision of the times of a file. A second change within tick
// may not change the time and the size.
const tick = 2 * time.Second

func (f *File[T]) unchanged(now os.FileInfo) bool {
	return os.SameFile(f.info, now) && f.info.ModTime().Equal(now.ModTime()) && f.info.Size() == now.Size() &&
		f.info.Mode() == now.Mode() && f.taken.Sub(f.info.ModTime()).Abs() > tick
}
