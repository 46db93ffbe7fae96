package event

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	retryAfter = time.Second      // a write that failed is tried again
	closeLimit = 10 * time.Second // what Close gives a disk that does not answer
)

// File is a Sink that writes one JSON object a line to a file or a standard
// stream. Events wait in memory for one goroutine that writes all of them at
// once. When the disk is full or too slow and the queue runs full, events are
// lost and counted, and the count is written as soon as that is possible.
type File struct {
	settings Settings
	log      hclog.Logger

	mu      sync.Mutex // of what follows; never held during a write
	pending []byte     // whole lines
	lost    uint64     // since the last EventsDropped line
	dropped uint64     // since Open
	closed  bool

	wake chan struct{} // holds one: something is pending
	stop chan struct{} // closed by Close
	done chan struct{} // closed by the writer
	err  error         // of the last write, read after done
	out  *output       // used by the writer, and by Reopen under its lock
}

// Open begins to write to s.File, which is made with mode 0640 if it is
// missing. s must have passed Check. log is told when writing fails and when it
// works again. Close must be called.
func Open(s Settings, log hclog.Logger) (*File, error) {
	out, err := openOutput(s, log)
	if err != nil {
		return nil, fmt.Errorf("open the events file: %w", err)
	}
	return start(s, out, log), nil
}

func start(s Settings, out *output, log hclog.Logger) *File {
	f := &File{
		settings: s,
		log:      log,
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		out:      out,
	}
	go f.run()
	return f
}

// Emit queues e. It never waits for the disk. An event without a time gets the
// present one. Probes are not written, they are only counted (by Metrics).
func (f *File) Emit(e Event) {
	if e.Type == ProbeSeen {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	f.mu.Lock()
	if f.closed || int64(len(f.pending)) >= f.settings.Queue {
		f.lost++
		f.dropped++
	} else {
		f.append(&e)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // the writer knows
	}
}

// append needs f.mu.
func (f *File) append(e *Event) {
	f.pending = append(e.AppendJSON(f.pending, f.settings.Node), '\n')
}

// Dropped returns how many events were lost since Open.
func (f *File) Dropped() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped
}

// Reopen opens the file anew under its name, for programs like logrotate that
// move it away. If that fails the old one stays in use. It waits for a write
// that is under way.
func (f *File) Reopen() error {
	if err := f.out.reopen(); err != nil {
		return fmt.Errorf("reopen the events file: %w", err)
	}
	return nil
}

// Close writes what is queued, makes it safe on disk and closes the file. It
// gives up after ten seconds; the error then says how much was lost. Events
// emitted later are dropped.
func (f *File) Close() error {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	f.mu.Unlock()
	if first {
		close(f.stop)
	}
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-f.done:
		return f.err
	case <-limit.C:
		return errors.New("write the last events: the disk does not answer")
	}
}

// run is the writer: it takes all that is pending, writes it, and begins again.
func (f *File) run() {
	defer close(f.done)
	var batch []byte // its memory and that of pending change places
	for open := true; open; {
		select {
		case <-f.wake:
			batch = f.write(f.take(batch[:0]))
			open = len(batch) == 0 && f.gather()
		case <-f.stop:
			open = false
		}
	}
	batch = f.write(append(batch, f.take(nil)...))
	if n := len(batch); n > 0 {
		f.err = fmt.Errorf("write the last events: %d bytes lost: %w", n, f.err)
	}
	f.err = errors.Join(f.err, f.out.close())
}

// take returns what is pending and leaves spare in its place. The count of lost
// events comes after the ones that were queued when the loss began.
func (f *File) take(spare []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost > 0 {
		f.append(&Event{
			Time: time.Now(), Type: EventsDropped, Reason: "queue_full",
			Fields: map[string]string{"count": fmt.Sprint(f.lost)},
		})
		f.lost = 0
	}
	batch := f.pending
	f.pending = spare
	return batch
}

// write writes batch, again and again until it succeeds. Only after Close was
// called does it give up, and return what it could not write.
func (f *File) write(batch []byte) []byte {
	for failed := false; ; failed = true {
		var err error
		batch, err = f.out.write(batch)
		f.err = err
		if err == nil {
			if failed {
				f.log.Info("events are written again", "file", f.settings.File, "lost", f.Dropped())
			}
			return batch[:0]
		}
		if !failed {
			f.log.Error("write events", "file", f.settings.File, "error", err)
		}
		if !f.pause() {
			return batch
		}
	}
}

// gatherFor is how long an event may wait for others after a write.
const gatherFor = 10 * time.Millisecond

// gather lets events come together for the next write, which costs as much for
// one as for a hundred, and reports whether there will be one.
func (f *File) gather() bool {
	t := time.NewTimer(gatherFor)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.stop:
		return false
	}
}

// pause waits before a write is tried again and reports whether it should be.
func (f *File) pause() bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.stop:
		return false
	}
}
