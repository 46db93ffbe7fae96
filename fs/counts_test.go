package fs

import (
	"testing"
	"time"
)

// TestCountsOfTwoProcesses: what one adds counts at the other, once, and not again at the
// one that added it.
func TestCountsOfTwoProcesses(t *testing.T) {
	var old, next Quotas
	const host = "/srv/berth/shared"
	count := func(q *Quotas, bytes int64) {
		t.Helper()
		if err := q.of(host).Count(func() (Amount, error) { return Amount{bytes, 1}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	tell := func() {
		next.Receive("old", old.Counts("next"))
		old.Receive("next", next.Counts("old"))
	}
	used := func(want int64) {
		t.Helper()
		for name, q := range map[string]*Quotas{"old": &old, "next": &next} {
			if got := q.of(host).Used(); got != (Amount{want, 1}) {
				t.Errorf("%s: %+v used, want %d bytes", name, got, want)
			}
		}
	}
	old.of(host).Add(Amount{Bytes: 7}) // before it is counted, which includes it
	count(&old, 1000)
	tell()
	used(1000)
	count(&next, 5) // it is known already
	limit := Amount{Bytes: 2000}
	if err := old.of(host).Reserve(Amount{Bytes: 600}, limit); err != nil {
		t.Fatal(err)
	}
	next.of(host).Add(Amount{Bytes: -100})
	tell()
	tell()
	used(1500)
	if err := next.of(host).Reserve(Amount{Bytes: 501}, limit); err != ErrQuota {
		t.Errorf("501 bytes in 500: %v", err)
	}
	if err := old.of(host).Reserve(Amount{Bytes: 500}, limit); err != nil {
		t.Errorf("500 bytes in 500: %v", err)
	}
	// What a third process adds comes through the one in the middle.
	next.Receive("third", map[string]Count{host: {At: time.Now(), Added: Amount{Bytes: 40}}})
	tell()
	used(2040)
}

// TestCountsDoNotWait for a directory that is being measured.
func TestCountsDoNotWait(t *testing.T) {
	var q Quotas
	err := q.of("/srv").Count(func() (Amount, error) {
		if n := q.Counts("next"); len(n) != 0 {
			t.Errorf("%v is known of a directory that is being measured", n)
		}
		return Amount{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
