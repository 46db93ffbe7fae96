package redis

import (
	"errors"
	"testing"
	"time"

	"berth/sshd/state"
	"berth/test/peers"
)

// TestCodeLostInFailover: a code that a replica has not got before it took over is still
// used for the node that has accepted it.
func TestCodeLostInFailover(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	if err := n.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Del(t.Context(), "{berth}:code:alice").Err(); err != nil {
		t.Fatal(err)
	}
	err := n.UseCode("alice", 10, true)
	if r, _ := errors.AsType[*state.Refusal](err); r == nil || r.Code != state.CodeUsed {
		t.Errorf("the same code again: %v", err)
	}
	if err := n.UseCode("alice", 11, true); err != nil {
		t.Errorf("the next code: %v", err)
	}
}

// TestCodeAfterWrongOnes: a node remembers a code that the nodes have accepted together,
// even where it has seen too many wrong ones itself: another node saw a right one between them.
func TestCodeAfterWrongOnes(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	together(t, first, second)
	for range 3 {
		_ = first.UseCode("alice", 9, false)
	}
	if err := second.UseCode("alice", 9, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = first.UseCode("alice", 9, false)
	}
	if err := first.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	if err := first.client.Del(t.Context(), "{berth}:code:alice").Err(); err != nil {
		t.Fatal(err)
	}
	err := first.UseCode("alice", 10, true)
	if r, _ := errors.AsType[*state.Refusal](err); r == nil || r.Code != state.CodeUsed {
		t.Errorf("the same code again: %v", err)
	}
}

// TestCodesAfterLoss: which codes were used is known since Redis has its data. A node that
// starts later knows that, and one whose Redis was emptied notices it at the next code.
func TestCodesAfterLoss(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := peers.Redis(t)
	first := start(t, r.URL, state.DefaultSettings(), nil)
	if err := first.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	later := start(t, r.URL, state.DefaultSettings(), nil)
	known, ok := first.Remembers()
	also, alsoOK := later.Remembers()
	if !ok || !alsoOK || known.Before(began.Add(-time.Millisecond)) || also.Sub(known).Abs() > time.Second {
		t.Errorf("the first node knows since %v, %t, the later one since %v, %t", known, ok, also, alsoOK)
	}
	if err := first.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	emptied := time.Now()
	for _, n := range []*node{first, later} {
		eventually(t, "the node knows that the data is new", func() bool {
			if err := n.UseCode("alice", 10, true); err == nil {
				since, _ := n.Remembers()
				if since.Before(emptied.Add(-time.Millisecond)) { // else the caller refuses the code, which is older
					t.Error("a used code was accepted by who knows of older ones")
				}
				return true
			} else if r, _ := errors.AsType[*state.Refusal](err); r != nil { // the other node has used it
				return true
			} else if !errors.Is(err, state.ErrLost) {
				t.Error(err)
			}
			return false
		})
	}
	r.Kill()
	eventually(t, "Redis is missed", func() bool { _, ok := first.Remembers(); return !ok })
}
