package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
)

// A follower reads the lines of an events file, and of the files that became
// full.
type follower struct {
	path    string // of the file in use
	last    link   // of the line that was read last
	missing uint64 // lines that had been removed before they were read

	f      *reading
	r      *bufio.Reader
	off    int64 // in f, where the next line begins
	doubts bool  // the next line did not follow the last one, and is read once more
}

// sync makes safe on disk what was read.
func (l *follower) sync() error {
	if l.f == nil { // the file was removed; what was read before that is safe
		return nil
	}
	return l.f.file.Sync()
}

func (l *follower) close() {
	if l.f != nil {
		l.f.file.Close()
	}
	l.f = nil
}

// open opens the file in which the line after the last one must be; none if there is
// none, or if a new file was begun meanwhile.
func (l *follower) open() error {
	live, err := os.Open(l.path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer live.Close()
	files, err := series(l.path, live)
	if err != nil {
		return err
	}
	files = append(files, l.path)
	for i := len(files) - 1; i >= 0; i-- {
		l.close()
		if l.f, err = openRead(files[i]); err != nil {
			return err
		}
		l.r = bufio.NewReaderSize(l.f, 64<<10)
		begins, err := firstLink(l.r)
		if err != nil {
			return fmt.Errorf("%s: %w", files[i], err)
		}
		if begins > 0 && begins <= l.last.number+1 {
			break
		}
	}
	named, err := os.Stat(l.path)
	used, err2 := live.Stat()
	if err != nil || err2 != nil || !os.SameFile(named, used) {
		l.close() // a file may have been made after the list of files
		if errors.Is(err, iofs.ErrNotExist) {
			err = nil
		}
		return errors.Join(err, err2)
	}
	return l.back(0) // in the oldest, if lines are missing
}

// firstLink returns the number of the first line with a link; 0 if there is none.
func firstLink(r *bufio.Reader) (uint64, error) {
	for {
		line, err := r.ReadBytes('\n')
		if _, at, ok := cutLink(bytes.TrimSuffix(line, []byte{'\n'})); ok && err == nil {
			return at.number, nil
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return 0, err
		}
	}
}

// back continues reading at off. In a compressed file it can only be 0.
func (l *follower) back(off int64) error {
	if _, err := l.f.file.Seek(off, io.SeekStart); err != nil {
		return err
	}
	if z, ok := l.f.Reader.(*gzip.Reader); ok {
		if err := z.Reset(l.f.file); err != nil {
			return err
		}
	}
	l.off = off
	l.r.Reset(l.f)
	return nil
}

const mostBatch = 1 << 20 // bytes that one read may return

// read returns up to most further lines; none if there are none yet.
func (l *follower) read(most int) (lines []entry, err error) {
	size := 0
	for again := false; len(lines) < most && size < mostBatch; {
		if l.f == nil {
			if err := l.open(); err != nil || l.f == nil {
				return lines, err
			}
		}
		ended := l.replaced() // asked before the end of the file is seen: nothing comes after it then
		e, ok, err := l.next()
		switch {
		case err != nil:
			return lines, err
		case ok:
			lines, size = append(lines, e), size+len(e.line)
		case !ended || again || len(lines) > 0: // the lines of a batch are of one file, which is made safe
			return lines, nil
		default:
			again = true
			l.close()
		}
	}
	return lines, nil
}

// replaced reports whether another file has the name of the one in use.
func (l *follower) replaced() bool {
	named, err := os.Stat(l.path)
	if err != nil {
		return false
	}
	used, err := l.f.file.Stat()
	return err == nil && !os.SameFile(named, used)
}

// next returns the next line with a link that was not read yet.
func (l *follower) next() (entry, bool, error) {
	for {
		line, err := l.r.ReadBytes('\n')
		if err == io.EOF && l.f.Reader == l.f.file { // the writer may remove an incomplete line
			if info, err := l.f.file.Stat(); err == nil && info.Size() < l.off {
				l.off = 0 // somebody emptied the file, as logrotate's copytruncate does
			}
			return entry{}, false, l.back(l.off)
		} else if err == io.EOF {
			return entry{}, false, nil
		} else if err != nil {
			return entry{}, false, err
		}
		body, at, ok := cutLink(line[:len(line)-1])
		follows := at == l.last.next(body)
		if !follows && !l.doubts && l.f.Reader == l.f.file && (!ok || at.number > l.last.number) {
			// Perhaps the writer removed a part of a line between two reads.
			l.doubts = true
			if err := l.back(l.off); err != nil {
				return entry{}, false, err
			}
			continue
		}
		l.doubts = false
		l.off += int64(len(line))
		if !ok || at.number <= l.last.number || !json.Valid(line) {
			continue
		}
		if l.last.number > 0 {
			l.missing += at.number - l.last.number - 1
		}
		l.last = at
		return entry{at, line[:len(line)-1]}, true, nil
	}
}

// continues reports whether the line of at is still followed by the same lines as
// when it was read.
func (l *follower) continues(at link) (bool, error) {
	if at.number == 0 {
		return true, nil
	}
	defer l.close()
	l.last = link{number: at.number - 1}
	found, err := l.read(1)
	if err != nil || len(found) == 0 {
		return false, err
	}
	return found[0].link == at || found[0].link.number > at.number, nil // otherwise it was removed as too old
}
