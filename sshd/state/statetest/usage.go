package statetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"berth/fs"
)

// OpenCounters returns the counter of a host directory as each of so many nodes has it.
type OpenCounters func(t *testing.T, nodes int) []fs.Counter

// RunCounters tests what open returns, on so many nodes.
func RunCounters(t *testing.T, nodes int, open OpenCounters) {
	for name, test := range map[string]func(*testing.T, []fs.Counter){
		"limits":             limits,
		"limits differ":      limitsDiffer,
		"filled at once":     filledAtOnce,
		"measured once":      measuredOnce,
		"not measured":       notMeasured,
		"removed elsewhere":  removedElsewhere,
		"more than the most": moreThanTheMost,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t, nodes)) })
	}
}

// holding is a directory that holds n.
func holding(n fs.Amount) func() (fs.Amount, error) {
	return func() (fs.Amount, error) { return n, nil }
}

// joined has a session on each node use the directory, which holds n.
func joined(t *testing.T, on []fs.Counter, n fs.Amount) {
	t.Helper()
	for _, c := range on {
		c.Join()
		t.Cleanup(c.Leave)
		if err := c.Count(holding(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func limits(t *testing.T, on []fs.Counter) {
	joined(t, on, fs.Amount{Bytes: 60, Files: 1})
	limit := fs.Amount{Bytes: 100, Files: 3}
	for i, tt := range []struct {
		more fs.Amount
		fits bool
	}{
		{fs.Amount{Bytes: 41}, false},
		{fs.Amount{Bytes: 40}, true},
		{fs.Amount{Bytes: 1}, false},
		{fs.Amount{Files: 3}, false},
		{fs.Amount{Files: 1}, true},
		{fs.Amount{Files: 1}, true},
		{fs.Amount{Files: 1}, false},
		{fs.Amount{}, true},
	} {
		err := on[i%len(on)].Reserve(tt.more, limit)
		if (err == nil) != tt.fits || err != nil && !errors.Is(err, fs.ErrQuota) {
			t.Errorf("%d: %+v more: %v, want that it fits: %t", i, tt.more, err, tt.fits)
		}
	}
	for i, c := range on {
		if got, want := c.Used(), (fs.Amount{Bytes: 100, Files: 3}); got != want {
			t.Errorf("node %d: %+v are used, want %+v", i, got, want)
		}
	}
}

// limitsDiffer: each session has its own limit in the same directory.
func limitsDiffer(t *testing.T, on []fs.Counter) {
	joined(t, on, fs.Amount{})
	last := on[len(on)-1]
	for _, tt := range []struct {
		more, limit int64
		fits        bool
	}{
		{40, 50, true},
		{20, 50, false},
		{1 << 30, 0, true},
		{1, 1 << 30, false},
		{1 << 30, 1 << 40, true},
		{1, 50, false},
	} {
		err := last.Reserve(fs.Amount{Bytes: tt.more}, fs.Amount{Bytes: tt.limit})
		if (err == nil) != tt.fits {
			t.Errorf("%d more of at most %d: %v, want that it fits: %t", tt.more, tt.limit, err, tt.fits)
		}
	}
	eventually(t, "only what is used counts", func() bool { return on[0].Used().Bytes == 2<<30+40 })
}

// filledAtOnce: nodes that write at once fill a directory, and never more. What one has
// reserved and not used, another one gets.
func filledAtOnce(t *testing.T, on []fs.Counter) {
	joined(t, on, fs.Amount{Bytes: 1 << 20})
	const piece = 32 << 10
	limit := fs.Amount{Bytes: 1<<20 + 1000*piece, Files: 500}
	var pieces, files atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 * len(on) {
		c := on[i%len(on)]
		wg.Go(func() {
			for c.Reserve(fs.Amount{Bytes: piece}, limit) == nil {
				pieces.Add(1)
			}
			for c.Reserve(fs.Amount{Files: 1}, limit) == nil {
				files.Add(1)
			}
		})
	}
	wg.Wait()
	if pieces.Load() != 1000 || files.Load() != 500 {
		t.Errorf("%d pieces and %d files went in, want 1000 and 500", pieces.Load(), files.Load())
	}
}

// measuredOnce: all nodes know what one has measured, and nobody writes before.
func measuredOnce(t *testing.T, on []fs.Counter) {
	var measured atomic.Int32
	var wg sync.WaitGroup
	for _, c := range on {
		c.Join()
		t.Cleanup(c.Leave)
		wg.Go(func() {
			err := c.Count(func() (fs.Amount, error) {
				measured.Add(1)
				return fs.Amount{Bytes: 70, Files: 2}, nil
			})
			if err == nil {
				err = c.Reserve(fs.Amount{Bytes: 10}, fs.Amount{Bytes: 1000})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if measured.Load() != 1 {
		t.Errorf("measured %d times, want once", measured.Load())
	}
	want := fs.Amount{Bytes: 70 + 10*int64(len(on)), Files: 2}
	for i, c := range on {
		eventually(t, fmt.Sprintf("node %d knows that %+v are used", i, want), func() bool { return c.Used() == want })
	}
}

// notMeasured: a directory that could not be measured is measured at the next operation.
func notMeasured(t *testing.T, on []fs.Counter) {
	broken := errors.New("broken")
	on[0].Join()
	defer on[0].Leave()
	if err := on[0].Count(func() (fs.Amount, error) { return fs.Amount{}, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want why it was not measured", err)
	}
	joined(t, on, fs.Amount{Bytes: 5})
	if got := on[0].Used(); got.Bytes != 5 {
		t.Errorf("%d bytes are used, want 5", got.Bytes)
	}
}

// removedElsewhere: what one node removes another one can use, a moment later.
func removedElsewhere(t *testing.T, on []fs.Counter) {
	joined(t, on, fs.Amount{Bytes: 100, Files: 10})
	limit := fs.Amount{Bytes: 100, Files: 10}
	first, last := on[0], on[len(on)-1]
	if err := last.Reserve(fs.Amount{Bytes: 1}, limit); !errors.Is(err, fs.ErrQuota) {
		t.Fatalf("a full directory: %v", err)
	}
	first.Add(fs.Amount{Bytes: -30, Files: -1})
	eventually(t, "another node may use it", func() bool {
		return last.Reserve(fs.Amount{Bytes: 30}, limit) == nil
	})
	if err := first.Reserve(fs.Amount{Bytes: 1}, limit); !errors.Is(err, fs.ErrQuota) {
		t.Errorf("full again: %v", err)
	}
	if err := first.Reserve(fs.Amount{Files: 1}, limit); err != nil {
		t.Errorf("a file in place of the removed one: %v", err)
	}
}

// moreThanTheMost: what exists counts although it is more than the limit, and what is
// removed of that makes no room yet.
func moreThanTheMost(t *testing.T, on []fs.Counter) {
	joined(t, on, fs.Amount{Bytes: 150})
	limit := fs.Amount{Bytes: 100}
	on[0].Add(fs.Amount{Bytes: 10})
	on[0].Add(fs.Amount{Bytes: -40}) // 120
	for i, c := range on {
		if err := c.Reserve(fs.Amount{Bytes: 1}, limit); !errors.Is(err, fs.ErrQuota) {
			t.Errorf("node %d: one byte more than too many: %v", i, err)
		}
		if err := c.Reserve(fs.Amount{Bytes: 0, Files: 1}, limit); err != nil {
			t.Errorf("node %d: a file without bytes: %v", i, err)
		}
	}
	on[0].Add(fs.Amount{Bytes: -30}) // 90
	eventually(t, "there is room again", func() bool { return on[len(on)-1].Reserve(fs.Amount{Bytes: 10}, limit) == nil })
}
