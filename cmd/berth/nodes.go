package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"berth/config"
	"berth/directory"
	"berth/fs"
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
	shared *redis.Store           // nil: this server is alone
	tries  *directory.MemoryTries // of this server if it is alone
	beside *besides               // nil if nodes share their state
	lost   atomic.Pointer[error]
}

// nameNode gives one of several nodes the name of its host, unless cfg has a name. Names
// identify the nodes and their events.
func nameNode(cfg *config.Config) (err error) {
	if len(cfg.State.Redis.URLs) > 0 && cfg.Events.Node == "" {
		cfg.Events.Node, err = os.Hostname()
	}
	return err
}

// openState returns the state that cfg describes. nameNode has been called.
func openState(cfg *config.Config, sink event.Sink) (*nodes, error) {
	if len(cfg.State.Redis.URLs) == 0 {
		memory := state.NewMemory(cfg.Admission)
		return &nodes{nodeState: memory, beside: &besides{memory: memory}}, nil
	}
	shared, err := redis.New(cfg.Events.Node, cfg.State.Redis, cfg.Admission)
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

// shareTries has the nodes count wrong passwords together. A server that is alone
// passes its counts on to the next process.
func (n *nodes) shareTries(shields []*directory.Shield) {
	var tries directory.Tries
	if n.shared != nil {
		tries = redis.NewTries(n.shared)
	} else {
		n.tries = directory.NewTries(nil)
		tries = n.tries
	}
	for _, s := range shields {
		s.Tries = tries
	}
}

// memories are what a process passes on to the one that takes over from it.
type memories struct {
	state.Snapshot
	WrongPasswords map[string]directory.WrongPasswords `json:"wrong_passwords"` // by account; none if nodes share them
	Counted        tally                               `json:"counted"`         // nothing if nodes share it
}

func (n *nodes) memories(next net.Conn) memories {
	m := memories{Snapshot: n.Snapshot()}
	if n.shared == nil {
		m.WrongPasswords, m.Counted = n.tries.Snapshot(), n.beside.report(next)
	}
	return m
}

func (n *nodes) remember(before net.Conn, m memories) {
	n.Restore(m.Snapshot)
	if n.shared == nil {
		n.tries.Restore(m.WrongPasswords)
		n.beside.receive(before, m.Counted)
	}
}

// talk is that of besides. Nodes that share their state need none.
func (n *nodes) talk(ctx context.Context, conn net.Conn, read *json.Decoder) {
	if n.shared == nil {
		n.beside.talk(ctx, conn, read)
	} else {
		conn.Close()
	}
}

// codesSince returns from when on it is known which one-time codes were used: since
// Redis has its data, which is mostly long before this server started.
func (n *nodes) codesSince(started time.Time) func() time.Time {
	return func() time.Time {
		if n.shared != nil {
			if since, ok := n.shared.Remembers(); ok {
				return since
			}
		}
		return started
	}
}

// shareQuotas has the nodes count together how full directories are, or this process and
// one that serves beside it.
func (n *nodes) shareQuotas(q *fs.Quotas) {
	if n.shared != nil {
		q.Counter = n.shared.Counter
	} else {
		n.beside.quotas = q
	}
}

// run keeps this node in touch with the others until ctx ends.
func (n *nodes) run(ctx context.Context) {
	if n.shared != nil {
		n.shared.Run(ctx)
	}
}

// name is that of this node; empty if it is alone.
func (n *nodes) name() string {
	if n.shared == nil {
		return ""
	}
	return n.shared.Node()
}

// ask has other nodes do t. The error says which have not answered.
func (n *nodes) ask(ctx context.Context, t admin.Task) (all []admin.Done, err error) {
	if n.shared == nil {
		return nil, nil
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	node := t.Node
	if node == admin.EveryNode {
		node = ""
	}
	answers, err := n.shared.Ask(ctx, node, string(text))
	for _, a := range answers {
		var d admin.Done
		if bad := json.Unmarshal([]byte(a.Text), &d); bad != nil {
			err = errors.Join(err, fmt.Errorf("node %s: %w", a.Node, bad))
			continue
		}
		d.Node = a.Node
		all = append(all, d)
	}
	return all, err
}

// answerWith has perform do what other nodes ask for.
func (n *nodes) answerWith(perform func(admin.Task) admin.Done) {
	if n.shared == nil {
		return
	}
	n.shared.Answer = func(text string) string {
		var t admin.Task
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return "" // which the other node reports
		}
		done, _ := json.Marshal(perform(t)) // texts, numbers and times
		return string(done)
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
