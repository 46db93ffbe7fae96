package directory

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Tries counts wrong passwords by account, for a Shield. It is safe for concurrent use.
type Tries interface {
	// Begin counts one more try of the account's password as under way, until end is
	// called with its result. If this try could lock the account, Begin waits, or
	// refuses with ErrShielded. Tries under way count as wrong until they have ended.
	// lockout returns how many wrong passwords lock the account, 0 for never, and how
	// long one counts. It is called only if there is another try that is wrong or
	// under way: without one, a try is always allowed.
	Begin(ctx context.Context, account string, lockout func() (threshold int, window time.Duration)) (end func(TryResult), err error)
}

// A TryResult is how a try ended.
type TryResult int

// The results there are.
const (
	Unknown TryResult = iota // the directory did not compare the password
	Wrong                    // the password is wrong
	Right                    // the password is right, which resets the count
)

// Shielded is the refusal of an account that so many wrong passwords lock.
func Shielded(threshold int, until time.Time) error {
	return &Refusal{Why: ErrShielded, Detail: fmt.Sprintf("the account locks at %d wrong passwords; asked again at %s", threshold, until.UTC().Format(time.RFC3339))}
}

// MemoryTries is the Tries of one process.
type MemoryTries struct {
	share func() int

	mu       sync.Mutex
	accounts map[string]*attempts
}

// attempts are the wrong passwords of one account.
type attempts struct {
	wrong   int
	last    time.Time     // of the last wrong one
	running int           // tries under way
	ended   chan struct{} // closed when one of these tries ends
}

// NewTries returns an empty MemoryTries. share returns the number of nodes that count
// for themselves: the threshold is divided by it. nil means one node.
func NewTries(share func() int) *MemoryTries {
	if share == nil {
		share = func() int { return 1 }
	}
	return &MemoryTries{share: share, accounts: map[string]*attempts{}}
}

// of is called with t.mu held.
func (t *MemoryTries) of(account string) *attempts {
	a := t.accounts[account]
	if a == nil {
		a = &attempts{ended: make(chan struct{})}
		t.accounts[account] = a
	}
	return a
}

// Begin implements Tries.
func (t *MemoryTries) Begin(ctx context.Context, account string, lockout func() (threshold int, window time.Duration)) (end func(TryResult), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(account)
	for a.wrong+a.running > 0 {
		ended := a.ended
		var threshold int
		var window time.Duration
		t.unlocked(func() { threshold, window = lockout() })
		if a.wrong > 0 && time.Since(a.last) > window {
			a.wrong = 0
		}
		if threshold <= 0 {
			break
		}
		limit := Limit(threshold, t.share())
		if a.wrong+a.running < limit {
			break
		}
		if a.wrong >= limit {
			return nil, Shielded(threshold, a.last.Add(window))
		}
		t.unlocked(func() {
			select {
			case <-ended:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for other tries of this account: %w", context.Cause(ctx))
		}
	}
	return t.run(a), nil
}

// Allowed is Begin for a try that somebody else has allowed.
func (t *MemoryTries) Allowed(account string) (end func(TryResult)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run(t.of(account))
}

// run counts a try of a as under way until end is called. It is called with
// t.mu held.
func (t *MemoryTries) run(a *attempts) (end func(TryResult)) {
	a.running++
	return func(r TryResult) {
		t.mu.Lock()
		defer t.mu.Unlock()
		a.running--
		switch r {
		case Right:
			a.wrong = 0
		case Wrong:
			a.wrong++
			a.last = time.Now()
		}
		close(a.ended)
		a.ended = make(chan struct{})
	}
}

// WrongPasswords are those of one account that count.
type WrongPasswords struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
}

// Snapshot returns the wrong passwords of all accounts that have some, for another
// process. Tries under way are not in it.
func (t *MemoryTries) Snapshot() map[string]WrongPasswords {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]WrongPasswords{}
	for account, a := range t.accounts {
		if a.wrong > 0 {
			all[account] = WrongPasswords{a.wrong, a.last}
		}
	}
	return all
}

// Restore adds wrong passwords that another process has counted.
func (t *MemoryTries) Restore(all map[string]WrongPasswords) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for account, w := range all {
		a := t.of(account)
		a.wrong, a.last = a.wrong+w.Count, w.Last
	}
}

// Limit is how many tries may be wrong or under way at once, if threshold wrong
// passwords lock an account and so many nodes count for themselves. It is at least
// one.
func Limit(threshold, nodes int) int { return max((threshold-1)/nodes, 1) }

// unlocked releases the lock that the caller holds while do runs.
func (t *MemoryTries) unlocked(do func()) {
	t.mu.Unlock()
	defer t.mu.Lock()
	do()
}
