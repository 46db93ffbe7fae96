package main

import (
	"encoding/json"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"berth/fs"
	"berth/sshd/state"
)

// TestBesides: three processes, of which the first two end after upgrades, count sessions
// and quotas together. When one ends, its sessions no longer count.
func TestBesides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := state.DefaultSettings()
		settings.MaxSessions = 4
		process := func() *besides { return &besides{memory: state.NewMemory(settings), quotas: &fs.Quotas{}} }
		join := func(old, next *besides) (end func()) {
			a, b := net.Pipe()
			next.receive(b, old.report(a))
			go old.talk(t.Context(), a, json.NewDecoder(a))
			go next.talk(t.Context(), b, json.NewDecoder(b))
			return func() { a.Close() }
		}
		acquire := func(b *besides, user string, want state.Reason) (release func()) {
			t.Helper()
			release, err := b.memory.Acquire(user, 2)
			if r := (*state.Refusal)(nil); errors.As(err, &r) && r.Code != want || (err == nil) != (want == "") {
				t.Errorf("a session of %s: %v, want %q", user, err, want)
			}
			return release
		}
		first, second, third := process(), process(), process()
		ended := acquire(first, "alice", "")
		first.quotas.Receive("a walk", map[string]fs.Count{"/srv": {Used: fs.Amount{Bytes: 100}, At: time.Now()}})
		endFirst := join(first, second)
		acquire(second, "alice", "")
		acquire(second, "alice", state.UserSessions)
		endSecond := join(second, third)
		acquire(third, "alice", state.UserSessions)
		acquire(third, "bob", "")
		time.Sleep(3 * sendEvery)
		acquire(first, "bob", "")
		acquire(first, "alice", state.UserSessions)
		acquire(first, "carol", state.TotalSessions)
		time.Sleep(3 * sendEvery)
		acquire(third, "bob", state.UserSessions)
		ended()
		time.Sleep(3 * sendEvery)
		acquire(third, "alice", "")
		if got := third.quotas.Counts(nil)["/srv"].Used.Bytes; got != 100 {
			t.Errorf("the third process knows of %d bytes, want 100", got)
		}
		endFirst()
		time.Sleep(3 * sendEvery)
		acquire(third, "bob", "")
		endSecond()
		synctest.Wait()
		acquire(third, "carol", "")
	})
}
