package kerberos

import (
	"sync"
	"time"
)

// Authenticators are remembered for as long as their time stamps could be
// accepted, at most maxReplays of them: about 10 MB.
const (
	remembered = 2 * skew
	maxReplays = 1 << 16
)

// replays remembers recent authenticators (RFC 4120, section 3.2.3).
type replays struct {
	mu    sync.Mutex
	seen  map[[32]byte]bool
	order []replay // oldest first
}

type replay struct {
	sum   [32]byte
	until time.Time
}

// add returns false if sum was added before. When there are too many, the oldest
// is forgotten. To refuse new ones instead would let one user lock out everybody,
// while a replay is useless without the key that signs the session.
func (r *replays) add(sum [32]byte) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && (now.After(r.order[0].until) || len(r.order) >= maxReplays) {
		delete(r.seen, r.order[0].sum)
		r.order = r.order[1:]
	}
	if r.seen[sum] {
		return false
	}
	if r.seen == nil {
		r.seen = map[[32]byte]bool{}
	}
	r.seen[sum] = true
	r.order = append(r.order, replay{sum, now.Add(remembered)})
	return true
}
