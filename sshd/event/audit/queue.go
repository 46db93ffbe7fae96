package audit

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/sshd/event/format"
)

const (
	gatherFor  = 10 * time.Millisecond // after a write: a write of one event costs as much as one of a hundred
	retryAfter = time.Second           // a write that failed is tried again
	lostAfter  = 5 * time.Second       // writing that fails for so long is reported as an outage
	logEvery   = time.Minute           // how often the log repeats that writing fails
	closeLimit = 10 * time.Second      // how long Close waits for a disk or a server that does not answer
)

// A Queue is a Sink that hands events on to a file or a syslog server. Events
// wait in memory for one goroutine that writes all of them at once. When the
// other side is full or too slow and the queue runs full, events are lost and
// counted, and the count is written as soon as that is possible. The last
// quarter of the queue is a reserve for essential events.
type Queue struct {
	kind   string          // file or syslog
	name   string          // of the other side, in the log
	wanted map[string]bool // names of types; nil: all
	most   int64           // bytes that may wait
	rate   int64           // bytes a second that one sharer may cause; 0: no limit
	node   string          // of the lines
	log    hclog.Logger

	mu      sync.Mutex // guards the fields below; never held during a write
	pending []byte     // whole lines
	events  uint64     // number of pending
	writing uint64     // number of events that the writer has and has not written yet
	batch   uint64     // number of pending
	sharers map[sharerKey]*sharer
	swept   time.Time   // when idle sharers were forgotten
	noisy   []*sharer   // those with events that were left out
	due     *time.Timer // wakes the writer for their summaries
	lost    uint64      // since the last EventsDropped line
	dropped uint64      // since Open
	leftOut uint64      // since Open
	failing error       // of the last write
	failed  time.Time   // when writing began to fail
	short   bool        // events were lost since the last write that succeeded
	closed  bool

	wake waker         // something is pending
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

// A translator is a destination of lines in another format.
type translator struct {
	destination
	format format.Formatter
}

func (t translator) write(lines []byte) ([]byte, error) {
	var text []byte
	for line := range bytes.Lines(lines) {
		text = append(append(text, t.format(bytes.TrimSuffix(line, []byte{'\n'}))...), '\n')
	}
	rest, err := t.destination.write(text)
	for written := bytes.Count(text, []byte{'\n'}) - bytes.Count(rest, []byte{'\n'}); written > 0; written-- {
		lines = lines[bytes.IndexByte(lines, '\n')+1:]
	}
	return lines, err
}

// Health says whether events are written or sent to one place, and how many
// wait.
type Health struct {
	To      string    // a file or the address of a server
	Kind    string    // file, syslog or webhook
	Waiting uint64    // events that are not written or sent yet
	Oldest  time.Time // of these; zero if none waits or that is unknown
	Dropped uint64    // events that were lost since the start
	Refused uint64    // events that were set aside because the receiver does not take them
	LeftOut uint64    // events that were only counted, because of events.rate
	Err     error     // why events are not kept, or not sent, now
}

// Watched has a Health: it is a Queue or a Forwarder.
type Watched interface{ Health() Health }

// startQueue begins to hand events on to out, which close closes.
func startQueue(kind, name string, wanted map[string]bool, s *Settings, out destination, log hclog.Logger) *Queue {
	q := &Queue{
		kind:    kind,
		name:    name,
		wanted:  wanted,
		most:    s.Queue,
		rate:    s.Rate,
		node:    s.Node,
		log:     log,
		sharers: map[sharerKey]*sharer{},
		wake:    make(waker, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		out:     out,
	}
	q.due = time.AfterFunc(summaryAfter, q.wake.poke)
	go q.run()
	return q
}

// Emit queues e. It never waits for the other side. An event without a time gets the
// present one. Probes are not written, they are only counted (by Metrics).
func (q *Queue) Emit(e event.Event) {
	if e.Type == event.ProbeSeen || q.wanted != nil && !q.wanted[e.Type.String()] {
		return
	}
	now := time.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	q.mu.Lock()
	q.put(&e, now)
	q.mu.Unlock()
	q.wake.poke()
}

// A waker holds one signal for a goroutine that may be busy.
type waker chan struct{}

// poke never waits.
func (w waker) poke() {
	select {
	case w <- struct{}{}:
	default: // one signal is enough
	}
}

// put is called with q.mu held.
func (q *Queue) put(e *event.Event, now time.Time) {
	room := q.most
	if !essential(e.Type) {
		room -= q.most / 4
	}
	before := len(q.pending)
	free := room - int64(before)
	if q.closed || free <= 0 {
		q.lost++
		q.dropped++
		q.short = true
		return
	}
	q.append(e)
	s := q.sharer(e, now)
	if s != nil && !s.takes(int64(len(q.pending)-before), free, q.batch, float64(q.rate), e.Outcome() != event.Success, now) {
		q.pending = q.pending[:before]
		q.events--
		q.leaveOut(s, e, now)
	}
}

// append is called with q.mu held.
func (q *Queue) append(e *event.Event) {
	q.pending = append(e.AppendJSON(q.pending, q.node), '\n')
	q.events++
}

// Name is where the events go; empty if that is nowhere.
func (q *Queue) Name() string { return q.name }

// Lost returns why events cannot be kept now, or nil. Writing has failed for
// some time, the queue is half full, or events were lost already. Events of
// operations under way can still be recorded in the other half.
func (q *Queue) Lost() error { return q.Health().Err }

// Health returns how the queue is. Its Err is that of Lost.
func (q *Queue) Health() Health {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := Health{To: q.name, Kind: q.kind, Waiting: q.events + q.writing, Dropped: q.dropped, LeftOut: q.leftOut}
	if q.failing != nil {
		h.Oldest = q.failed
	}
	switch losing := q.short || int64(len(q.pending)) >= q.most/2; {
	case q.failing != nil && (losing || time.Since(q.failed) >= lostAfter):
		h.Err = fmt.Errorf("events cannot be written to %s: %w", q.name, q.failing)
	case losing:
		h.Err = fmt.Errorf("events cannot be written to %s as fast as they come", q.name)
	}
	return h
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
	select {
	case <-q.done:
		return q.err
	case <-time.After(closeLimit):
		return fmt.Errorf("write the last events: %s does not answer", q.name)
	}
}

// run is the writer: it takes all that is pending, writes it, and begins again.
func (q *Queue) run() {
	defer close(q.done)
	var batch []byte // its memory is used for pending, and the other way round
	for open := true; open; {
		select {
		case <-q.wake:
			batch = q.write(q.take(batch[:0]))
			open = len(batch) == 0 && q.wait(gatherFor)
		case <-q.stop:
			open = false
		}
	}
	q.due.Stop()
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
	now := time.Now()
	q.summarise(now)
	if q.lost > 0 {
		q.append(&event.Event{
			Time: now, Type: event.EventsDropped, Reason: event.QueueFull,
			Fields: map[string]string{"count": fmt.Sprint(q.lost)},
		})
		q.lost = 0
	}
	batch := q.pending
	q.pending = spare
	q.writing, q.events = q.writing+q.events, 0
	q.batch++
	return batch
}

// write writes batch, again and again until it succeeds. Only after Close was
// called does it give up, and return what it could not write.
func (q *Queue) write(batch []byte) []byte {
	var logged time.Time
	for {
		rest, err := q.out.write(batch)
		now := time.Now()
		q.mu.Lock()
		before := q.failing
		if q.failing = err; before == nil {
			q.failed = now
		}
		q.short = q.short && err != nil
		if err == nil {
			q.writing = 0
		}
		dropped := q.dropped
		q.mu.Unlock()
		q.err = err
		switch {
		case err == nil && before != nil:
			q.log.Info("events are written again", "to", q.name, "lost", dropped)
		case err != nil && (logged.IsZero() || now.Sub(logged) >= logEvery):
			q.log.Error("write events", "to", q.name, "error", err, "lost", dropped)
			logged = now
		}
		if err == nil {
			return batch[:0]
		}
		if batch = rest; !q.wait(retryAfter) {
			return batch
		}
	}
}

// wait waits, and reports whether Close was not called meanwhile.
func (q *Queue) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-q.stop:
		return false
	}
}
