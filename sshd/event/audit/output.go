package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/sshd/event/format"
	"berth/sshd/privatefile"
)

// standard names the streams that are not files.
var standard = map[string]*os.File{
	"-":      os.Stdout,
	"stdout": os.Stdout,
	"stderr": os.Stderr,
}

// output is the file that lines go to. It begins a new one when that is full.
type output struct {
	path    string           // empty for a standard stream
	maxSize int64            // math.MaxInt64: any
	maxAge  time.Duration    // 0: any
	format  format.Formatter // of a standard stream; nil: lines go out as they are
	log     hclog.Logger
	old     *archive // nil without rotation
	chain   *chain   // nil: lines have no links

	emit   func(event.Event) // for what happens to the file itself
	number atomic.Uint64     // of the last line in the chain

	mu      sync.Mutex // guards the fields below; held during writes
	f       file       // nil once closed
	size    int64
	born    time.Time // of its first line
	opening int64     // the part of size that is the checkpoint at the beginning
	torn    int64     // bytes of an unfinished line at the end; -1: an earlier process has left one
	cut     []byte    // what this process wrote of that line
	readers []func()  // are called after lines were written
	buf     []byte    // memory for lines with links
}

// file is the part of *os.File that is used, so that a test can make it fail.
type file interface {
	io.WriteCloser
	Stat() (iofs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

func openOutput(s Settings, log hclog.Logger) (*output, error) {
	if s.File == "" {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return &output{f: f, log: log}, err
	}
	if f, ok := standard[s.File]; ok {
		format, err := format.New(s.Format, s.Version)
		return &output{f: f, format: format, log: log}, err
	}
	o := &output{path: s.File, maxSize: s.MaxSize, maxAge: s.MaxAge, log: log}
	if s.MaxSize == 0 {
		o.maxSize = math.MaxInt64
	}
	if s.Chain {
		o.chain = &chain{node: s.Node, log: log}
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(s.File), 0o750), o.begin()); err != nil {
		return nil, err
	}
	if s.MaxSize > 0 || s.MaxAge > 0 {
		o.old = newArchive(s, log)
	}
	return o, nil
}

// begin makes the file under path the one in use, and closes the one before.
func (o *output) begin() error {
	f, size, torn, err := openAppend(o.path)
	if err != nil {
		return err
	}
	first := make([]byte, 64)
	n, _ := f.ReadAt(first, 0)
	if o.born, err = time.Parse(event.TimeLayout, member(first[:n], "time")); err != nil {
		o.born = time.Now()
	}
	if o.f != nil {
		o.f.Close()
	}
	o.f, o.size, o.torn, o.opening = f, size, torn, 0
	if o.chain != nil {
		o.chain.read = false
	}
	return nil
}

// reopen is begin for a program that has moved the file away.
func (o *output) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.path == "":
		return nil
	case o.f == nil:
		return iofs.ErrClosed
	}
	return o.begin()
}

// restore begins a new file if the one in use was removed: nobody could read
// what is written to that.
func (o *output) restore() error {
	info, err := o.f.Stat()
	if err != nil || o.path == "" {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink > 0 {
		return nil
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(o.path), 0o750), o.begin()); err != nil {
		return fmt.Errorf("the file was removed: %w", err)
	}
	o.log.Error("the events file was removed while in use: a new one was begun", "file", o.path, "bytes lost", info.Size())
	o.emit(event.Event{Type: event.FileLost, Fields: map[string]string{"size": fmt.Sprint(info.Size())}})
	return nil
}

// openAppend opens a file for appending. torn is not 0 if it ends inside a line,
// because the machine stopped in the middle of one.
func openAppend(path string) (f *os.File, size, torn int64, err error) {
	// A FIFO would hold up the program until somebody reads.
	if info, err := os.Stat(path); err == nil && info.Mode()&(iofs.ModeNamedPipe|iofs.ModeSocket) != 0 {
		return nil, 0, 0, fmt.Errorf("%s: is a pipe or a socket, not a file", path)
	}
	if f, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640); err != nil {
		return nil, 0, 0, err
	}
	// Until the file is closed, no other process compresses it: after an upgrade two
	// servers write events for a while. A file system without locks has one server.
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, 0, err
	}
	last := []byte{'\n'}
	if info.Size() > 0 {
		f.ReadAt(last, info.Size()-1)
	}
	if last[0] != '\n' {
		torn = -1
	}
	return f, info.Size(), torn, nil
}

// write writes whole lines and begins new files between them. It returns those
// that were not written as a whole.
func (o *output) write(lines []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.restore(); err != nil {
		return lines, err
	}
	if o.chain != nil {
		unlock, err := privatefile.LockFolder(filepath.Dir(o.path)) // a line follows on the last one, whoever wrote that
		if err != nil {
			return lines, err
		}
		defer unlock()
		if err := o.follow(); err != nil {
			return lines, err
		}
	}
	for now := time.Now(); ; {
		if err := o.mend(); err != nil {
			return lines, err
		}
		var text []byte
		checkpoint := o.chain.wants(now, len(lines) > 0)
		if checkpoint {
			text = o.chain.checkpoint(now)
		} else if len(lines) == 0 {
			return nil, nil
		} else if text = o.fitting(lines); len(text) == 0 {
			continue // in a new file
		}
		n, err := o.f.Write(text)
		o.size += int64(n)
		whole := bytes.LastIndexByte(text[:n], '\n') + 1
		o.torn, o.cut = int64(n-whole), append(o.cut[:0], text[whole:n]...)
		if checkpoint && o.size == int64(n) {
			o.opening = o.size
		}
		if o.chain != nil {
			o.chain.written(text[:whole], checkpoint, now)
			o.number.Store(o.chain.last.number)
		}
		for _, wake := range o.readers {
			wake()
		}
		for left := bytes.Count(text[:whole], []byte{'\n'}); left > 0 && !checkpoint; left-- {
			lines = lines[bytes.IndexByte(lines, '\n')+1:]
		}
		if err != nil {
			_ = o.mend() // at once: the process may end before it can write again
			return lines, err
		}
	}
}

// mend removes the beginning of a line that a full disk has cut off; the whole
// line is written later. A line is ended instead, so that it does not spoil the
// next, if it is from before a crash, as there is nothing else of that event, and
// where nothing can be removed: from a stream, or a file that can only grow.
func (o *output) mend() error {
	if o.torn == 0 {
		return nil
	}
	if info, err := o.f.Stat(); err == nil && o.path != "" && o.torn > 0 && info.Size() == o.size && o.f.Truncate(o.size-o.torn) == nil {
		o.size -= o.torn
		o.torn = 0
		return nil
	}
	if _, err := o.f.Write([]byte{'\n'}); err != nil {
		return err
	}
	o.size++
	if o.torn > 0 && o.chain != nil {
		if _, l, ok := cutLink(o.cut); ok { // only the line feed was missing
			o.chain.last = l
		} else {
			o.chain.broken = append(o.chain.broken, o.cut...)
		}
	}
	o.torn = 0
	return nil
}

// mostWrite is after how many bytes no more lines join a write.
const mostWrite = 1 << 20

// fitting returns the first of lines that still go into the file, with their
// links. If there is no room for even one, it begins a new file and returns none.
// A line that is longer than a file may be gets its own file.
func (o *output) fitting(lines []byte) []byte {
	if o.old == nil && o.chain == nil {
		return lines
	}
	if o.old != nil && o.maxAge > 0 && o.size > o.opening && time.Since(o.born) >= o.maxAge {
		o.rotate()
		return nil
	}
	text := o.buf[:0]
	var last link
	if o.chain != nil {
		last = o.chain.last
	}
	for line := range bytes.Lines(lines) {
		before := len(text)
		text, last = o.chain.append(text, line, last)
		full := o.old != nil && o.size+int64(len(text)) > o.maxSize
		if full && before == 0 && o.size > o.opening {
			o.rotate()
			return nil
		}
		if full && before > 0 {
			text = text[:before]
		}
		if full || len(text) >= mostWrite {
			break
		}
	}
	o.buf = text
	return text
}

// rotate begins a new file. If that fails, the present file grows: a file
// that is too large is better than lost events.
func (o *output) rotate() {
	f, err := take(o.path, time.Now())
	if err != nil {
		o.log.Error("begin a new events file", "file", o.path, "error", err)
		o.size, o.opening, o.born = 0, 0, time.Now() // counts from here to the next try
		return
	}
	if err := errors.Join(o.f.Sync(), o.f.Close()); err != nil {
		o.log.Error("close a full events file", "file", o.path, "error", err)
	}
	o.f, o.size, o.opening, o.born = f, 0, 0, time.Now()
	if o.chain != nil {
		o.chain.begin = true
	}
	o.old.wake.poke() // only now: until now the full file was written to
}

// close signs the end of the chain and makes what was written safe on disk.
func (o *output) close() (err error) {
	if c := o.chain; c != nil {
		c.due.Stop()
		if c.sign != nil && c.lines > 0 {
			c.begin = true
			_, err = o.write(nil)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" {
		return nil
	}
	err = errors.Join(err, o.f.Sync(), o.f.Close())
	o.f = nil
	if o.old != nil {
		o.old.close()
	}
	return err
}
