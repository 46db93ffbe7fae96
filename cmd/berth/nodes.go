package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"berth/config"
	"berth/directory"
	"berth/sshd/admin"
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

// nodesWait is how long other nodes may take to answer an operator.
const nodesWait = 2 * time.Second

// ask asks all other nodes. The error says how many have not answered.
func (n *nodes) ask(ctx context.Context, q nodeQuestion) (all []admin.Session, err error) {
	if n.shared == nil {
		return nil, nil
	}
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, nodesWait)
	defer cancel()
	answers, err := n.shared.Ask(ctx, "", string(text))
	for _, a := range answers {
		var sessions []admin.Session
		if bad := json.Unmarshal([]byte(a.Text), &sessions); bad != nil {
			err = errors.Join(err, fmt.Errorf("node %s: %w", a.Node, bad))
		}
		for _, s := range sessions {
			s.Node = a.Node
			all = append(all, s)
		}
	}
	return all, err
}

// answerWith has answer answer what other nodes ask.
func (n *nodes) answerWith(answer func(nodeQuestion) []admin.Session) {
	if n.shared == nil {
		return
	}
	n.shared.Answer = func(text string) string {
		var q nodeQuestion
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			return "" // which the other node reports
		}
		sessions, _ := json.Marshal(answer(q)) // texts, numbers and times
		return string(sessions)
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
