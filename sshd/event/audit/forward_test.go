package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/sshd/event/format"
)

// A taker is a receiver in memory.
type taker struct {
	mu    sync.Mutex
	lines []entry
	away  bool
	most  int // lines that it takes at once; 0: any number
	asked int
}

func (k *taker) send(_ context.Context, lines []entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	switch {
	case k.away:
		return errors.New("nobody is there")
	case k.most > 0 && len(lines) > k.most:
		return errTooLarge
	}
	k.lines = append(k.lines, lines...)
	return nil
}

func (k *taker) close() error { return nil }

func (k *taker) set(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

// paths returns the paths of the events that were taken, and how many lines came
// more than once.
func (k *taker) paths(t *testing.T) (all []string, twice int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := map[string]string{}
	for _, e := range k.lines {
		if before, ok := seen[e.link.String()]; ok {
			if twice++; before != string(e.line) {
				t.Errorf("two lines with one link: %s and %s", before, e.line)
			}
			continue
		}
		seen[e.link.String()] = string(e.line)
		if p := paths(t, string(e.line)+"\n")[0]; p != "events_checkpoint" {
			all = append(all, p)
		}
	}
	return all, twice
}

// sendTo starts to forward the lines of f.
func sendTo(t *testing.T, f *File, s Settings, k *taker, types ...string) *Forwarder {
	t.Helper()
	w, err := f.forward(&s, "webhook", "taker", types, 100, k, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func numberedTo(n int) (all []string) {
	for i := range n {
		all = append(all, numbered(i).Path)
	}
	return all
}

// Whatever happens to the receiver and to the files, all events are sent in order.
func TestForwardEverything(t *testing.T) {
	for name, compress := range map[string]bool{"plain": false, "compressed": true} {
		t.Run(name, func(t *testing.T) {
			s, key, k := chained(t), newKey(t), &taker{}
			s.Compress = compress
			synctest.Test(t, func(t *testing.T) {
				n := 0
				for run := range 5 {
					k.set(run%2 == 1) // it cannot be reached when the server stops, and when it starts
					f := openSigned(t, s, key)
					w := sendTo(t, f, s, k)
					for range 20 {
						for range 10 {
							f.Emit(numbered(n))
							n++
						}
						time.Sleep(3 * time.Second)
						if n%70 == 0 {
							k.set(n%140 == 0)
						}
					}
					k.set(run%2 == 0)
					if h := w.Health(); k.away && (h.Waiting == 0) != (h.Err == nil) {
						t.Errorf("health: %+v", h)
					}
					closeFile(t, f)
				}
				k.set(false)
				f := openSigned(t, s, key)
				w := sendTo(t, f, s, k)
				f.Emit(numbered(n))
				time.Sleep(mostPause)
				synctest.Wait()
				if h := w.Health(); h.Waiting != 0 || h.Err != nil || !h.Oldest.IsZero() || h.Dropped != 0 {
					t.Errorf("health at the end: %+v", h)
				}
				closeFile(t, f)
				got, twice := k.paths(t)
				if !slices.Equal(got, numberedTo(n+1)) || twice > 0 {
					t.Errorf("%d events, %d twice; want %d in order", len(got), twice, n+1)
				}
				if files := glob(t, s, "events-*"); len(files) < 10 {
					t.Errorf("%d full files, want many", len(files))
				}
			})
		})
	}
}

// A process that is killed may have sent lines and not yet noted it: they are sent
// again, with the same links. The cursor is put back to any place before.
func TestForwardAfterAKill(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{}
	cursor := s.File + ".webhook"
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var places []string
		for range 10 {
			f := openSigned(t, s, key)
			sendTo(t, f, s, k)
			for range 30 {
				f.Emit(numbered(n))
				n++
			}
			time.Sleep(time.Second)
			closeFile(t, f)
			places = append(places, read(t, cursor))
			if err := os.WriteFile(cursor, []byte(places[rand.IntN(len(places))]), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		got, twice := k.paths(t)
		if !slices.Equal(got, numberedTo(n)) || twice == 0 {
			t.Errorf("%d events, %d twice; want %d in order, some twice", len(got), twice, n)
		}
	})
}

// A new receiver gets what happens from now on, one of types only these, and one that
// refuses large batches smaller ones.
func TestForwardWhatIsWanted(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{away: true, most: 3}
	synctest.Test(t, func(t *testing.T) {
		f := openSigned(t, s, key)
		f.Emit(numbered(0))
		closeFile(t, f)
		f = openSigned(t, s, key)
		w := sendTo(t, f, s, k, "login_*", "removed")
		for i := range 50 {
			f.Emit(event.Event{Type: event.LoginAccepted, Path: fmt.Sprint("/in", i)})
			f.Emit(event.Event{Type: event.Renamed, Path: "/no"})
			f.Emit(event.Event{Type: event.Removed, Path: fmt.Sprint("/re", i)})
		}
		time.Sleep(2 * time.Second)
		k.set(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if h := w.Health(); h.Waiting != 0 {
			t.Errorf("%+v: lines that nobody wants wait for nothing", h)
		}
		closeFile(t, f)
		got, twice := k.paths(t)
		if len(got) != 100 || twice > 0 || got[0] != "/in0" || got[99] != "/re49" {
			t.Errorf("%d events, %d twice: %q", len(got), twice, got)
		}
	})
	f := open(t, s)
	defer closeFile(t, f)
	for _, bad := range []string{"login_accept", "[", ""} {
		if _, err := f.forward(&s, "webhook", "taker", []string{bad}, 1, k, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "webhook.types: \""+bad+"\": ") {
			t.Errorf("types %q: %v", bad, err)
		}
	}
}

// During an upgrade only one process sends, and what the other still writes is sent too.
func TestForwardDuringAnUpgrade(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{}
	synctest.Test(t, func(t *testing.T) {
		var want []string
		emit := func(f *File, n int) {
			for range n {
				f.Emit(numbered(len(want)))
				want = append(want, numbered(len(want)).Path)
			}
		}
		old := openSigned(t, s, key)
		sendTo(t, old, s, k)
		emit(old, 50)
		next := openSigned(t, s, key)
		sendTo(t, next, s, k)
		time.Sleep(3 * time.Second)
		emit(old, 50)
		time.Sleep(3 * time.Second)
		old.Yield()
		for range 30 {
			emit(next, 3)
			emit(old, 3)
			time.Sleep(time.Second / 3)
		}
		closeFile(t, old)
		time.Sleep(3 * time.Second)
		closeFile(t, next)
		got, twice := k.paths(t)
		slices.Sort(got) // both wrote at the same time
		if !slices.Equal(got, want) || twice > 0 {
			t.Errorf("%d events, %d twice; want %d", len(got), twice, len(want))
		}
	})
}

// What is removed because it is too old before it could be sent is counted.
func TestForwardLosesWhatTheArchiveLoses(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{}
	s.Keep, s.KeepFor = 2, 0
	synctest.Test(t, func(t *testing.T) {
		f := openSigned(t, s, key)
		w := sendTo(t, f, s, k)
		f.Emit(numbered(0))
		time.Sleep(5 * time.Second)
		k.set(true)
		for i := range 300 {
			f.Emit(numbered(1 + i))
			time.Sleep(time.Second / 2)
		}
		k.set(false)
		time.Sleep(2 * mostPause)
		synctest.Wait()
		h := w.Health()
		closeFile(t, f)
		v, _ := verify(t, key, s.File)
		got, twice := k.paths(t)
		if int(h.Dropped)+len(k.lines) < int(v.last.number)-2 || h.Dropped < 100 || twice > 0 || got[len(got)-1] != numbered(300).Path {
			t.Errorf("%d lines of %d were taken, %d counted as lost; the last is %s", len(k.lines), v.last.number, h.Dropped, got[len(got)-1])
		}
	})
}

// If the events file is another one, or the cursor cannot be read, all that is there is
// sent: twice is better than never.
func TestForwardAnotherRecord(t *testing.T) {
	for name, change := range map[string]func(s Settings) error{
		"a new record": func(s Settings) error { return os.Remove(s.File) },
		"a bad cursor": func(s Settings) error { return os.WriteFile(s.File+".webhook", []byte("x"), 0o640) },
	} {
		t.Run(name, func(t *testing.T) {
			s, key, k := chained(t), newKey(t), &taker{}
			s.MaxSize = 0
			synctest.Test(t, func(t *testing.T) {
				for run := range 2 {
					f := openSigned(t, s, key)
					if run == 1 { // the record has more lines than before when it is looked at
						for i := range 50 {
							f.Emit(numbered(100 + i))
						}
						time.Sleep(time.Second)
					}
					sendTo(t, f, s, k)
					for i := range 20 {
						f.Emit(numbered(i))
					}
					time.Sleep(time.Second)
					closeFile(t, f)
					if run == 0 {
						if err := change(s); err != nil {
							t.Fatal(err)
						}
					}
				}
				last := map[string]bool{}
				for _, e := range k.lines {
					last[e.link.String()] = true
				}
				for line := range strings.Lines(read(t, s.File)) {
					if _, l, _ := cutLink([]byte(strings.TrimSpace(line))); !last[l.String()] {
						t.Errorf("not sent: %s", line)
					}
				}
			})
		})
	}
}

// While a disk is full the writer removes parts of lines, which a reader may have seen.
func TestFollowerOnAFullDisk(t *testing.T) {
	s := chained(t)
	s.MaxSize = 0
	key := newKey(t)
	f := openSigned(t, s, key)
	d := &limited{file: f.out.f}
	f.out.f = d
	f.out.write(nil)
	l := &follower{path: s.File}
	var got []string
	look := func() {
		entries, err := l.read(1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, paths(t, string(e.line)+"\n")...)
		}
	}
	for i := range 200 {
		e := numbered(i)
		e.Detail = strings.Repeat("x", rand.IntN(300))
		d.room, d.grows = rand.IntN(400), i%4 == 0
		rest, _ := f.out.write(append(e.AppendJSON(nil, ""), '\n'))
		look()
		d.room = 1 << 30
		if _, err := f.out.write(rest); err != nil {
			t.Fatal(err)
		}
		look()
	}
	l.close()
	closeFile(t, f)
	got = slices.DeleteFunc(got, func(p string) bool { return p == "events_checkpoint" })
	// One of which only the end was missing is written twice, because nobody knows that.
	if got = slices.Compact(got); !slices.Equal(got, numberedTo(200)) || l.missing > 0 {
		t.Errorf("%d events, %d missing, want 200 in order", len(got), l.missing)
	}
	intact(t, s, key)
}

// logrotate's copytruncate empties the file while it is in use.
func TestFollowerOfAnEmptiedFile(t *testing.T) {
	s := chained(t)
	s.MaxSize = 0
	f := openSigned(t, s, newKey(t))
	l := &follower{path: s.File}
	defer l.close()
	for round := range 3 {
		for i := range 10 {
			e := numbered(i)
			if _, err := f.out.write(append(e.AppendJSON(nil, ""), '\n')); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := l.read(100); err != nil || len(got) != 11 || l.missing > 0 {
			t.Errorf("round %d: %d lines, %d missing, %v; want ten events and a checkpoint", round, len(got), l.missing, err)
		}
		if err := os.Truncate(s.File, 0); err != nil {
			t.Fatal(err)
		}
		if got, err := l.read(100); err != nil || len(got) != 0 {
			t.Errorf("round %d: %d lines of an empty file, %v", round, len(got), err)
		}
	}
	closeFile(t, f)
}

// A file that a follower has read half of may be put into the archive and compressed.
func TestFollowerOverTheArchive(t *testing.T) {
	s := chained(t)
	f := openSigned(t, s, newKey(t))
	l := &follower{path: s.File}
	defer l.close()
	var got []string
	for i := range 300 {
		e := numbered(i)
		if _, err := f.out.write(append(e.AppendJSON(nil, ""), '\n')); err != nil {
			t.Fatal(err)
		}
		if i%13 == 0 {
			for range rand.IntN(4) {
				entries, err := l.read(5)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					got = append(got, paths(t, string(e.line)+"\n")...)
				}
			}
		}
		if i%50 == 49 {
			for _, path := range glob(t, s, "events-*.jsonl") {
				if err := compress(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for {
		entries, err := l.read(100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, paths(t, string(e.line)+"\n")...)
		}
		if len(entries) == 0 {
			break
		}
	}
	closeFile(t, f)
	got = slices.DeleteFunc(got, func(p string) bool { return p == "events_checkpoint" })
	if !slices.Equal(got, numberedTo(300)) || l.missing > 0 {
		t.Errorf("%d events, %d missing, want 300 in order", len(got), l.missing)
	}
}

// A disk that has no room for the cursor keeps no event from being sent.
func TestForwardWithoutRoomForTheCursor(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{}
	if err := errors.Join(os.MkdirAll(filepath.Dir(s.File), 0o700), os.Symlink("/dev/full", s.File+".webhook")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := openSigned(t, s, key)
		w := sendTo(t, f, s, k)
		for i := range 100 {
			f.Emit(numbered(i))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * mostPause)
		if h := w.Health(); !errors.Is(h.Err, syscall.ENOSPC) {
			t.Errorf("health: %+v, want that there is no room", h)
		}
		closeFile(t, f)
	})
	if got, twice := k.paths(t); !slices.Equal(got, numberedTo(100)) || twice > 0 {
		t.Errorf("%d events, %d twice; want 100 in order", len(got), twice)
	}
}

func TestForwardMistakes(t *testing.T) {
	s := chained(t)
	f := open(t, s)
	defer closeFile(t, f)
	if err := os.Mkdir(filepath.Join(filepath.Dir(s.File), "events.jsonl.webhook"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.forward(&s, "webhook", "taker", nil, 1, &taker{}, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder in the place of the cursor: %v", err)
	}
}

// TestWaitingAfterAStart: what is in the file and was not sent before the start waits, also while
// there is no further event.
func TestWaitingAfterAStart(t *testing.T) {
	s, key, k := chained(t), newKey(t), &taker{away: true}
	f := openSigned(t, s, key)
	sendTo(t, f, s, k)
	for i := range 5 {
		f.Emit(numbered(i))
	}
	closeFile(t, f)
	f = openSigned(t, s, key)
	if h := sendTo(t, f, s, k).Health(); h.Waiting < 5 {
		t.Errorf("%d wait, want 5 events and checkpoints", h.Waiting)
	}
	closeFile(t, f)
}

// BenchmarkForward is what it costs to send a line, without the receiver: read, follow
// the chain, make the CloudEvent.
func BenchmarkForward(b *testing.B) {
	s := DefaultSettings()
	s.File, s.MaxSize = filepath.Join(b.TempDir(), "events.jsonl"), 0
	o, err := openOutput(s, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	o.chain.due = time.AfterFunc(time.Hour, func() {})
	const n = 10_000
	var lines []byte
	for range n {
		e := usual
		lines = append(e.AppendJSON(lines, "berth1"), '\n')
	}
	if _, err := o.write(lines); err != nil {
		b.Fatal(err)
	}
	translate, err := format.New(format.JSON, "")
	if err != nil {
		b.Fatal(err)
	}
	h := &webhookServer{source: "/berth/berth1", format: translate}
	for b.Loop() {
		l := &follower{path: s.File}
		sent := 0
		for {
			batch, err := l.read(100)
			if err != nil {
				b.Fatal(err)
			}
			if len(batch) == 0 {
				break
			}
			sent += len(batch)
			h.cloudEvents(batch)
		}
		l.close()
		if sent != n+1 {
			b.Fatalf("%d lines, want %d and a checkpoint", sent, n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/event")
}
