package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/state"
)

// A news is a message between nodes.
type news struct {
	Source netip.Prefix  `json:"source"`
	Left   int64         `json:"left"` // milliseconds
	Bars   bool          `json:"bars"`
	Lift   *netip.Prefix `json:"lift"`
	Ask    *question     `json:"ask"`
	Settle string        `json:"settle"` // a host directory
}

// listen does what the messages of other nodes say, until ctx ends.
func (s *Store) listen(ctx context.Context) {
	for ctx.Err() == nil {
		s.listenOnce(ctx)
		select {
		case <-time.After(s.pause()):
		case <-ctx.Done():
		}
	}
}

// listenOnce listens over one connection until that fails. A server that hangs or whose
// machine is gone does not close it. So the server is asked for an answer if nothing
// arrives on the connection.
func (s *Store) listenOnce(ctx context.Context) {
	channel := s.client.Subscribe(ctx, s.key)
	defer channel.Close()
	defer context.AfterFunc(ctx, func() { channel.Close() })()
	asked := false
	for {
		wait := 20 * s.pause() // so that questions are few beside heartbeats
		if asked {
			wait = patience
		}
		message, err := channel.ReceiveTimeout(ctx, wait)
		if failed, ok := errors.AsType[net.Error](err); ok && failed.Timeout() && !asked && channel.Ping(ctx) == nil {
			asked = true
			continue
		}
		if err != nil {
			return
		}
		asked = false
		switch m := message.(type) {
		case *redis.Subscription:
			if err := s.takeOver(ctx); err != nil {
				s.lost(err)
				return
			}
		case *redis.Message:
			s.hear(ctx, m.Payload)
		}
	}
}

// takeOver copies the penalties in Redis to this node.
func (s *Store) takeOver(ctx context.Context) error {
	result, err := s.run(ctx, heldScript, "")
	if err != nil {
		return err
	}
	all, _ := result.([]any)
	for _, one := range all {
		s.hear(ctx, fmt.Sprint(one))
	}
	return nil
}

func (s *Store) hear(ctx context.Context, text string) {
	var n news
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return // from a node of another version
	}
	switch {
	case n.Lift != nil:
		s.Memory.Lift(*n.Lift)
	case n.Ask != nil:
		s.answering.Go(func() { s.answer(ctx, *n.Ask) })
	case n.Settle != "":
		s.mu.Lock()
		c := s.counters[n.Settle]
		s.mu.Unlock()
		if c != nil {
			c.tidy()
		}
	default:
		s.Hold(state.HeldPenalty{Source: n.Source, Until: time.Now().Add(time.Duration(n.Left) * time.Millisecond), KeptOut: n.Bars})
	}
}

// Penalize implements state.Store: at once here, and a moment later on all nodes.
func (s *Store) Penalize(remote netip.Addr, k state.Kind) {
	s.Memory.Penalize(remote, k)
	a := s.admission.Load()
	if source, d := a.Penalty(remote, k); d > 0 {
		s.later(command{script: penalizeScript, args: []any{
			source.String(), d.Milliseconds(), a.Penalties.Min.Milliseconds(), a.Penalties.Max.Milliseconds(), a.MaxSources,
		}})
	}
}

// Lift is that of a Memory, on all nodes.
func (s *Store) Lift(network netip.Prefix) []netip.Prefix {
	lifted := s.Memory.Lift(network)
	args := []any{network.String()}
	for _, source := range lifted {
		args = append(args, source.String())
	}
	s.later(command{script: liftScript, args: args})
	return lifted
}
