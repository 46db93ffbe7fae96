package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// standard names the streams that are not files.
var standard = map[string]*os.File{
	"-":      os.Stdout,
	"stdout": os.Stdout,
	"stderr": os.Stderr,
}

// nowhere takes events that nobody wants to keep.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Sync() error                 { return nil }
func (nowhere) Close() error                { return nil }

// output is the file that lines go to. It begins a new one when that is full.
type output struct {
	path    string // empty for a standard stream
	maxSize int64
	log     hclog.Logger
	old     *archive // nil without rotation

	mu   sync.Mutex // of what follows; held during writes
	f    file       // nil once closed
	size int64
	torn bool // the last write ended inside a line
}

// file is the part of *os.File that is used, so that a test can fail.
type file interface {
	io.WriteCloser
	Sync() error
}

func openOutput(s Settings, log hclog.Logger) (*output, error) {
	if s.File == "" {
		return &output{f: nowhere{}, log: log}, nil
	}
	if f, ok := standard[s.File]; ok {
		return &output{f: f, log: log}, nil
	}
	o := &output{path: s.File, maxSize: s.MaxSize, log: log}
	if err := os.MkdirAll(filepath.Dir(s.File), 0o750); err != nil {
		return nil, err
	}
	f, size, err := openAppend(s.File)
	if err != nil {
		return nil, err
	}
	o.f, o.size = f, size
	if s.MaxSize > 0 {
		o.old = newArchive(s, log)
	}
	return o, nil
}

// reopen makes the file under path the one in use, and closes the one before.
func (o *output) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" {
		return nil
	}
	if o.f == nil {
		return iofs.ErrClosed
	}
	f, size, err := openAppend(o.path)
	if err != nil {
		return err
	}
	o.f.Close()
	o.f, o.size, o.torn = f, size, false
	return nil
}

// openAppend opens a file for appending whole lines: if the machine stopped in
// the middle of one, that one is ended.
func openAppend(path string) (*os.File, int64, error) {
	// A FIFO would hold up the program until somebody reads.
	if info, err := os.Stat(path); err == nil && info.Mode()&(iofs.ModeNamedPipe|iofs.ModeSocket) != 0 {
		return nil, 0, fmt.Errorf("%s: is a pipe or a socket, not a file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	size := info.Size()
	last := []byte{'\n'}
	if size > 0 {
		f.ReadAt(last, size-1)
	}
	if last[0] == '\n' {
		return f, size, nil
	}
	if _, err := f.WriteString("\n"); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size + 1, nil
}

// write writes whole lines and begins new files between them. It returns those
// that were not written as a whole.
func (o *output) write(lines []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(lines) > 0 {
		if err := o.mend(); err != nil {
			return lines, err
		}
		n, err := o.f.Write(o.fitting(lines))
		o.size += int64(n)
		whole := bytes.LastIndexByte(lines[:n], '\n') + 1
		o.torn = whole < n
		lines = lines[whole:]
		if err != nil {
			return lines, err
		}
	}
	return nil, nil
}

// mend ends a line that a full disk has cut off, so that it does not spoil the
// next; the event in it is written again.
func (o *output) mend() error {
	if !o.torn {
		return nil
	}
	if _, err := o.f.Write([]byte{'\n'}); err != nil {
		return err
	}
	o.size++
	o.torn = false
	return nil
}

// fitting returns the first of lines that still go into the file, and begins a
// new file when there is no room for even one. A line longer than a file gets
// one of its own.
func (o *output) fitting(lines []byte) []byte {
	if o.old == nil || o.size+int64(len(lines)) <= o.maxSize {
		return lines
	}
	room := max(o.maxSize-o.size, 0)
	if room < int64(len(lines)) {
		if end := bytes.LastIndexByte(lines[:room], '\n'); end >= 0 {
			return lines[:end+1]
		}
	}
	if o.size > 0 {
		o.rotate()
	}
	return lines[:bytes.IndexByte(lines, '\n')+1]
}

// rotate begins a new file. If that does not work, the one in use grows on:
// better too large than lost.
func (o *output) rotate() {
	f, err := o.old.take(o.path, time.Now())
	if err != nil {
		o.log.Error("begin a new events file", "file", o.path, "error", err)
		o.size = 0 // counts from here to the next try
		return
	}
	if err := errors.Join(o.f.Sync(), o.f.Close()); err != nil {
		o.log.Error("close a full events file", "file", o.path, "error", err)
	}
	o.f, o.size = f, 0
	o.old.poke()
}

// close makes what was written safe on disk.
func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" {
		return nil
	}
	err := errors.Join(o.f.Sync(), o.f.Close())
	o.f = nil
	if o.old != nil {
		o.old.close()
	}
	return err
}
