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

// After an upgrade two processes serve for a while: the new one, and the old one for the
// sessions that it still has. Without Redis the two send each other what they count, so
// that limits hold for both together. With Redis they are two nodes.

// A tally is what one process sends to the other: what it counts itself, and what a third
// process has sent to it.
type tally struct {
	Sessions map[string]int      `json:"sessions"` // open ones, by user
	Quotas   map[string]fs.Count `json:"quotas"`   // by host directory
}

// sendEvery is how old the counts that the other process knows may be.
const sendEvery = time.Second

// A besides is what a server without Redis counts, and has received from processes that
// serve beside it.
type besides struct {
	memory *state.Memory
	quotas *fs.Quotas

	mu       sync.Mutex
	received map[net.Conn]map[string]int // sessions
}

// report returns all counts but those that the process at the other end of to
// has sent.
func (b *besides) report(to net.Conn) tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	return tally{plus(b.memory.Sessions(), b.received, to), b.quotas.Counts(to)}
}

// receive adds the counts of another process. An empty c removes the sessions of a
// process that has ended; what it has added to quotas still counts.
func (b *besides) receive(from net.Conn, c tally) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.received == nil {
		b.received = map[net.Conn]map[string]int{}
	}
	b.received[from] = c.Sessions
	b.memory.SetCluster(state.Cluster{Sessions: plus(map[string]int{}, b.received, nil)})
	b.quotas.Receive(from, c.Quotas)
}

// plus adds to sum what was received, except from one.
func plus(sum map[string]int, received map[net.Conn]map[string]int, except net.Conn) map[string]int {
	for from, sessions := range received {
		if from == except {
			continue
		}
		for user, n := range sessions {
			sum[user] += n
		}
	}
	return sum
}

// talk sends what is counted here to the process at the other end of conn, and counts what
// that process sends, until ctx ends or the other process does.
func (b *besides) talk(ctx context.Context, conn net.Conn, read *json.Decoder) {
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	sending.Go(func() {
		var last []byte
		for sleep(ctx, sendEvery) {
			now, _ := json.Marshal(b.report(conn)) // texts, numbers and times
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
			b.receive(conn, tally{})
			return
		}
		b.receive(conn, c)
	}
}
