package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"sync"
	"time"

	"berth/fs"
	"berth/sshd/state"
)

// After an upgrade two processes serve for a while: the next one, and the one before for
// the sessions that it has. A server without Redis has the two tell each other what they
// count, so that limits hold for both together. With Redis they are two nodes.

// A tally is what one process tells the other: its own, and what it has heard from a third.
type tally struct {
	Sessions map[string]int      `json:"sessions"` // open ones, by user
	Quotas   map[string]fs.Count `json:"quotas"`   // by host directory
}

// tellEvery is how old what the other process knows may be.
const tellEvery = time.Second

// A besides is what a server without Redis counts, and has heard from processes that serve
// beside it.
type besides struct {
	memory *state.Memory
	quotas *fs.Quotas

	mu    sync.Mutex
	heard map[net.Conn]map[string]int // sessions
}

// tells returns what the process at the other end of to does not know.
func (b *besides) tells(to net.Conn) tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	return tally{plus(b.memory.Sessions(), b.heard, to), b.quotas.Counts(to)}
}

// hears counts what another process counts; nothing more than quotas when it has ended.
func (b *besides) hears(from net.Conn, c tally) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard == nil {
		b.heard = map[net.Conn]map[string]int{}
	}
	b.heard[from] = c.Sessions
	b.memory.SetCluster(state.Cluster{Sessions: plus(map[string]int{}, b.heard, nil)})
	b.quotas.Hear(from, c.Quotas)
}

// plus adds to sum what was heard, except from one.
func plus(sum map[string]int, heard map[net.Conn]map[string]int, except net.Conn) map[string]int {
	for from, sessions := range heard {
		if from == except {
			continue
		}
		for user, n := range sessions {
			sum[user] += n
		}
	}
	return sum
}

// talk tells the process at the other end of conn what is counted here, and counts what it
// tells, until ctx ends or the other process does.
func (b *besides) talk(ctx context.Context, conn net.Conn, read *json.Decoder) {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	telling.Go(func() {
		var last []byte
		for sleep(ctx, tellEvery) {
			now, _ := json.Marshal(b.tells(conn)) // texts, numbers and times
			if bytes.Equal(now, last) {
				continue
			}
			if _, err := conn.Write(append(now, '\n')); err != nil {
				return
			}
			last = now
		}
	})
	for {
		var c tally
		if err := read.Decode(&c); err != nil {
			b.hears(conn, tally{})
			return
		}
		b.hears(conn, c)
	}
}
