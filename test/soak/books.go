package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// books are what clients know: of their visits, and of whole transfers.
type books struct {
	visits, excused  int
	stored           map[string]acknowledged // uploads to homes by host path, of all lives
	up, down         int64                   // bytes that were acknowledged in the last life
	upLost, downLost int64                   // of transfers whose end the client does not know, because a fault hit it
}

func newBooks() books { return books{stored: map[string]acknowledged{}} }

// An acknowledged upload has been answered by the server, in one of its lives.
type acknowledged struct{ bytes, life int64 }

// An account is what the events of one life of the server add up to.
type account struct {
	logins, operations   float64
	read, written        float64           // as metrics count them
	wholeRead, wholeWrit int64             // of transfers that succeeded
	files                map[string]upload // by host path, below the homes
}

// An upload is what its event says.
type upload struct {
	bytes int64
	whole bool
}

// line is what an event has that counts.
type line struct {
	ID           int    `json:"id"`
	Type         string `json:"type"`
	HostPath     string `json:"host_path"`
	BytesRead    int64  `json:"bytes_read"`
	BytesWritten int64  `json:"bytes_written"`
}

// accounts reads the events, one account for each life.
func (s *soak) accounts() (lives []*account, err error) {
	f, err := os.Open(filepath.Join(s.dir, "events.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e line
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("an event: %w: %s", err, lines.Text())
		}
		if e.Type == "server_started" {
			lives = append(lives, &account{files: map[string]upload{}})
		}
		if len(lives) > 0 {
			lives[len(lives)-1].add(s, e)
		}
	}
	return lives, lines.Err()
}

func (a *account) add(s *soak, e line) {
	if e.Type == "login_accepted" {
		a.logins++
	}
	if e.ID < 1500 || e.ID > 1599 { // not about files
		return
	}
	a.operations++
	a.read += float64(e.BytesRead)
	a.written += float64(e.BytesWritten)
	switch e.Type {
	case "file_read_closed":
		a.wholeRead += e.BytesRead
	case "file_write_closed", "file_update_closed": // as some clients open for reading and writing
		a.wholeWrit += e.BytesWritten
		a.uploaded(s, e, true)
	case "file_write_failed", "file_update_failed":
		a.uploaded(s, e, false)
	}
}

func (a *account) uploaded(s *soak, e line, whole bool) {
	if strings.HasPrefix(e.HostPath, s.dir+"/home/") {
		a.files[e.HostPath] = upload{e.BytesWritten, whole}
	}
}

// reckon compares the counts of clients, events, metrics and files when no
// session is left.
func (s *soak) reckon(ctx context.Context) error {
	var lives []*account
	m, err := s.settled(ctx, func(m map[string]float64) bool { // events are counted a moment before they are in the file
		read, err := s.accounts()
		lives = read
		return err == nil && m["berth_sessions"] == 0 && len(lives) > 0 && lives[len(lives)-1].operations == m["berth_operations_total"]
	})
	if m == nil {
		return err
	}
	errs := []error{err}
	wrong := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(lives) != 2 {
		return errors.Join(err, fmt.Errorf("the server started %d times, want 2", len(lives)))
	}
	a := lives[1]
	for _, pair := range []struct {
		what            string
		events, metrics float64
	}{
		{"logins", a.logins, total(m, "berth_logins_total", `outcome="success"`)},
		{"operations", a.operations, m["berth_operations_total"]},
		{"bytes downloaded", a.read, total(m, "berth_transfer_bytes_total", `direction="download"`)},
		{"bytes uploaded", a.written, total(m, "berth_transfer_bytes_total", `direction="upload"`)},
		{"lost events", 0, m["berth_events_dropped_total"]},
		{"events left out", 0, m["berth_events_left_out_total"]},
	} {
		if pair.events != pair.metrics {
			wrong("%s: %.0f in events, %.0f in metrics", pair.what, pair.events, pair.metrics)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books
	s.account = a
	if a.wholeRead < b.down || a.wholeRead > b.down+b.downLost {
		wrong("whole downloads: %d bytes in events, clients got %d, and perhaps %d more", a.wholeRead, b.down, b.downLost)
	}
	if a.wholeWrit < b.up || a.wholeWrit > b.up+b.upLost {
		wrong("whole uploads: %d bytes in events, clients got an answer for %d, and perhaps for %d more", a.wholeWrit, b.up, b.upLost)
	}
	for path, up := range s.books.stored {
		fi, err := os.Stat(path)
		if err != nil {
			wrong("an acknowledged upload: %w", err)
		} else if fi.Size() != up.bytes {
			wrong("%s: acknowledged with %d bytes, has %d", path, up.bytes, fi.Size())
		}
		if u, ok := a.files[path]; up.life == s.life.Load() && (!ok || !u.whole || u.bytes != up.bytes) {
			wrong("%s: acknowledged with %d bytes, and the event says %+v", path, up.bytes, u)
		}
	}
	for path, u := range a.files {
		fi, err := os.Stat(path)
		if u.whole && err != nil || err != nil && !errors.Is(err, iofs.ErrNotExist) {
			wrong("an upload of the events: %w", err)
		} else if err == nil && fi.Size() != u.bytes {
			wrong("%s: %d bytes in its event, %d on disk", path, u.bytes, fi.Size())
		}
	}
	out, err := exec.Command(s.program, "events", "verify", filepath.Join(s.dir, "events.jsonl"), "--key", filepath.Join(s.dir, "ssh_host_ed25519_key.pub")).CombinedOutput()
	if err != nil {
		wrong("berth events verify: %w: %s", err, out)
	}
	if s.errors > 0 {
		wrong("%d visits failed while nothing was broken: %w", s.errors, errors.Join(s.errs...))
	}
	return errors.Join(errs...)
}

// settled waits until good accepts the metrics.
func (s *soak) settled(ctx context.Context, good func(map[string]float64) bool) (m map[string]float64, err error) {
	for range 120 {
		if m, err = s.metrics(ctx); err == nil && good(m) {
			return m, nil
		}
		if !pause(ctx, time.Second) {
			return nil, context.Cause(ctx)
		}
	}
	return m, errors.Join(err, fmt.Errorf("the server does not come to rest: %.0f sessions, %.0f descriptors, %.0f goroutines",
		m["berth_sessions"], m["process_open_fds"], m["go_goroutines"]))
}

// atRestMore is what a server may hold after the load beside what it held before:
// connections of the pool to the directory, with two goroutines each.
const (
	descriptorsMore = 20
	goroutinesMore  = 40
	memoryGrows     = 1.25
)

// flat checks that nothing grows: after the load the server holds what it held before, and
// under load it used as much memory at the end as in the middle.
func (s *soak) flat(ctx context.Context) error {
	m, err := s.settled(ctx, func(m map[string]float64) bool {
		return m["process_open_fds"] <= s.atRest.descriptors+descriptorsMore && m["go_goroutines"] <= s.atRest.goroutines+goroutinesMore
	})
	s.unwatch()
	s.watching.Wait()
	if m != nil {
		s.samples = append(s.samples, sampleOf(m))
	}
	loaded := s.underLoad()
	if len(loaded) < 8 {
		return errors.Join(err, fmt.Errorf("%d samples under load, want at least 8", len(loaded)))
	}
	middle, end := mean(loaded[len(loaded)/4:len(loaded)/2]), mean(loaded[len(loaded)*3/4:])
	if end.memory > middle.memory*memoryGrows {
		err = errors.Join(err, fmt.Errorf("memory grows: %.0f MiB in the second quarter of the load, %.0f MiB in the last", middle.memory/mebi, end.memory/mebi))
	}
	return err
}

const mebi = 1 << 20

// figures are what is drawn, and reported.
var figures = []struct {
	title string
	of    func(sample) float64
}{
	{"sessions", func(p sample) float64 { return p.sessions }},
	{"memory (RSS) in MiB", func(p sample) float64 { return p.memory / mebi }},
	{"descriptors", func(p sample) float64 { return p.descriptors }},
	{"goroutines", func(p sample) float64 { return p.goroutines }},
}

// underLoad returns the samples of the last life, up to the end of the load.
func (s *soak) underLoad() (loaded []sample) {
	for _, p := range s.samples {
		if p.at.After(s.faults[0].end) && p.at.Before(s.unloaded) {
			loaded = append(loaded, p)
		}
	}
	return loaded
}

func mean(samples []sample) (m sample) {
	n := float64(len(samples))
	for _, p := range samples {
		m.sessions += p.sessions / n
		m.memory += p.memory / n
		m.descriptors += p.descriptors / n
		m.goroutines += p.goroutines / n
	}
	return m
}

// report prints the figures, as a table for docs/reliability.md.
func (s *soak) report(out io.Writer) {
	loaded := s.underLoad()
	if s.account == nil || len(loaded) == 0 {
		return
	}
	row := func(what, format string, a ...any) {
		fmt.Fprintf(out, "| %s | %s |\n", what, fmt.Sprintf(format, a...))
	}
	quarters := func(of func(sample) float64) (q []any) {
		for i := range 4 {
			q = append(q, of(mean(loaded[len(loaded)*i/4:len(loaded)*(i+1)/4])))
		}
		return q
	}
	fmt.Fprintln(out, "| figure | value |\n|---|---|")
	row("time under load", "%v, %d faults", s.unloaded.Sub(s.began).Round(time.Second), len(s.faults))
	row("visits", "%d, of which %d failed during a fault and %d otherwise", s.books.visits, s.books.excused, s.errors)
	row("events = metrics", "%.0f logins, %.0f operations, %.0f bytes up, %.0f bytes down", s.account.logins, s.account.operations, s.account.written, s.account.read)
	row("whole transfers", "%d bytes up (%d acknowledged), %d bytes down (%d received)", s.account.wholeWrit, s.books.up, s.account.wholeRead, s.books.down)
	row("uploads on disk", "%d acknowledged, all of the size that was sent", len(s.books.stored))
	for _, f := range figures {
		row(f.title+", by quarter of the time", "%.0f, %.0f, %.0f, %.0f", quarters(f.of)...)
	}
	last := s.samples[len(s.samples)-1]
	row("before and after the load", "%.0f and %.0f descriptors, %.0f and %.0f goroutines, %.0f and %.0f MiB",
		s.atRest.descriptors, last.descriptors, s.atRest.goroutines, last.goroutines, s.atRest.memory/mebi, last.memory/mebi)
}

// total adds up the series of a metric that have a label.
func total(m map[string]float64, name, label string) (sum float64) {
	for series, value := range m {
		if strings.HasPrefix(series, name+"{") && strings.Contains(series, label) {
			sum += value
		}
	}
	return sum
}
