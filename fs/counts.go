package fs

import (
	"maps"
	"time"
)

// A Count is what one process knows of a host directory, for another process that writes
// there, too.
type Count struct {
	Used  Amount    `json:"used"`
	At    time.Time `json:"at"`    // when it was measured
	Added Amount    `json:"added"` // since the start, by this process and by all but the receiver
}

// Counts returns, by host directory, the counts for the process called to, without those
// that it has sent itself. There are none if q has a Counter.
func (q *Quotas) Counts(to any) map[string]Count {
	q.mu.Lock()
	hosts := maps.Clone(q.hosts)
	q.mu.Unlock()
	all := map[string]Count{}
	for host, u := range hosts {
		if c, ok := u.Counter.(*memoryCounter); ok {
			if n, known := c.count(to); known {
				all[host] = n
			}
		}
	}
	return all
}

// Receive counts what another process, called from, has sent. Only what that process has
// added since its last message is added here. A directory that it has measured is not
// measured again here.
func (q *Quotas) Receive(from any, all map[string]Count) {
	for host, n := range all {
		if c, ok := q.of(host).Counter.(*memoryCounter); ok {
			c.hear(from, n)
		}
	}
}

// count does not wait while the directory is being measured.
func (c *memoryCounter) count(to any) (n Count, known bool) {
	if !c.mu.TryLock() {
		return Count{}, false
	}
	defer c.mu.Unlock()
	n = Count{c.used, c.counted, c.added}
	for from, added := range c.heard {
		if from != to {
			n.Added = n.Added.Plus(added)
		}
	}
	return n, !c.counted.IsZero()
}

func (c *memoryCounter) hear(from any, n Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counted.IsZero() {
		c.used, c.counted = n.Used, n.At
	} else {
		before := c.heard[from]
		c.used = c.used.Plus(Amount{n.Added.Bytes - before.Bytes, n.Added.Files - before.Files})
	}
	if c.heard == nil {
		c.heard = map[any]Amount{}
	}
	c.heard[from] = n.Added
}
