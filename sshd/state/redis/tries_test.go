package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/directory"
	"berth/sshd/state"
	"berth/test/peers"
)

// locksAt is an account that so many wrong passwords lock.
func locksAt(threshold int, window time.Duration) func() (int, time.Duration) {
	return func() (int, time.Duration) { return threshold, window }
}

// try tries a password with a result, and reports whether the directory was asked.
func try(t *testing.T, tries directory.Tries, lockout func() (int, time.Duration), r directory.TryResult) bool {
	t.Helper()
	end, err := tries.Begin(t.Context(), "corp/alice", lockout)
	if err != nil {
		if !errors.Is(err, directory.ErrShielded) {
			t.Error(err)
		}
		return false
	}
	end(r)
	return true
}

// TestGuesses: a hundred guesses at once on three nodes ask the directory as often as on one.
func TestGuesses(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	var nodes []*Tries
	for range 3 {
		nodes = append(nodes, NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store))
	}
	lockout := locksAt(5, time.Hour)
	guess := func(n int) int32 {
		var asked atomic.Int32
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if try(t, nodes[i%3], lockout, directory.Wrong) {
					asked.Add(1)
				}
			})
		}
		wg.Wait()
		return asked.Load()
	}
	if n := guess(100); n != 4 {
		t.Errorf("the directory was asked %d times, want 4: at 5 the account locks", n)
	}
	if n := guess(30); n != 0 {
		t.Errorf("then %d times more", n)
	}
}

// TestRightPassword: a right password makes room again, also for other nodes.
func TestRightPassword(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store), NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store)
	lockout := locksAt(4, time.Hour)
	for i := range 10 {
		if !try(t, first, lockout, directory.Wrong) || !try(t, second, lockout, directory.Wrong) || !try(t, first, lockout, directory.Unknown) || !try(t, second, lockout, directory.Right) {
			t.Fatalf("round %d: a try was refused", i)
		}
	}
}

// TestWindow: wrong passwords are forgotten after the time for which the directory counts them.
func TestWindow(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	tries := NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store)
	lockout := locksAt(2, 300*time.Millisecond)
	for range 3 {
		eventually(t, "a wrong password is forgotten", func() bool { return try(t, tries, lockout, directory.Wrong) })
	}
	for range 2 {
		if !try(t, tries, locksAt(0, time.Hour), directory.Wrong) {
			t.Error("an account that never locks is shielded")
		}
	}
}

// TestTriesAway: without Redis each node allows its share, and reports it later.
func TestTriesAway(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	one, two := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	first, second := NewTries(one.Store), NewTries(two.Store)
	together(t, one, two)
	r.Kill()
	lockout := locksAt(7, time.Hour)
	for _, tries := range []*Tries{first, second} {
		for i := range 4 {
			if got := try(t, tries, lockout, directory.Wrong); got != (i < 3) { // half of six
				t.Errorf("try %d without Redis: asked %t", i+1, got)
			}
		}
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all six are known", func() bool { return one.client.HGet(t.Context(), "{berth}:tries:corp/alice", "wrong").Val() == "6" })
	eventually(t, "the nodes are back", func() bool { up, _ := one.Up(); return up })
	if try(t, first, lockout, directory.Wrong) {
		t.Error("one more try was let through")
	}
}

// TestTryIsWaitedFor: a try waits for those under way, until its client leaves.
func TestTryIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store), NewTries(start(t, r.URL, state.DefaultSettings(), nil).Store)
	lockout := locksAt(2, time.Hour)
	end, err := first.Begin(t.Context(), "corp/alice", lockout)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	cancel(left)
	if _, err := second.Begin(ctx, "corp/alice", lockout); !errors.Is(err, left) || errors.Is(err, directory.ErrShielded) {
		t.Errorf("whoever leaves while another try is under way gets %v", err)
	}
	done := make(chan bool)
	go func() { done <- try(t, second, lockout, directory.Right) }()
	end(directory.Right)
	if !<-done {
		t.Error("refused although the other try was right")
	}
}
