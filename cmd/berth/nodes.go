package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"berth/config"
	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/state"
	"berth/sshd/state/redis"
)

// A nodeState is a state.Store with what operators and the next process ask of it.
type nodeState interface {
	state.Store
	SetSettings(state.Settings)
	Penalties() []state.Penalty
	Lift(netip.Prefix) []netip.Prefix
	Counts() (logins, sessions, sources int)
	Snapshot() state.Snapshot
	Restore(state.Snapshot)
}

// nodes is the state of this server, or what several nodes share.
type nodes struct {
	nodeState
	shared *redis.Store // nil: this server is alone
	lost   atomic.Pointer[error]
}

// openState returns the state that cfg describes.
func openState(cfg *config.Config, sink event.Sink) (*nodes, error) {
	if len(cfg.State.Redis.URLs) == 0 {
		return &nodes{nodeState: state.NewMemory(cfg.Admission)}, nil
	}
	name := cfg.Events.Node
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	shared, err := redis.New(name, cfg.State.Redis, cfg.Admission)
	if err != nil {
		return nil, fmt.Errorf("state.redis: %w", err)
	}
	n := &nodes{nodeState: shared, shared: shared}
	n.lost.Store(&state.ErrLost)
	shared.Changed = func(err error) {
		n.lost.Store(&err)
		if err != nil {
			sink.Emit(event.Event{Type: event.StateDown, Detail: err.Error()})
		} else {
			sink.Emit(event.Event{Type: event.StateUp})
		}
	}
	return n, nil
}

// shareTries has the nodes count wrong passwords together.
func (n *nodes) shareTries(shields []*directory.Shield) {
	if n.shared == nil {
		return
	}
	tries := redis.NewTries(n.shared)
	for _, s := range shields {
		s.Tries = tries
	}
}

// run keeps this node in touch with the others until ctx ends.
func (n *nodes) run(ctx context.Context) {
	if n.shared != nil {
		n.shared.Run(ctx)
	}
}

// health returns how many nodes there are, 0 if this server is alone, and why they
// cannot be asked.
func (n *nodes) health() (int, error) {
	if n.shared == nil {
		return 0, nil
	}
	_, count := n.shared.Up()
	if err := *n.lost.Load(); err != nil {
		return count, fmt.Errorf("state.redis: %w", err)
	}
	return count, nil
}
