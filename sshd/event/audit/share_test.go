package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
)

// line is what the tests read of an event.
type line struct {
	Type, User, Path, Reason string
	UserID                   string `json:"user_id"`
	BytesRead                int64  `json:"bytes_read"`
	Fields                   struct{ Count, Types, Size string }
}

func lines(t *testing.T, text string) []line {
	t.Helper()
	var all []line
	for raw := range strings.Lines(text) {
		var l line
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		all = append(all, l)
	}
	return all
}

// tight are settings of which a flood soon reaches the limits.
func tight() Settings {
	s := DefaultSettings()
	s.File, s.Queue, s.Rate = "disk", 64<<10, minRate
	return s
}

func startOn(d *disk, s Settings) *File {
	log := hclog.NewNullLogger()
	return start(s, &output{path: s.File, f: d, log: log}, log)
}

// stop makes writes wait until the function it returns is called.
func (d *disk) stop() (resume func()) {
	stuck := make(chan struct{})
	d.mu.Lock()
	d.stuck = stuck
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		d.stuck = nil
		d.mu.Unlock()
		close(stuck)
	}
}

var ops = []event.Type{event.FileOpened, event.FileReadClosed, event.FileOpenFailed, event.RenameFailed, event.Removed, event.DirectoryListed, event.AttributesSet, event.ServiceRefused, event.ConnectionClosed}

// TestAFloodTakesNobodyElsesEvents is the property: however one account, or one
// address without an account, floods the record, and whether the disk writes,
// stalls or is full meanwhile, the events of others and all logins are written,
// and what is missing of the flood is counted to the last event.
func TestAFloodTakesNobodyElsesEvents(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				d := &disk{room: 1 << 40}
				f := startOn(d, tight())
				flooder := event.Event{User: "mallory", UserID: "m"}
				if seed%3 == 0 {
					flooder = event.Event{Remote: netip.MustParseAddrPort("192.0.2.66:1")}
				}
				flood, sent := 0, map[string]bool{}
				must := func(e event.Event) {
					e.Path = fmt.Sprintf("/%d", len(sent))
					sent[e.Path] = true
					f.Emit(e)
				}
				for range 1 + r.IntN(4) { // rounds, in each of which the disk may misbehave
					resume := func() {}
					switch r.IntN(3) {
					case 0:
						resume = d.stop()
					case 1:
						d.set(r.IntN(3000))
						resume = func() { d.set(1 << 40) }
					}
					for i := range 400 {
						for range r.IntN(20) {
							e := flooder
							e.Type = ops[r.IntN(len(ops))]
							if flooder.UserID == "" { // all that one can do without an account
								e.Type = []event.Type{event.ConnectionRefused, event.ConnectionOpened, event.ConnectionClosed}[r.IntN(3)]
							}
							e.Path = strings.Repeat("\x01", r.IntN(600))
							f.Emit(e)
							flood++
						}
						switch {
						case i%40 == 0:
							must(event.Event{Type: event.LoginRejected, User: "mallory", Remote: flooder.Remote, Reason: event.BadPassword})
						case i%40 == 20:
							must(event.Event{Type: event.SessionKicked, Fields: map[string]string{"operator": "root"}})
						case i%10 == 5:
							must(event.Event{Type: ops[r.IntN(len(ops))], User: "alice", UserID: fmt.Sprint(r.IntN(5))})
						}
						if r.IntN(100) == 0 {
							synctest.Wait()
						}
					}
					resume()
					time.Sleep(time.Duration(r.IntN(60)) * time.Second)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				text, torn := d.lines()
				written, counted := 0, 0
				for _, l := range lines(t, text) {
					switch {
					case sent[l.Path]:
						delete(sent, l.Path)
					case l.Type == "events_left_out":
						if l.Reason != "rate_exceeded" || l.UserID != flooder.UserID {
							t.Errorf("left out %+v, want only the flood", l)
						}
						n := 0
						fmt.Sscan(l.Fields.Count, &n)
						for part := range strings.SplitSeq(l.Fields.Types, ", ") {
							var name string
							var of int
							fmt.Sscan(part, &name, &of)
							n -= of
							counted += of
						}
						if n != 0 {
							t.Errorf("%+v: the types do not add up to the count", l)
						}
					default:
						written++
					}
				}
				if len(sent) > 0 || f.Health().Dropped > 0 || torn > 0 {
					t.Errorf("missing: %d of others or essential, %d dropped; %d torn lines", len(sent), f.Health().Dropped, torn)
				}
				if written+counted != flood || counted != int(f.Health().LeftOut) || counted == 0 {
					t.Errorf("of %d in the flood %d were written and %d counted; LeftOut %d", flood, written, counted, f.Health().LeftOut)
				}
			})
		})
	}
}

// A person's rate is an allowance that grows, and what failed has only half.
func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 1 << 40}
		s := tight()
		s.Queue = 8 << 20
		f := startOn(d, s)
		emit := func(typ event.Type, n int) (written int) {
			before := f.Health().LeftOut
			for range n {
				f.Emit(event.Event{Type: typ, UserID: "u", Path: strings.Repeat("x", 900)}) // 1 KiB in all
			}
			return n - int(f.Health().LeftOut-before)
		}
		near := func(got, want int) {
			t.Helper()
			if got < want*9/10 || got > want+1 {
				t.Errorf("written: got %d, want about %d", got, want)
			}
		}
		const whole = burst * minRate >> 10 // of such events
		near(emit(event.RenameFailed, 1000), whole/2)
		near(emit(event.FileReadClosed, 1000), whole/2)
		time.Sleep(burst / 2 * time.Second)
		if got := emit(event.RenameFailed, 1000); got != 0 {
			t.Errorf("failures after half of the allowance is back: %d written", got)
		}
		near(emit(event.FileReadClosed, 1000), whole/2)
		time.Sleep(time.Hour)
		near(emit(event.FileReadClosed, 1000), whole)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The share of the queue is what waits now: somebody who causes much, and no more
// than is written, loses nothing.
func TestShareIsOfWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tight()
		s.Rate = 1 << 20
		f := startOn(&disk{room: 1 << 40}, s)
		for range 100 {
			for range 10 {
				f.Emit(event.Event{Type: event.Removed, UserID: "u", Path: strings.Repeat("x", 900)})
			}
			time.Sleep(time.Second)
		}
		if err := f.Close(); err != nil || f.Health().LeftOut != 0 {
			t.Errorf("%v, %d left out, want none", err, f.Health().LeftOut)
		}
	})
}

func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tight()
		s.Rate, s.Queue = 0, 8<<20
		f := startOn(&disk{room: 1 << 40}, s)
		for range 10_000 {
			f.Emit(event.Event{Type: event.RenameFailed, UserID: "u"})
		}
		if err := f.Close(); err != nil || f.Health().LeftOut != 0 || f.Health().Dropped != 0 {
			t.Errorf("%v, %d left out, %d dropped, want all written", err, f.Health().LeftOut, f.Health().Dropped)
		}
	})
}

// The summary comes ten seconds after the first event that was left out, though
// nothing else happens, and says what was moved.
func TestSummaryComesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 1 << 40}
		f := startOn(d, tight())
		summaries := func() (all []line) {
			synctest.Wait()
			text, _ := d.lines()
			for _, l := range lines(t, text) {
				if l.Type == "events_left_out" {
					all = append(all, l)
				}
			}
			return all
		}
		for range 2 {
			for range 1000 {
				f.Emit(event.Event{Type: event.FileReadClosed, User: "bob", UserID: "b", BytesRead: 3, Path: strings.Repeat("x", 900)})
			}
		}
		time.Sleep(summaryAfter - time.Millisecond)
		if got := summaries(); len(got) != 0 {
			t.Fatalf("too early: %+v", got)
		}
		time.Sleep(2 * time.Millisecond)
		got := summaries()
		if len(got) != 1 || got[0].User != "bob" || got[0].Fields.Count != fmt.Sprint(f.Health().LeftOut) || got[0].BytesRead != 3*int64(f.Health().LeftOut) {
			t.Fatalf("got %+v, want one of %d events", got, f.Health().LeftOut)
		}
		time.Sleep(time.Hour)
		if got := summaries(); len(got) != 1 {
			t.Errorf("got %d summaries of one flood", len(got))
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSharersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tight()
		s.Queue = 64 << 20
		f := startOn(&disk{room: 1 << 40}, s)
		crowd := func(from int) {
			for i := range 2 * maxSharers {
				f.Emit(event.Event{Type: event.Removed, UserID: fmt.Sprint(from + i)})
			}
		}
		crowd(0)
		if n := len(f.sharers); n > maxSharers+1 {
			t.Errorf("remembers %d", n)
		}
		time.Sleep(2 * burst * time.Second)
		before := f.Health().LeftOut
		crowd(1 << 30)
		if f.Health().LeftOut == before {
			t.Error("more than are remembered do not share an allowance")
		}
		if f.sharers[sharerKey{user: fmt.Sprint(1 << 30)}] == nil || f.sharers[sharerKey{user: "0"}] != nil {
			t.Error("those who are idle are not forgotten for those who come")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhoSharesWithWhom(t *testing.T) {
	q := &Queue{rate: minRate, sharers: map[sharerKey]*sharer{}}
	of := func(e event.Event) *sharer { return q.sharer(&e, time.Now()) }
	remote := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 1) }
	tests := []struct {
		name string
		a, b event.Event
		same bool
	}{
		{"one person from two places", event.Event{Type: event.Removed, UserID: "1", Remote: remote("192.0.2.1")}, event.Event{Type: event.Renamed, UserID: "1", User: "x", Remote: remote("192.0.2.2")}, true},
		{"two persons of one address", event.Event{Type: event.Removed, UserID: "1", Remote: remote("192.0.2.1")}, event.Event{Type: event.Removed, UserID: "2", Remote: remote("192.0.2.1")}, false},
		{"one id in two directories", event.Event{Type: event.Removed, UserID: "1", Directory: "corp"}, event.Event{Type: event.Removed, UserID: "1", Directory: "partner"}, false},
		{"two names without ids", event.Event{Type: event.Removed, User: "a"}, event.Event{Type: event.Removed, User: "b"}, false},
		{"one IPv4 address in IPv6", event.Event{Type: event.ConnectionOpened, Remote: remote("192.0.2.1")}, event.Event{Type: event.ConnectionOpened, Remote: remote("::ffff:192.0.2.1")}, true},
		{"two IPv4 addresses", event.Event{Type: event.ConnectionOpened, Remote: remote("192.0.2.1")}, event.Event{Type: event.ConnectionOpened, Remote: remote("192.0.2.2")}, false},
		{"one IPv6 network", event.Event{Type: event.ConnectionRefused, Remote: remote("2001:db8::1")}, event.Event{Type: event.ConnectionClosed, Remote: remote("2001:db8::ffff:1")}, true},
		{"two IPv6 networks", event.Event{Type: event.ConnectionOpened, Remote: remote("2001:db8::1")}, event.Event{Type: event.ConnectionOpened, Remote: remote("2001:db8:0:1::1")}, false},
	}
	for _, tt := range tests {
		a, b := of(tt.a), of(tt.b)
		if a == nil || b == nil || (a == b) != tt.same {
			t.Errorf("%s: the same: %v, want %v", tt.name, a == b, tt.same)
		}
	}
	for typ := range event.Types() {
		e := event.Event{Type: typ, UserID: "1", Remote: remote("192.0.2.1")}
		recorded := typ < 1100 || typ >= 1200 && typ < 1400
		if got := of(e) == nil; got != recorded {
			t.Errorf("%v: always recorded: %v, want %v", typ, got, recorded)
		}
		if got := essential(typ); got != (recorded || typ == event.ConnectionRefused) {
			t.Errorf("%v: essential: %v", typ, got)
		}
	}
	if of(event.Event{Type: event.Removed}) != nil {
		t.Error("an event of nobody has a sharer")
	}
}

// A full queue has a reserve for what is essential.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 1 << 40}
		f := startOn(d, tight())
		resume := d.stop()
		for range 1000 { // of nobody, so that no share counts
			f.Emit(event.Event{Type: event.Removed, Path: strings.Repeat("x", 900)})
			synctest.Wait()
		}
		dropped := f.Health().Dropped
		if dropped == 0 {
			t.Fatal("the queue never was full")
		}
		for i := range 50 {
			f.Emit(event.Event{Type: event.LoginAccepted, User: fmt.Sprint(i)})
			f.Emit(event.Event{Type: event.ConnectionRefused, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)})
		}
		if f.Health().Dropped != dropped {
			t.Errorf("%d essential events were dropped", f.Health().Dropped-dropped)
		}
		resume()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if text, _ := d.lines(); strings.Count(text, `"login_accepted"`) != 50 || strings.Count(text, `"connection_refused"`) != 50 {
			t.Error("essential events are missing")
		}
	})
}

// Lost says that events cannot be kept: after five seconds, or when the queue is
// half full, or when some were lost; and no longer once they are written again.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		var mu sync.Mutex
		log := hclog.New(&hclog.LoggerOptions{Output: &logged, Mutex: &mu})
		d := &disk{room: 1 << 40}
		s := tight()
		f := start(s, &output{path: s.File, f: d, log: log}, log)
		lost := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := fmt.Sprint(f.Lost()); !strings.Contains(got, want) {
				t.Errorf("Lost() = %s, want %q", got, want)
			}
		}
		lost("<nil>")
		d.set(0)
		f.Emit(numbered(1))
		lost("<nil>") // a moment is no loss
		time.Sleep(lostAfter)
		lost("disk: no space left on device")
		d.set(1 << 40)
		time.Sleep(retryAfter)
		lost("<nil>")

		d.set(0)
		fill := func(typ event.Type, n int) {
			for range n {
				f.Emit(event.Event{Type: typ, Path: strings.Repeat("x", 900)})
			}
		}
		f.Emit(numbered(2))
		time.Sleep(2 * gatherFor) // the writer holds it
		fill(event.Removed, 30)
		lost("<nil>")
		fill(event.Removed, 4)
		lost("no space left on device")
		d.set(1 << 40)
		time.Sleep(2 * retryAfter)
		lost("<nil>")

		resume := d.stop() // a disk that does not answer has no error
		f.Emit(numbered(3))
		time.Sleep(2 * gatherFor)
		fill(event.Removed, 35)
		lost("disk as fast as they come")
		fill(event.Removed, 100)
		resume() // for one batch; while the next is gathered, an event is lost
		synctest.Wait()
		fill(event.Removed, 1)
		resume = d.stop()
		time.Sleep(2 * gatherFor) // the queue is empty again, but its events are not written
		lost("disk as fast as they come")
		resume()
		time.Sleep(time.Second)
		lost("<nil>")

		before := f.Health().Dropped
		d.set(0)
		f.Emit(numbered(4))
		time.Sleep(2 * gatherFor) // the writer holds it, or it would take others meanwhile
		fill(event.Removed, 100)
		if n := f.Health().Dropped; n == before {
			t.Error("nothing was dropped")
		}
		lost("no space left on device")
		mu.Lock()
		logged.Reset()
		mu.Unlock()
		time.Sleep(10 * logEvery)
		synctest.Wait()
		if n := strings.Count(logged.String(), "write events"); n < 9 || n > 11 {
			t.Errorf("in ten minutes the log was written to %d times:\n%s", n, &logged)
		}
		if want := fmt.Sprint("lost=", f.Health().Dropped); !strings.Contains(logged.String(), want) {
			t.Errorf("log: got %s, want %s in it", &logged, want)
		}
		d.set(1 << 40)
		time.Sleep(2 * retryAfter)
		lost("<nil>")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
