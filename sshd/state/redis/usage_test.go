package redis

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/fs"
	"berth/sshd/state"
	"berth/sshd/state/statetest"
	"berth/test/peers"
)

const testDir = "/srv/shared folder"

func TestCounters(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			statetest.RunCounters(t, count, func(t *testing.T, n int) []fs.Counter {
				r := peers.Redis(t)
				var all []fs.Counter
				for range n {
					all = append(all, start(t, r.URL, state.DefaultSettings(), nil).Counter(testDir))
				}
				return all
			})
		})
	}
}

// a counter of a directory that holds n, and that a session uses.
func count(t *testing.T, on *node, n fs.Amount) fs.Counter {
	t.Helper()
	c := on.Counter(testDir)
	c.Join()
	if err := c.Count(func() (fs.Amount, error) { return n, nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNodeDiesFull: what a node had reserved when it was killed is free again when
// its lease has ended and another node has measured the directory. Until then it counts,
// since the node may have used it.
func TestNodeDiesFull(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	dying := start(t, r.URL, state.DefaultSettings(), nil, func(s *Store) { s.lease = time.Second })
	other := start(t, r.URL, state.DefaultSettings(), nil)
	limit := fs.Amount{Bytes: 1 << 30}
	first, second := count(t, dying, fs.Amount{}), count(t, other, fs.Amount{})
	if err := first.Reserve(fs.Amount{Bytes: 1 << 20}, limit); err != nil {
		t.Fatal(err)
	}
	dying.client.Close() // it cannot return anything
	dying.end()
	var measured atomic.Int32
	eventually(t, "it is measured again", func() bool {
		if got := second.Used().Bytes; measured.Load() == 0 && got < 1<<20 {
			t.Fatalf("%d bytes are used before, want at least those that were written", got)
		}
		err := second.Count(func() (fs.Amount, error) {
			measured.Add(1)
			return fs.Amount{Bytes: 1 << 20}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return measured.Load() > 0
	})
	if got := second.Used().Bytes; got != 1<<20 {
		t.Errorf("%d bytes are used, want %d: what the dead node reserved is not free", got, 1<<20)
	}
}

// TestLeftAfterLoss: a directory that nobody uses is given up, although Redis has lost its
// data. Else each heartbeat would ask about it for ever.
func TestLeftAfterLoss(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	c := count(t, n, fs.Amount{Bytes: 5})
	if err := n.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	c.Leave()
	eventually(t, "it is given up", func() bool { return len(n.held()) == 0 })
}

// TestWritesMostlyDoNotAsk: a thousand writes cost a few questions.
func TestWritesMostlyDoNotAsk(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	c := count(t, n, fs.Amount{})
	questions := func() (calls int) {
		for line := range strings.Lines(n.client.Info(t.Context(), "commandstats").Val()) {
			if _, err := fmt.Sscanf(line, "cmdstat_hgetall:calls=%d,", &calls); err == nil {
				return calls
			}
		}
		return 0
	}
	before := questions()
	for range 1000 {
		if err := c.Reserve(fs.Amount{Bytes: 32 << 10}, fs.Amount{Bytes: 1 << 40}); err != nil {
			t.Fatal(err)
		}
	}
	if got := questions() - before; got < 2 || got > 100 {
		t.Errorf("Redis was asked %d times for 31 MiB, want 2, and two more each second", got)
	}
}

// TestUsageAway: without Redis a node uses what it has reserved and its share of what was
// free. Afterwards Redis gets what each node has added.
func TestUsageAway(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	one, two := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	together(t, one, two)
	limit := fs.Amount{Bytes: 1000, Files: 11}
	first, second := count(t, one, fs.Amount{Bytes: 600, Files: 1}), count(t, two, fs.Amount{})
	first.Used()
	second.Used()
	r.Kill()
	for i, c := range []fs.Counter{first, second} {
		for _, tt := range []struct {
			more fs.Amount
			fits bool
		}{
			{fs.Amount{Bytes: 201}, false}, // half of 400
			{fs.Amount{Bytes: 150}, true},
			{fs.Amount{Bytes: 51}, false},
			{fs.Amount{Bytes: 50}, true},
			{fs.Amount{Files: 6}, false},
			{fs.Amount{Files: 5}, true},
		} {
			if err := c.Reserve(tt.more, limit); (err == nil) != tt.fits || err != nil && !errors.Is(err, fs.ErrQuota) {
				t.Errorf("node %d, %+v without Redis: %v, want that it fits: %t", i, tt.more, err, tt.fits)
			}
		}
		if err := c.Reserve(fs.Amount{Bytes: 7}, fs.Amount{}); err != nil {
			t.Errorf("node %d, who has no limit: %v", i, err)
		}
	}
	if used := first.Used(); used.Bytes != 807 {
		t.Errorf("%d bytes are used as far as this node knows, want 807", used.Bytes)
	}
	late := two.Counter("/srv/another")
	late.Join()
	for range 2 {
		if err := late.Count(func() (fs.Amount, error) { return fs.Amount{Bytes: 900}, nil }); err != nil {
			t.Errorf("a directory that nobody has measured: %v", err)
		}
	}
	if err := late.Reserve(fs.Amount{Bytes: 51}, limit); !errors.Is(err, fs.ErrQuota) {
		t.Errorf("more than the share of a directory that was measured without Redis: %v", err)
	}
	if err := r.Start(); err != nil { // empty
		t.Fatal(err)
	}
	for _, n := range []*node{one, two} {
		eventually(t, "the node is back", func() bool { up, known := n.Up(); return up && known == 2 })
	}
	onDisk := func() (fs.Amount, error) { return fs.Amount{Bytes: 600 + 2*207, Files: 11}, nil }
	for i, c := range []fs.Counter{first, second} {
		eventually(t, "Redis knows the directory again", func() bool { return c.Count(onDisk) == nil && c.Used() == fs.Amount{Bytes: 1014, Files: 11} })
		if err := c.Reserve(fs.Amount{Bytes: 1}, limit); !errors.Is(err, fs.ErrQuota) {
			t.Errorf("node %d: one byte more than both have filled: %v", i, err)
		}
	}
}

// TestUsageForgotten: a Redis that has lost its data while files are written knows the
// directory again by the next question.
func TestUsageForgotten(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	c := n.Counter(testDir)
	c.Join()
	var onDisk int64
	if err := c.Count(func() (fs.Amount, error) { return fs.Amount{Bytes: onDisk}, nil }); err != nil {
		t.Fatal(err)
	}
	write := func(bytes int64) error {
		err := c.Reserve(fs.Amount{Bytes: bytes}, fs.Amount{Bytes: 1 << 30})
		if err == nil {
			onDisk += bytes
		}
		return err
	}
	for i := range 31 {
		if err := write(32 << 20); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := n.client.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := write(32<<20 + 1); !errors.Is(err, fs.ErrQuota) {
		t.Errorf("one byte too many: %v", err)
	}
	if err := write(32 << 20); err != nil {
		t.Errorf("the last byte: %v", err)
	}
}

// TestUsageLeft: a directory that no session uses leaves nothing of the node.
func TestUsageLeft(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n, other := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	c := count(t, n, fs.Amount{Bytes: 1})
	if err := c.Reserve(fs.Amount{Bytes: 2}, fs.Amount{Bytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	c.Leave()
	key := "{berth}:usage:" + testDir
	eventually(t, "only what is used is left", func() bool {
		all := n.client.HGetAll(t.Context(), key).Val()
		return all["bytes"] == "3" && all["h:"+n.holder] == ""
	})
	c.Join()
	if err := c.Reserve(fs.Amount{Bytes: 4}, fs.Amount{Bytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	n.end() // with a session that still uses it
	if got := count(t, other, fs.Amount{}).Used().Bytes; got != 7 {
		t.Errorf("after the node has ended %d bytes are used, want 7", got)
	}
}
