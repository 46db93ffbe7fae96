package audit

import (
	"bytes"
	"context"
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

	"berth/sshd/event"
)

const (
	lookEvery  = time.Second // another process may have written
	mostPause  = time.Minute // between two tries
	lastTryFor = 5 * time.Second
)

// A Forwarder sends the lines of the events file to a receiver elsewhere. The file
// is the spool: its lines are sent, however long the receiver cannot be reached, as
// long as archive keeps them. A second file has the link of the last line that the
// receiver took. After a crash some lines are sent twice, with the same link.
type Forwarder struct {
	kind   string // syslog or webhook
	name   string // of the receiver, in the log
	file   string // the events file
	cursor string
	wanted map[string]bool // names of types; nil: all
	most   int             // lines in a batch
	to     receiver
	tail   func() uint64 // number of the last line in the file
	emit   func(event.Event)
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
	refused uint64     // lines that were set aside
	failing error
	failed  time.Time

	wake   waker
	stop   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// A receiver accepts lines. Only one goroutine uses it.
type receiver interface {
	// send returns nil when the receiver has taken all lines.
	send(ctx context.Context, lines []entry) error
	close() error
}

// Errors of a receiver that may accept fewer, or other, lines.
var (
	errTooLarge = errors.New("too many events at once")
	errRefused  = errors.New("the events are refused")
)

// matching returns the names of the types that one of patterns matches, such as
// "login_*"; nil if there are none, which means all.
func matching(patterns []string) (map[string]bool, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	names := map[string]bool{}
	for _, p := range patterns {
		found := false
		for t := range event.Types() {
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
		kind: kind, name: name, file: s.File, cursor: s.File + "." + kind, wanted: wanted, most: most, limit: most, to: to, tail: f.out.number.Load, emit: f.report, log: log,
		wake: make(waker, 1), stop: make(chan struct{}), cancel: cancel, done: make(chan struct{}),
	}
	// At once, so that what is written from now on is sent. A disk that is full now is no
	// reason not to start.
	if err := w.hold(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		cancel()
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if end, err := endOf(s.File); err == nil {
		f.out.number.CompareAndSwap(0, end.link.number) // until the first write: lines from before may wait
	}
	f.out.mu.Lock()
	f.out.readers = append(f.out.readers, w.wake.poke)
	f.out.mu.Unlock()
	f.forwards = append(f.forwards, w)
	go w.run(ctx)
	return w, nil
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
	at, err := w.resume(f)
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

// resume returns the link of the last line that need not be sent, as the cursor f says.
func (w *Forwarder) resume(f *os.File) (link, error) {
	text, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return link{}, err
	}
	if len(text) == 0 { // a receiver that is new gets what is new
		end, err := endOf(w.file)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return link{}, err
		}
		return end.link, save(f, end.link)
	}
	at, ok := parseLink(bytes.TrimSpace(text))
	if ok {
		ok, err = (&follower{path: w.file}).continues(at)
	}
	if err == nil && !ok {
		w.log.Warn("the events file is not the one of which events were sent: all that are kept are sent", "to", w.name, "cursor", w.cursor)
		at = link{}
	}
	return at, err
}

// save writes l into a cursor. The text has the same length as that before.
func save(f *os.File, l link) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%-99s\n", l), 0)
	return err
}

func (w *Forwarder) run(ctx context.Context) {
	defer close(w.done)
	var pause time.Duration
	for stopped := false; ; {
		n, err := w.pass(ctx)
		w.note(err)
		if err == nil && n > 0 {
			pause = 0
			continue
		}
		if stopped {
			w.note(errors.Join(err, w.to.close()))
			break
		}
		wake := w.wake
		if err == nil {
			pause = lookEvery
		} else {
			pause = min(max(2*pause, retryAfter), mostPause)
			wake = nil // a receiver that cannot be reached is not tried for each event
		}
		select {
		case <-time.After(pause):
		case <-wake:
		case <-w.stop:
			stopped = true // the rest, if the receiver takes it
		}
	}
	if w.held != nil {
		w.lines.close()
		w.held.Close()
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
		w.oldest, _ = time.Parse(event.TimeLayout, member(w.batch[0].line, "time"))
	}
	w.mu.Unlock()
	read := min(len(w.batch), w.limit)
	if read == 0 {
		return 0, nil
	}
	send := w.chosen(w.batch[:read])
	if w.unsaved += read; len(send) > 0 || w.unsaved >= 100*w.most {
		// No line is sent that a power failure could remove from the file: its
		// number would be used again.
		if err := w.lines.sync(); err != nil {
			return 0, err
		}
		err := w.send(ctx, send)
		if errors.Is(err, errRefused) || errors.Is(err, errTooLarge) && len(send) == 1 {
			if err = w.more(ctx); err == nil {
				read = len(w.batch)
				err = w.sift(ctx, w.chosen(w.batch))
			}
		}
		if err != nil {
			return 0, err
		}
		w.unsaved = 0
	}
	last := w.batch[read-1].link
	w.batch = w.batch[read:]
	w.mu.Lock()
	w.sent, w.oldest = last.number, time.Time{}
	w.mu.Unlock()
	if w.unsaved > 0 {
		return read, nil
	}
	return read, save(w.held, last) // if that fails, a crash sends these lines twice
}

// chosen returns those of lines that the receiver wants.
func (w *Forwarder) chosen(lines []entry) []entry {
	return slices.DeleteFunc(slices.Clone(lines), func(e entry) bool { return w.wanted != nil && !w.wanted[member(e.line, "type")] })
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

// note stores and logs the result of the last try.
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

// Health returns the health of the forwarder.
func (w *Forwarder) Health() Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := Health{To: w.name, Kind: w.kind, Oldest: w.oldest, Dropped: w.dropped, Refused: w.refused, Err: w.failing}
	if tail := w.tail(); tail > w.sent {
		h.Waiting = tail - w.sent
	}
	return h
}
