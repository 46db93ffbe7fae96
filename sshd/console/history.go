package console

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
)

const (
	sampleEvery = 15 * time.Second
	mostSamples = int(time.Hour / sampleEvery)
)

// A History counts logins and bytes of the last hour. It is an event.Sink, because files
// that are opened and closed between two samples would be missed otherwise.
// The zero value is ready. It is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	logins  [2]int64         // accepted and refused, since the last sample
	files   map[string]moved // by session: bytes of files that have been closed
	seen    map[string]moved // by session that was open at the last sample: all its bytes
	samples []sample         // the oldest first
}

// moved is bytes that were read and written.
type moved [2]int64

// A sample is what has happened in the time before it.
type sample struct {
	logins, bytes [2]int64 // accepted and refused; read and written
}

// Emit implements event.Sink.
func (h *History) Emit(e event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e.Type {
	case event.LoginAccepted:
		h.logins[0]++
	case event.LoginRejected, event.LoginDenied, event.LoginShielded:
		h.logins[1]++
	case event.FileReadClosed, event.FileWriteClosed, event.FileUpdateClosed:
		if h.files == nil {
			h.files = map[string]moved{}
		}
		m := h.files[e.Session]
		h.files[e.Session] = moved{m[0] + e.BytesRead, m[1] + e.BytesWritten}
	}
}

// sample adds a sample, with the sessions that are open now.
func (h *History) sample(open []admin.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := sample{logins: h.logins}
	h.logins = [2]int64{}
	add := func(all, before moved) {
		for i := range all {
			s.bytes[i] += max(0, all[i]-before[i])
		}
	}
	next := make(map[string]moved, len(open))
	for _, o := range open {
		next[o.ID] = moved{o.Read, o.Written}
		add(next[o.ID], h.seen[o.ID])
	}
	for id, m := range h.files {
		if _, isOpen := next[id]; !isOpen { // it has ended since
			add(m, h.seen[id])
			delete(h.files, id)
		}
	}
	h.seen = next
	h.samples = append(h.samples, s)
	h.samples = h.samples[max(0, len(h.samples)-mostSamples):]
}

// A plot is a drawing of two lines over some minutes. page/now.html makes the SVG of it.
type plot struct {
	Title, Summary string
	Most           string    // the value at the top
	Lines          [2]string // points
	Names          [2]string
}

// The size of a plot, in the units of its SVG.
const plotWidth, plotHeight = 600, 120

// plots draws the samples over the last 5, 20 or 60 minutes: those of a server that has just
// started are not empty.
func (h *History) plots() (minutes int, all []plot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	minutes = 60
	for _, fewer := range []int{20, 5} {
		if samplesIn(fewer) >= len(h.samples) {
			minutes = fewer
		}
	}
	seconds := int64(sampleEvery / time.Second)
	rate := func(v int64) string { return size(v/seconds) + "/s" }
	count := func(v int64) string { return fmt.Sprint(v) }
	return minutes, []plot{
		h.plot(minutes, say("plot.throughput"), [2]string{say("plot.read"), say("plot.written")}, rate, func(s sample) [2]int64 { return s.bytes }),
		h.plot(minutes, say("plot.logins"), [2]string{say("plot.accepted"), say("plot.refused")}, count, func(s sample) [2]int64 { return s.logins }),
	}
}

func samplesIn(minutes int) int { return int(time.Duration(minutes) * time.Minute / sampleEvery) }

func (h *History) plot(minutes int, title string, names [2]string, show func(int64) string, of func(sample) [2]int64) plot {
	var most, last [2]int64
	for _, s := range h.samples {
		last = of(s)
		most = [2]int64{max(most[0], last[0]), max(most[1], last[1])}
	}
	top := max(most[0], most[1], 1)
	span := samplesIn(minutes)
	p := plot{Title: title, Names: names, Most: show(top)}
	for i := range names {
		var points strings.Builder
		for n, s := range h.samples {
			x := plotWidth - plotWidth*(len(h.samples)-n-1)/span
			fmt.Fprintf(&points, "%d,%d ", x, plotHeight-plotHeight*of(s)[i]/top)
		}
		p.Lines[i] = strings.TrimSpace(points.String())
	}
	p.Summary = say("plot.summary",
		title, sampleEvery, show(last[0]), names[0], show(last[1]), names[1], show(most[0]), show(most[1]))
	return p
}

// size is bytes in a unit that people read.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(bytes), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
