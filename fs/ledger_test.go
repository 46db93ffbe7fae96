package fs

import (
	"testing"
	"testing/synctest"
)

// TestLedgerFound: an upload gets its name while a later one is being opened,
// and the later one has looked up the old file just before.
func TestLedgerFound(t *testing.T) {
	l := newLedger()
	u := &uploads{ledger: l}
	first, second := &upload{u: u, uploadState: uploadState{name: "/f"}}, &upload{u: u, uploadState: uploadState{name: "/f"}}
	l.add(first)
	l.add(second)
	old, now := &info{name: "old"}, &info{name: "now"}
	l.took(first, now)
	l.found(second, old)
	if s, listed := l.state(second); s.before != now || !listed {
		t.Errorf("the second upload may replace %v, listed %t, want what the first has become", s.before, listed)
	}
	if _, listed := l.state(first); listed {
		t.Error("an upload that has its name is still listed")
	}
}

// TestLedgerLock checks that a path is locked by one at a time, together with
// others or not.
func TestLedgerLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		unlock := l.lock("/a", "/b")
		l.lock("/d")() // another path is free
		got := false
		go func() {
			defer l.lock("/c", "/b")()
			got = true
		}()
		synctest.Wait()
		if got {
			t.Error("a path was locked twice")
		}
		unlock()
		synctest.Wait()
		if !got || len(l.locked) > 0 {
			t.Errorf("after unlocking: the next has it %t, still locked %v", got, l.locked)
		}
	})
}

// TestLedgerLockFollows renames the directory of an upload that waits for its target.
func TestLedgerLockFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		up := &upload{u: &uploads{ledger: l, host: "/host"}, uploadState: uploadState{name: "/d/f", temp: "/d/temp"}}
		l.add(up)
		unlock := l.lock("/host/d/f")
		done := make(chan bool)
		go func() {
			unlock, listed := l.lockTarget(up)
			if !listed || !l.locked["/host/e/f"] || len(l.locked) != 1 {
				t.Errorf("locked %v, listed %t, want the new path, and the upload in the list", l.locked, listed)
			}
			unlock()
			close(done)
		}()
		synctest.Wait()
		l.movedBelow("/host/d", "/host/e")
		unlock()
		<-done
		if len(l.locked) > 0 {
			t.Errorf("still locked: %v", l.locked)
		}
	})
}
