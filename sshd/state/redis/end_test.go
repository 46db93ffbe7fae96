package redis

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/state"
	"berth/test/peers"
)

// TestEndsWhileItAsks: a node that ends in the middle of a heartbeat does not say that Redis
// is lost.
func TestEndsWhileItAsks(t *testing.T) {
	t.Parallel()
	s := DefaultSettings()
	s.URLs = []string{peers.Redis(t).URL}
	s.Timeout = 10 * time.Second
	store, err := New("node", s, state.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ending := &endingHook{end: end}
	store.client.AddHook(ending)
	var said atomic.Int32
	store.Changed = func(err error) {
		if said.Add(1); err != nil {
			t.Errorf("it is said that Redis does not answer: %v", err)
		}
		ending.armed.Store(true)
	}
	store.Run(ctx)
	if n := said.Load(); n != 1 {
		t.Errorf("said %d times whether Redis answers, want once", n)
	}
}

// An endingHook calls end before the next script, once it is armed.
type endingHook struct {
	end   func()
	armed atomic.Bool
}

func (h *endingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *endingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *endingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.armed.Load() && cmd.Name() == "evalsha" {
			h.end()
		}
		return next(ctx, cmd)
	}
}
