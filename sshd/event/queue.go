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
	closeLimit = 10 * time.Second // what Close gives a disk or a server that does not answer
)

// A Queue is a Sink that hands events on to a file or a syslog server. Events
// wait in memory for one goroutine that writes all of them at once. When the
// other side is full or too slow and the queue runs full, events are lost and
// counted, and the count is written as soon as that is possible.
type Queue struct {
	name   string                          // of the other side, in the log
	most   int64                           // bytes that may wait
	format func(b []byte, e *Event) []byte // appends e as one line, without its end
	log    hclog.Logger

	mu      sync.Mutex // of what follows; never held during a write
	pending []byte     // whole lines
	lost    uint64     // since the last EventsDropped line
	dropped uint64     // since Open
	closed  bool

	wake chan struct{} // holds one: something is pending
	stop chan struct{} // closed by Close
	done chan struct{} // closed by the writer
	err  error         // of the last write, read after done
	out  destination   // used by the writer
}

// A destination takes whole lines. Only one goroutine uses it.
type destination interface {
	// write returns the lines that were not written, if there is an error.
	write(lines []byte) ([]byte, error)
	close() error
}

// startQueue begins to hand events on to out, which close closes.
func startQueue(name string, most int64, out destination, format func([]byte, *Event) []byte, log hclog.Logger) *Queue {
	q := &Queue{
		name:   name,
		most:   most,
		format: format,
		log:    log,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		out:    out,
	}
	go q.run()
	return q
}

// Emit queues e. It never waits for the other side. An event without a time gets the
// present one. Probes are not written, they are only counted (by Metrics).
func (q *Queue) Emit(e Event) {
	if e.Type == ProbeSeen {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	q.mu.Lock()
	if q.closed || int64(len(q.pending)) >= q.most {
		q.lost++
		q.dropped++
	} else {
		q.append(&e)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // the writer knows
	}
}

// append needs q.mu.
func (q *Queue) append(e *Event) {
	q.pending = append(q.format(q.pending, e), '\n')
}

// Dropped returns how many events were lost since Open.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close writes what is queued, makes it safe and closes the other side. It gives
// up after ten seconds; the error then says how much was lost. Events
// emitted later are dropped.
func (q *Queue) Close() error {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if first {
		close(q.stop)
	}
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-q.done:
		return q.err
	case <-limit.C:
		return fmt.Errorf("write the last events: %s does not answer", q.name)
	}
}

// run is the writer: it takes all that is pending, writes it, and begins again.
func (q *Queue) run() {
	defer close(q.done)
	var batch []byte // its memory and that of pending change places
	for open := true; open; {
		select {
		case <-q.wake:
			batch = q.write(q.take(batch[:0]))
			open = len(batch) == 0 && q.gather()
		case <-q.stop:
			open = false
		}
	}
	batch = q.write(append(batch, q.take(nil)...))
	if n := len(batch); n > 0 {
		q.err = fmt.Errorf("write the last events: %d bytes lost: %w", n, q.err)
	}
	q.err = errors.Join(q.err, q.out.close())
}

// take returns what is pending and leaves spare in its place. The count of lost
// events comes after the ones that were queued when the loss began.
func (q *Queue) take(spare []byte) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost > 0 {
		q.append(&Event{
			Time: time.Now(), Type: EventsDropped, Reason: QueueFull,
			Fields: map[string]string{"count": fmt.Sprint(q.lost)},
		})
		q.lost = 0
	}
	batch := q.pending
	q.pending = spare
	return batch
}

// write writes batch, again and again until it succeeds. Only after Close was
// called does it give up, and return what it could not write.
func (q *Queue) write(batch []byte) []byte {
	for failed := false; ; failed = true {
		var err error
		batch, err = q.out.write(batch)
		q.err = err
		if err == nil {
			if failed {
				q.log.Info("events are written again", "to", q.name, "lost", q.Dropped())
			}
			return batch[:0]
		}
		if !failed {
			q.log.Error("write events", "to", q.name, "error", err)
		}
		if !q.pause() {
			return batch
		}
	}
}

// gatherFor is how long an event may wait for others after a write.
const gatherFor = 10 * time.Millisecond

// gather lets events come together for the next write, which costs as much for
// one as for a hundred, and reports whether there will be one.
func (q *Queue) gather() bool {
	t := time.NewTimer(gatherFor)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.stop:
		return false
	}
}

// pause waits before a write is tried again and reports whether it should be.
func (q *Queue) pause() bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.stop:
		return false
	}
}
