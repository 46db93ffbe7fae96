// Package statetest holds what every state.Store must do, whether one node has it or
// several share it.
package statetest

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/sshd/state"
)

// Open returns the same store as each of so many nodes has it.
type Open func(t *testing.T, s state.Settings, nodes int) []state.Store

// Run tests what open returns, on so many nodes.
func Run(t *testing.T, nodes int, open Open) {
	for name, test := range map[string]func(*testing.T, int, Open){
		"sessions":           sessions,
		"sessions at once":   sessionsAtOnce,
		"codes":              codes,
		"codes at once":      codesAtOnce,
		"guessed codes":      guessedCodes,
		"penalties":          penalties,
		"startups of one":    startupsOfOne,
		"startups, in total": startups,
	} {
		t.Run(name, func(t *testing.T) { test(t, nodes, open) })
	}
}

// code is that of a refusal, "" for none.
func code(t *testing.T, err error) state.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	r, ok := errors.AsType[*state.Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a *Refusal", err)
	}
	return r.Code
}

// eventually waits until done: what nodes tell each other takes a moment.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func sessions(t *testing.T, nodes int, open Open) {
	s := state.DefaultSettings()
	s.MaxSessions = 4
	on := open(t, s, nodes)
	var releases []func()
	for i, tt := range []struct {
		user string
		max  int
		want state.Reason
	}{
		{"alice", 2, ""},
		{"alice", 2, ""},
		{"alice", 2, state.UserSessions},
		{"alice", 0, ""},
		{"bob", 1, ""},
		{"carol", 1, state.TotalSessions},
		{"bob", 1, state.UserSessions},
	} {
		release, err := on[i%nodes].Acquire(tt.user, tt.max)
		if got := code(t, err); got != tt.want {
			t.Errorf("%d: %s gets %q, want %q", i, tt.user, got, tt.want)
		}
		if (release == nil) != (tt.want != "") {
			t.Fatalf("%d: release %t, error %v", i, release != nil, err)
		}
		if release != nil {
			releases = append(releases, release)
		}
	}
	for range 2 { // more calls do nothing
		for _, release := range releases {
			release()
		}
	}
	eventually(t, "carol may have a session", func() bool {
		release, err := on[0].Acquire("carol", 1)
		if err == nil {
			release()
		}
		return err == nil
	})
}

func sessionsAtOnce(t *testing.T, nodes int, open Open) {
	on := open(t, state.DefaultSettings(), nodes)
	var got atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			release, err := on[i%nodes].Acquire("alice", 7)
			if err == nil {
				got.Add(1)
				t.Cleanup(release)
			}
		})
	}
	wg.Wait()
	if got.Load() != 7 {
		t.Errorf("%d sessions, want 7", got.Load())
	}
}

func codes(t *testing.T, nodes int, open Open) {
	on := open(t, state.DefaultSettings(), nodes)
	for i, tt := range []struct {
		user  string
		code  uint64
		right bool
		want  state.Reason
	}{
		{"alice", 10, true, ""},
		{"alice", 10, true, state.CodeUsed},
		{"alice", 9, true, state.CodeUsed},
		{"bob", 10, true, ""},
		{"alice", 11, false, state.CodeWrong},
		{"alice", 11, true, ""},
		{"alice", 1 << 40, true, ""},
		{"alice", 1<<40 - 1, true, state.CodeUsed},
	} {
		if got := code(t, on[i%nodes].UseCode(tt.user, tt.code, tt.right)); got != tt.want {
			t.Errorf("%d: %q, want %q", i, got, tt.want)
		}
	}
}

func codesAtOnce(t *testing.T, nodes int, open Open) {
	on := open(t, state.DefaultSettings(), nodes)
	var used atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if on[i%nodes].UseCode("alice", 10, true) == nil {
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("a code was used %d times, want once", used.Load())
	}
}

func guessedCodes(t *testing.T, nodes int, open Open) {
	s := state.DefaultSettings()
	s.Codes.Tries = 3
	on := open(t, s, nodes)
	for i := range 6 {
		want := state.CodeWrong
		if i >= 3 {
			want = state.CodesShielded
		}
		err := on[i%nodes].UseCode("alice", uint64(i), false)
		if got := code(t, err); got != want {
			t.Errorf("wrong code %d: %q, want %q", i+1, got, want)
		}
		if r, _ := errors.AsType[*state.Refusal](err); i >= 3 && (time.Until(r.Until) <= 0 || time.Until(r.Until) > s.Codes.Window) {
			t.Errorf("refused until %v, want within %v", r.Until, s.Codes.Window)
		}
	}
	if got := code(t, on[0].UseCode("alice", 100, true)); got != state.CodesShielded {
		t.Errorf("a right code after too many wrong ones: %q", got)
	}
	if err := on[0].UseCode("bob", 100, true); err != nil {
		t.Errorf("somebody else's code: %v", err)
	}
}

func penalties(t *testing.T, nodes int, open Open) {
	s := state.DefaultSettings()
	s.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	on := open(t, s, nodes)
	bad, exempt := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("10.1.2.3")
	for i := range 4 { // 20 s: 15 is the least that keeps out
		on[i%nodes].Penalize(bad, state.LoginFailed)
		on[i%nodes].Penalize(exempt, state.BadProtocol)
	}
	for i, node := range on {
		eventually(t, fmt.Sprintf("node %d keeps the source out", i), func() bool { return node.Barred(bad) != nil })
		if got := code(t, node.Barred(bad)); got != state.SourcePenalized {
			t.Errorf("node %d: %q", i, got)
		}
		if _, err := node.Admit(bad); code(t, err) != state.SourcePenalized {
			t.Errorf("node %d admits it: %v", i, err)
		}
		for _, good := range []netip.Addr{exempt, netip.MustParseAddr("203.0.113.8"), {}} {
			if err := node.Barred(good); err != nil {
				t.Errorf("node %d keeps %v out: %v", i, good, err)
			}
		}
	}
}

func startupsOfOne(t *testing.T, nodes int, open Open) {
	s := state.DefaultSettings()
	s.StartupsPerSource = 3
	on := open(t, s, nodes)
	remote := netip.MustParseAddr("203.0.113.7")
	for range 3 {
		if _, err := on[0].Admit(remote); err != nil {
			t.Fatal(err)
		}
	}
	for i, node := range on {
		eventually(t, fmt.Sprintf("node %d refuses one more login of the source", i), func() bool {
			end, err := node.Admit(remote)
			if err == nil {
				end()
			}
			return code(t, err) == state.SourceBusy
		})
	}
}

func startups(t *testing.T, nodes int, open Open) {
	s := state.DefaultSettings()
	s.MaxStartups = state.Startups{Begin: 3, Rate: 100, Full: 3}
	on := open(t, s, nodes)
	var ends []func()
	for i := range 3 {
		end, err := on[0].Admit(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	admits := func(node state.Store) bool {
		end, err := node.Admit(netip.MustParseAddr("198.51.100.1"))
		if err == nil {
			end()
		} else if code(t, err) != state.StartupsFull {
			t.Fatal(err)
		}
		return err == nil
	}
	for i, node := range on {
		eventually(t, fmt.Sprintf("node %d is full", i), func() bool { return !admits(node) })
	}
	for _, end := range ends {
		end()
	}
	for i, node := range on {
		eventually(t, fmt.Sprintf("node %d has room again", i), func() bool { return admits(node) })
	}
}
