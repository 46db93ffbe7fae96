package cert

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxFile bounds what is read of a file, in bytes. A revocation list takes eight
// for a serial number, or less.
const maxFile = 16 << 20

// A file is read again when it has changed. It is safe for concurrent use, and
// what it returns must not be changed.
type file[T any] struct {
	path  string
	parse func([]byte) (T, error)

	mu    sync.Mutex
	info  os.FileInfo // of what was read; nil if nothing was
	value T
	err   error
}

// current returns what the file holds now. Errors wrap ErrUnreadable.
func (f *file[T]) current() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.path)
	if err == nil && f.info != nil && unchanged(f.info, now) {
		return f.value, f.err
	}
	var none T
	f.info, f.value, f.err = nil, none, nil
	info, text, err := read(f.path)
	if err == nil {
		f.info = info
		f.value, err = f.parse(text)
	}
	if err != nil {
		f.err = fmt.Errorf("%w: %s: %w", ErrUnreadable, f.path, err)
	}
	return f.value, f.err
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// read refuses a file that anybody may write: it decides who is trusted.
func read(path string) (os.FileInfo, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("is not a file")
	case info.Mode()&0o002 != 0:
		return nil, nil, fmt.Errorf("mode %04o lets everybody write it: chmod o-w", info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("is longer than %d bytes", maxFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	return info, text, cause(err)
}

// cause drops the path, which the caller names.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
