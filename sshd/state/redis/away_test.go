package redis

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/sshd/state"
	"berth/test/peers"
)

// TestNodeDies: the sessions of a node that says nothing more are free after its lease.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	dying := start(t, r.URL, state.DefaultSettings(), nil, func(s *Store) { s.lease = 5 * time.Second }) // while it lives it must not be late by this
	if _, err := dying.Acquire("alice", 1); err != nil {
		t.Fatal(err)
	}
	other := start(t, r.URL, state.DefaultSettings(), nil)
	if _, err := other.Acquire("alice", 1); err == nil {
		t.Fatal("a second session, want one")
	}
	dying.client.Close() // it cannot take itself out
	dying.end()
	eventually(t, "the lease ends", func() bool {
		_, err := other.Acquire("alice", 1)
		return err == nil
	})
}

// TestNodeLeaves: a node that ends in good order leaves nothing.
func TestNodeLeaves(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	if _, err := first.Acquire("alice", 1); err != nil {
		t.Fatal(err)
	}
	first.end()
	if _, err := second.Acquire("alice", 1); err != nil {
		t.Errorf("after the other node has ended: %v", err)
	}
}

// TestRedisForgets: what Redis loses it gets again.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	release, err := first.Acquire("alice", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both nodes are registered again", func() bool { return first.client.ZCard(t.Context(), "{berth}:nodes").Val() == 2 })
	if _, err := second.Acquire("alice", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Acquire("alice", 2); err == nil {
		t.Error("a third session of two: Redis was not told of those that are open")
	}
	release()
	eventually(t, "the session that began before is free", func() bool {
		_, err := second.Acquire("alice", 2)
		return err == nil
	})
}

// TestRedisAway: limits are divided, codes are refused or not; afterwards all counts are right.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for _, codes := range []CodesWhenLost{RefuseCodes, AllowCodes} {
		t.Run(string(codes), func(t *testing.T) {
			r := peers.Redis(t)
			set := func(s *Settings) { s.CodesWhenLost = codes }
			first, second := start(t, r.URL, state.DefaultSettings(), set), start(t, r.URL, state.DefaultSettings(), set)
			together(t, first, second)
			if err := first.UseCode("alice", 10, true); err != nil {
				t.Fatal(err)
			}
			r.Kill()
			var releases []func()
			for i := range 3 {
				release, err := first.Acquire("alice", 4)
				if (err == nil) != (i < 2) { // two of the four are this node's
					t.Errorf("session %d without Redis: %v", i+1, err)
				}
				if err == nil {
					releases = append(releases, release)
				}
			}
			if up, _ := first.Up(); up {
				t.Error("Redis is said to be up")
			}
			err := first.UseCode("alice", 10, true)
			if refusal, _ := errors.AsType[*state.Refusal](err); codes == RefuseCodes && !errors.Is(err, state.ErrLost) || codes == AllowCodes && (refusal == nil || refusal.Code != state.CodeUsed) {
				t.Errorf("a code that was used before Redis went away: %v", err)
			}
			if err := first.UseCode("alice", 11, true); (err == nil) != (codes == AllowCodes) {
				t.Errorf("a new code: %v", err)
			}
			bad := netip.MustParseAddr("203.0.113.7")
			first.Penalize(bad, state.BadProtocol)
			if first.Barred(bad) == nil {
				t.Error("without Redis nothing is held against a source")
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			for _, n := range []*node{first, second} {
				eventually(t, "the node is back", func() bool { up, known := n.Up(); return up && known == 2 })
			}
			eventually(t, "what happened in between is known elsewhere", func() bool { return second.Barred(bad) != nil })
			if _, err := second.Acquire("alice", 2); err == nil {
				t.Error("the two sessions that began without Redis are not counted")
			}
			for _, release := range releases {
				release()
			}
			eventually(t, "they end", func() bool {
				release, err := second.Acquire("alice", 1)
				if err == nil {
					release()
				}
				return err == nil
			})
			first.end()
			first.mu.Lock()
			defer first.mu.Unlock()
			if len(first.changes) != 3 || first.changes[0] != nil || first.changes[1] == nil || first.changes[2] != nil {
				t.Errorf("changes %v, want up, lost with an error, and up", first.changes)
			}
		})
	}
}

// TestRedisHangs: a Redis that gives no answer makes no login wait for longer than
// the timeout, and the counts stay right.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), func(s *Settings) { s.Timeout = 50 * time.Millisecond })
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	release, err := n.Acquire("alice", 1)
	if err != nil {
		t.Fatal(err)
	}
	if up, _ := n.Up(); up {
		t.Error("Redis is said to be up")
	}
	if err := n.UseCode("alice", 10, true); !errors.Is(err, state.ErrLost) {
		t.Errorf("a code while Redis hangs: %v", err)
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	other := start(t, r.URL, state.DefaultSettings(), nil)
	eventually(t, "the session is counted", func() bool {
		release, err := other.Acquire("alice", 1)
		if err == nil {
			release()
		}
		return err != nil
	})
	release()
	eventually(t, "and once", func() bool {
		_, err := other.Acquire("alice", 1)
		return err == nil
	})
}

// TestTakesOverLater: what others hold is taken over although Redis refused the first
// question, as it does while it loads its data.
func TestTakesOverLater(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n, by := start(t, r.URL, state.DefaultSettings(), nil), clientOf(t, r)
	do := func(args ...any) {
		t.Helper()
		if err := by.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("ACL", "SETUSER", "default", "-eval", "-evalsha")
	do("CLIENT", "KILL", "TYPE", "pubsub")
	eventually(t, "the node is missed", func() bool { return n.missed() })
	eventually(t, "the node has subscribed again", func() bool {
		counts := by.Info(t.Context(), "commandstats").Val()
		return strings.Contains(counts, "cmdstat_subscribe:") && !strings.Contains(counts, "cmdstat_subscribe:calls=1,")
	})
	for _, key := range []string{"{berth}:penalties", "{berth}:barred"} {
		do("ZADD", key, time.Now().Add(time.Hour).UnixMilli(), "203.0.113.7/32")
	}
	time.Sleep(100 * time.Millisecond) // the first question has been refused
	do("ACL", "SETUSER", "default", "+@all")
	eventually(t, "the node knows", func() bool { return n.Barred(netip.MustParseAddr("203.0.113.7")) != nil })
}

// TestStartWithoutRedis: a node that starts while Redis does not answer reports
// it once.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	s := DefaultSettings()
	s.URLs = []string{"redis://127.0.0.1:1"}
	store, err := New("node", s, state.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Int32
	store.Changed = func(err error) {
		if err == nil {
			t.Error("it is said to answer")
		}
		lost.Add(1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Run(ctx)
	}()
	eventually(t, "it is said that nobody answers", func() bool { return lost.Load() > 0 })
	if _, err := store.Acquire("alice", 1); err != nil {
		t.Errorf("a session meanwhile: %v", err)
	}
	cancel()
	<-done
	if n := lost.Load(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}
