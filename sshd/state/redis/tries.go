package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"berth/directory"
)

// Tries counts the wrong passwords of all nodes for the shield of a directory. While
// Redis cannot be reached, each node allows its share of the tries that lock an
// account. It is safe for concurrent use.
type Tries struct {
	store *Store
	here  *directory.MemoryTries // the tries of this node
}

// NewTries returns the Tries of the nodes that share s.
func NewTries(s *Store) *Tries {
	return &Tries{s, directory.NewTries(func() int { return int(s.nodes.Load()) })}
}

const (
	runsFor  = time.Minute          // is longer than a directory takes to answer; a node that died has no try under way for longer
	triesFor = 24 * time.Hour       // is longer than any directory counts
	many     = 1 << 30              // tries that lock nothing
	least    = 5 * time.Millisecond // between two questions whether other tries have ended
)

// Begin implements directory.Tries. It first asks Redis whether there are other tries.
// Usually there are none, and lockout need not be called.
func (t *Tries) Begin(ctx context.Context, account string, lockout func() (threshold int, window time.Duration)) (end func(directory.TryResult), err error) {
	id := rand.Text()
	limit, threshold, window := 1, 0, triesFor
	for pause, known := least, false; ; {
		answer, err := t.store.ask(tryScript, account, id, limit, window.Milliseconds(), runsFor.Milliseconds())
		if err != nil {
			ended, err := t.here.Begin(ctx, account, lockout)
			if err != nil {
				return nil, err
			}
			return t.telling(account, id, ended), nil
		}
		if answer == "ok" {
			return t.telling(account, id, t.here.Allowed(account)), nil
		}
		if !known {
			known = true
			if threshold, window = lockout(); threshold <= 0 {
				limit = many
			} else {
				limit = directory.Limit(threshold, 1)
			}
			continue
		}
		if left, err := strconv.ParseInt(answer, 10, 64); err == nil {
			return nil, directory.Shielded(threshold, time.Now().Add(time.Duration(left)*time.Millisecond))
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 20*least)
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for other tries of this account: %w", context.Cause(ctx))
		}
	}
}

// telling returns a function that calls ended and then reports the result of the try to
// Redis. Nobody waits for the report: until then the try counts as one that may be wrong.
func (t *Tries) telling(account, id string, ended func(directory.TryResult)) (end func(directory.TryResult)) {
	return func(r directory.TryResult) {
		ended(r)
		result := map[directory.TryResult]string{directory.Wrong: "wrong", directory.Right: "right"}[r]
		t.store.later(command{script: triedScript, args: []any{account, id, result, triesFor.Milliseconds()}})
	}
}
