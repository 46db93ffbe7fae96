package event

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	lookEvery  = time.Second // another process may have written
	mostPause  = time.Minute // between two tries
	mostBatch  = 1 << 20     // bytes
	lastTryFor = 5 * time.Second
)

// A Forwarder sends the lines of the events file to a receiver elsewhere. The file
// is the spool: what is in it is sent, however long the receiver is away, as long as
// archive keeps it. A second file has the link of the last line that the receiver
// took. After a crash some lines are sent twice, with the same link.
type Forwarder struct {
	kind   string // syslog or webhook
	name   string // of the receiver, in the log
	file   string // the events file
	cursor string
	wanted map[string]bool // names of types; nil: all
	most   int             // lines in a batch
	to     receiver
	tail   func() uint64 // number of the last line in the file
	log    hclog.Logger

	held    *os.File // the cursor, locked; nil while another process sends
	lines   *follower
	batch   []entry // read and not yet sent
	limit   int     // of lines in a batch now: a receiver may refuse larger ones
	unsaved int     // lines that nobody wanted, since the cursor was written

	mu      sync.Mutex // of what follows
	sent    uint64     // number of the last line that the receiver took
	oldest  time.Time  // of the first line that waits
	dropped uint64     // lines that were removed before they were sent
	failing error
	failed  time.Time

	wake   chan struct{}
	stop   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// A receiver takes lines. Only one goroutine uses it.
type receiver interface {
	// send returns nil when the receiver has taken all lines.
	send(ctx context.Context, lines []entry) error
	close() error
}

// errTooLarge is the error of a receiver that may take fewer lines.
var errTooLarge = errors.New("too many events at once")

// matching returns the names of the types that one of patterns matches, such as
// "login_*"; nil if there are none, which means all.
func matching(patterns []string) (map[string]bool, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	names := map[string]bool{}
	for _, p := range patterns {
		found := false
		for t := range Types() {
			ok, err := path.Match(p, t.String())
			if err != nil {
				return nil, fmt.Errorf("%q: is no pattern of names such as login_*", p)
			}
			found = found || ok
			names[t.String()] = names[t.String()] || ok
		}
		if !found {
			return nil, fmt.Errorf("%q: matches no type of event: docs/events.md has their names", p)
		}
	}
	return names, nil
}

// forward begins to send lines of the file to a receiver. kind is a word for the
// name of the cursor.
func (f *File) forward(s *Settings, kind, name string, types []string, most int, to receiver, log hclog.Logger) (*Forwarder, error) {
	wanted, err := matching(types)
	if err != nil {
		return nil, fmt.Errorf("%s.types: %w", kind, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Forwarder{
		kind: kind, name: name, file: s.File, cursor: s.File + "." + kind, wanted: wanted, most: most, limit: most, to: to, tail: f.out.number.Load, log: log,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), cancel: cancel, done: make(chan struct{}),
	}
	// At once, so that what is written from now on is sent. A disk that is full now is no
	// reason not to start.
	if err := w.hold(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		cancel()
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	f.out.mu.Lock()
	f.out.readers = append(f.out.readers, w.poke)
	f.out.mu.Unlock()
	f.forwards = append(f.forwards, w)
	go w.run(ctx)
	return w, nil
}

func (w *Forwarder) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// hold takes the cursor, unless another process has it: only one sends.
func (w *Forwarder) hold() error {
	f, err := os.OpenFile(w.cursor, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		f.Close()
		return nil
	}
	text := make([]byte, 100)
	n, err := f.ReadAt(text, 0)
	if err == io.EOF { // it is shorter
		err = nil
	}
	if err != nil {
		f.Close()
		return err
	}
	at, ok := parseLink(bytes.TrimSpace(text[:n]))
	if n == 0 { // a receiver that is new gets what is new
		var end ending
		if end, err = endOf(w.file); err == nil || errors.Is(err, iofs.ErrNotExist) {
			at, err = end.link, save(f, end.link)
		}
	} else {
		if ok {
			ok, err = (&follower{path: w.file}).continues(at)
		}
		if err == nil && !ok {
			w.log.Warn("the events file is not the one of which events were sent: all that are kept are sent", "to", w.name, "cursor", w.cursor)
			at = link{}
		}
	}
	if err != nil {
		f.Close()
		return err
	}
	w.held, w.lines = f, &follower{path: w.file, last: at}
	w.mu.Lock()
	w.sent = at.number
	w.mu.Unlock()
	return nil
}

// save writes l into a cursor. The text has the same length as that before.
func save(f *os.File, l link) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%-99s\n", l), 0)
	return err
}

func (w *Forwarder) run(ctx context.Context) {
	defer close(w.done)
	var pause time.Duration
	for {
		n, err := w.pass(ctx)
		w.note(err)
		switch {
		case err != nil:
			pause = min(max(2*pause, retryAfter), mostPause)
		case n > 0:
			pause = 0
			continue
		default:
			pause = lookEvery
		}
		wake := w.wake
		if err != nil {
			wake = nil // a receiver that is away is not asked for each event
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-wake:
			timer.Stop()
			continue
		case <-w.stop:
			timer.Stop()
		}
		for more := true; more; more = err == nil && n > 0 { // the rest, if the receiver takes it
			n, err = w.pass(ctx)
		}
		w.note(errors.Join(err, w.to.close()))
		if w.held != nil {
			w.lines.close()
			w.held.Close()
		}
		return
	}
}

// pass sends one batch and returns how many lines it read.
func (w *Forwarder) pass(ctx context.Context) (int, error) {
	if w.held == nil {
		if err := w.hold(); err != nil || w.held == nil {
			return 0, err
		}
	}
	if len(w.batch) == 0 {
		var err error
		if w.batch, err = w.lines.read(w.limit); err != nil {
			return 0, err
		}
	}
	w.mu.Lock()
	w.dropped += w.lines.missing
	w.lines.missing = 0
	w.oldest = time.Time{}
	if len(w.batch) > 0 {
		w.oldest, _ = time.Parse(timeLayout, timeOf(w.batch[0].line))
	}
	w.mu.Unlock()
	read := min(len(w.batch), w.limit)
	if read == 0 {
		return 0, nil
	}
	last := w.batch[read-1].link
	send := slices.DeleteFunc(slices.Clone(w.batch[:read]), func(e entry) bool { return w.wanted != nil && !w.wanted[e.typ()] })
	if w.unsaved += read; len(send) > 0 || w.unsaved >= 100*w.most {
		// Nothing is sent that a power failure could take out of the file again:
		// the numbers of its lines would be used twice.
		if err := w.lines.f.file.Sync(); err != nil {
			return 0, err
		}
		if err := w.send(ctx, send); err != nil {
			return 0, err
		}
		w.unsaved = 0
	}
	w.batch = w.batch[read:]
	w.mu.Lock()
	w.sent, w.oldest = last.number, time.Time{}
	w.mu.Unlock()
	if w.unsaved > 0 {
		return read, nil
	}
	return read, save(w.held, last) // if that fails, a crash sends these lines twice
}

func (w *Forwarder) send(ctx context.Context, lines []entry) error {
	if len(lines) == 0 {
		return nil
	}
	err := w.to.send(ctx, lines)
	switch {
	case err == nil:
		w.limit = min(w.most, 2*w.limit)
	case errors.Is(err, errTooLarge):
		w.limit = max(1, min(w.limit, len(w.batch))/2)
	}
	return err
}

// note keeps and logs how the last try ended.
func (w *Forwarder) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && (w.failing == nil || time.Since(w.failed) >= logEvery):
		w.log.Error("send events", "to", w.name, "error", err)
		w.failed = time.Now()
	case err == nil && w.failing != nil:
		w.log.Info("events are sent again", "to", w.name)
	}
	w.failing = err
}

// Close sends what is left, for five seconds at most, and stops. The rest is sent
// after the next start.
func (w *Forwarder) Close() {
	close(w.stop)
	timer := time.AfterFunc(lastTryFor, w.cancel)
	defer timer.Stop()
	<-w.done
	w.cancel()
}

// Health is how well events get to where they go.
type Health struct {
	To      string    // a file or the address of a server
	Kind    string    // file, syslog or webhook
	Waiting uint64    // events that are not there yet
	Oldest  time.Time // of these; zero if none waits or that is unknown
	Dropped uint64    // events that were lost since the start
	LeftOut uint64    // events that were only counted, because of events.rate
	Err     error     // why events are not kept, or not sent, now
}

// Watched is what has a Health: a Queue or a Forwarder.
type Watched interface{ Health() Health }

// Health returns how the forwarder is.
func (w *Forwarder) Health() Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := Health{To: w.name, Kind: w.kind, Oldest: w.oldest, Dropped: w.dropped, Err: w.failing}
	if tail := w.tail(); tail > w.sent {
		h.Waiting = tail - w.sent
	}
	return h
}

// An entry is a line of an events file, without its end.
type entry struct {
	link link
	line []byte
}

// text returns the member name of the line, which must be a text without escapes.
func (e entry) text(name string) string {
	_, rest, _ := bytes.Cut(e.line, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(value)
}

func (e entry) typ() string { return e.text("type") }

// A follower reads the lines of an events file, over all files that became full.
type follower struct {
	path    string // of the file in use
	last    link   // of the line that was read last
	missing uint64 // lines that were not there any more

	f      *reading
	r      *bufio.Reader
	off    int64 // in f, where the next line begins
	doubts bool  // the next line was read and did not follow on the last
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
		l.close() // one of the files may not be among those that were looked at
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

// back makes off the place of the next line. In a compressed file it can only be 0.
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
		if err == io.EOF && l.f.Reader == l.f.file { // the writer may remove what is there of a line
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

// continues reports whether the lines after that of at are those that came after it
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
	return found[0].link == at || found[0].link.number > at.number, nil // else it was removed as too old
}
