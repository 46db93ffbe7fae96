package fs

import (
	"sync"
	"time"
)

// An Amount is bytes, and files and directories. In a limit, 0 means none.
type Amount struct{ Bytes, Files int64 }

// tighter is the limit that is reached when either of the two is.
func (a Amount) tighter(b Amount) Amount {
	return Amount{smaller(a.Bytes, b.Bytes), smaller(a.Files, b.Files)}
}

func smaller(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Plus is the sum of a and b.
func (a Amount) Plus(b Amount) Amount { return Amount{a.Bytes + b.Bytes, a.Files + b.Files} }

// Exceeded reports whether an increase by more, which makes the total n,
// exceeds the limit l. A resource that does not increase is not compared.
func (l Amount) Exceeded(n, more Amount) bool {
	return more.Bytes > 0 && l.Bytes > 0 && n.Bytes > l.Bytes || more.Files > 0 && l.Files > 0 && n.Files > l.Files
}

// A Counter counts what one host directory holds, for everybody who changes it. It is
// safe for concurrent use.
type Counter interface {
	// Join and Leave are called when a session begins and ends to use the
	// directory. If no other session uses it and the last measurement is old (see
	// Recount), it is measured again.
	Join()
	Leave()
	// Count calls measure, or waits for another caller that measures, if the
	// directory has not been measured.
	Count(measure func() (Amount, error)) error
	// Reserve counts what is about to be written or made, or fails with ErrQuota if
	// limit has no room for it. It fails with another error if this is not known.
	Reserve(more, limit Amount) error
	// Add counts what exists already, or with a negative n what was removed. It
	// has no limit.
	Add(n Amount)
	// Used returns what is counted.
	Used() Amount
}

// Recount is how old a count may be when a session begins to use a directory
// that no other session uses: other programs may have changed the directory
// since.
const Recount = time.Hour

// memoryCounter is the Counter of one process.
type memoryCounter struct {
	mu       sync.Mutex
	sessions int
	counted  time.Time // zero: not yet
	used     Amount
	added    Amount         // the part of used that this process has added
	heard    map[any]Amount // the parts that other processes have added, by process
}

func (c *memoryCounter) Join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == 0 && time.Since(c.counted) > Recount {
		c.counted = time.Time{}
	}
	c.sessions++
}

func (c *memoryCounter) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions--
}

func (c *memoryCounter) Count(measure func() (Amount, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.counted.IsZero() {
		return nil
	}
	n, err := measure()
	if err == nil {
		c.used, c.counted = n, time.Now()
	}
	return err
}

func (c *memoryCounter) Reserve(more, limit Amount) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit.Exceeded(c.used.Plus(more), more) {
		return ErrQuota
	}
	c.add(more)
	return nil
}

func (c *memoryCounter) Add(n Amount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(n)
}

// add is called with c.mu held.
func (c *memoryCounter) add(n Amount) { c.used, c.added = c.used.Plus(n), c.added.Plus(n) }

func (c *memoryCounter) Used() Amount {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
