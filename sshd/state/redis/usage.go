package redis

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/fs"
	"berth/sshd/state"
)

// A counter counts what a host directory holds, for all nodes that have it under the
// same path. A node reserves in pieces, so that most writes need not ask, and Redis
// counts what is reserved as used. With each heartbeat the node returns what it has not
// used.
//
// A node reports how much it has added in total, not how much more. So a lost answer
// does no harm: the next question reports the same again.
type counter struct {
	store *Store
	host  string

	asking sync.Mutex // held while Redis is asked; before mu

	mu       sync.Mutex
	sessions int
	known    bool // others is from Redis
	alone    bool // Redis could not be asked, and this node has measured by itself
	measure  func() (fs.Amount, error)
	added    fs.Amount // by this node since it started; negative if it has removed more
	heard    fs.Amount // the part of added that Redis knows
	reserved fs.Amount // the limit of added without a question to Redis
	others   fs.Amount // what others use, in the last answer of Redis
}

const (
	pieceBytes = 16 << 20
	pieceFiles = 64
	usageFor   = 24 * time.Hour  // for how long a directory that nobody uses is remembered
	returnsIn  = 2 * time.Second // in which other nodes return what they have reserved
)

// Counter returns the counter of a host directory. There must be one of each directory.
func (s *Store) Counter(host string) fs.Counter { return &counter{store: s, host: host} }

func (c *counter) Join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = c.known && c.sessions > 0
	c.sessions++
}

func (c *counter) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions--
}

func (c *counter) Add(n fs.Amount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added = c.added.Plus(n)
}

// Used implements fs.Counter. It asks, since others may have changed something.
func (c *counter) Used() fs.Amount {
	c.asking.Lock()
	defer c.asking.Unlock()
	_, _ = c.ask(usageSettle, fs.Amount{}, fs.Amount{}) // otherwise the last known value
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.others.Plus(c.added)
}

func (c *counter) Count(measure func() (fs.Amount, error)) error {
	c.mu.Lock()
	c.measure = measure
	known := c.known
	c.mu.Unlock()
	if known {
		return nil
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.count()
}

// count makes Redis know the directory. The caller holds asking.
func (c *counter) count() error {
	for pause := least; ; pause = min(2*pause, 20*least) {
		answer, err := c.ask(usageKnow, fs.Amount{}, fs.Amount{})
		switch {
		case err != nil:
			return c.countAlone()
		case answer == "ok":
			return nil
		case answer == "busy": // another node measures
			time.Sleep(pause)
			continue
		}
		n, err := c.measure()
		if err != nil {
			_, gaveUp := c.ask(usageGiveUp, fs.Amount{}, fs.Amount{})
			return errors.Join(err, gaveUp)
		}
		if _, err := c.ask(usageCounted, n, fs.Amount{}); err != nil {
			c.knowAlone(n)
			return nil
		}
	}
}

// countAlone measures the directory once while Redis cannot be reached.
func (c *counter) countAlone() error {
	c.mu.Lock()
	alone := c.alone
	c.mu.Unlock()
	if alone {
		return nil
	}
	n, err := c.measure()
	if err == nil {
		c.knowAlone(n)
	}
	return err
}

func (c *counter) knowAlone(n fs.Amount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alone, c.reserved = true, c.added
	c.others = fs.Amount{Bytes: n.Bytes - c.added.Bytes, Files: n.Files - c.added.Files}
}

// Reserve implements fs.Counter. If others have reserved what is missing, but have not
// used it, they are asked to return that first.
func (c *counter) Reserve(more, limit fs.Amount) error {
	if c.spend(more, limit) {
		return nil
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	deadline := time.Now().Add(returnsIn)
	for pause := least; !c.spend(more, limit); {
		answer, err := c.ask(usageReserve, more, limit)
		switch {
		case err != nil:
			return c.reserveAlone(more, limit)
		case answer == "unknown": // Redis has lost its data
			if err := c.count(); err != nil {
				return err
			}
		case answer == "full", answer == "wait" && time.Now().After(deadline):
			return fs.ErrQuota
		case answer == "wait": // for others, who may wait for this node
			if _, err := c.ask(usageSettle, fs.Amount{}, fs.Amount{}); err != nil {
				return c.reserveAlone(more, limit)
			}
			time.Sleep(pause)
			pause = min(2*pause, 20*least)
		}
	}
	return nil
}

// spend takes more from what is reserved, if that is enough.
func (c *counter) spend(more, limit fs.Amount) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	added := c.added.Plus(more)
	if more.Bytes > 0 && added.Bytes > c.reserved.Bytes || more.Files > 0 && added.Files > c.reserved.Files {
		return false
	}
	if limit.Exceeded(c.others.Plus(added), more) {
		return false
	}
	c.added = added
	return true
}

// reserveAlone is Reserve while Redis cannot be reached. Beyond what it has reserved,
// a node may use its share of what was free when Redis answered last.
func (c *counter) reserveAlone(more, limit fs.Amount) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := int64(c.store.nodes.Load())
	allows := func(added, reserved, others, limit int64) bool {
		return limit == 0 || added <= reserved+max(limit-others-reserved, 0)/nodes
	}
	added := c.added.Plus(more)
	if more.Bytes > 0 && !allows(added.Bytes, c.reserved.Bytes, c.others.Bytes, limit.Bytes) ||
		more.Files > 0 && !allows(added.Files, c.reserved.Files, c.others.Files, limit.Files) {
		return fs.ErrQuota
	}
	c.added = added
	return nil
}

// ask asks Redis, and stores its answer. The caller holds asking.
func (c *counter) ask(op usageOp, n, limit fs.Amount) (answer string, err error) {
	s := c.store
	if !s.up.Load() {
		return "", state.ErrLost
	}
	c.mu.Lock()
	if op != usageReserve {
		c.reserved = c.added // nobody may use what is returned
	}
	added, heard := c.added, c.heard
	c.mu.Unlock()
	text, err := s.ask(usageScript, c.host, s.holder, string(op), added.Bytes, added.Files, heard.Bytes, heard.Files,
		n.Bytes, n.Files, limit.Bytes, limit.Files, pieceBytes, pieceFiles, fs.Recount.Milliseconds(), usageFor.Milliseconds())
	if err != nil {
		return "", err
	}
	var reserved, used fs.Amount
	stale := false
	if _, err := fmt.Sscan(text, &answer, &reserved.Bytes, &reserved.Files, &used.Bytes, &used.Files, &stale); err != nil {
		return "", fmt.Errorf("%w: answer %q about a directory", state.ErrLost, text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer != "ok" && answer != "full" && answer != "wait" {
		c.known = false
		if op == usageLeave { // of a Redis that has lost its data
			s.holds(c, false)
		}
		return answer, nil
	}
	c.heard, c.reserved, c.alone = added, reserved, false
	c.others = fs.Amount{Bytes: used.Bytes - reserved.Bytes, Files: used.Files - reserved.Files}
	switch op {
	case usageKnow, usageCounted:
		c.known = true
	case usageLeave:
		c.known = false
	}
	c.known = c.known && !stale
	s.holds(c, op != usageLeave)
	return answer, nil
}

// tidy returns what this node has reserved and not used. A directory that no session
// uses is given up.
func (c *counter) tidy() {
	if !c.asking.TryLock() {
		return // it is being used
	}
	defer c.asking.Unlock()
	c.mu.Lock()
	unused, settled := c.sessions == 0, c.reserved == c.added && c.heard == c.added
	c.mu.Unlock()
	switch {
	case unused:
		_, _ = c.ask(usageLeave, fs.Amount{}, fs.Amount{}) // else with the next heartbeat
	case !settled:
		_, _ = c.ask(usageSettle, fs.Amount{}, fs.Amount{})
	}
}

// holds records whether Redis has data of this node about a directory.
func (s *Store) holds(c *counter, does bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if does {
		s.counters[c.host] = c
	} else {
		delete(s.counters, c.host)
	}
}

// held returns the directories about which Redis has data of this node.
func (s *Store) held() []*counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.counters))
}
