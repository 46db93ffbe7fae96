package sshd

import (
	"math/rand/v2"
	"testing"

	"berth/directory"
)

// TestBudget takes and gives back at random for many people. Nobody ever uses
// more than the limit, nor do all together, and in the end nothing is in use.
func TestBudget(t *testing.T) {
	b := &budget{perUser: holding{files: 10, channels: 4, unread: 100, window: 50}, total: holding{files: 25, unread: 250, window: 120}}
	held := map[directory.Identity]*holding{}
	refused := 0
	for range 20_000 {
		u := directory.Identity{Source: "corp", ID: string(rune('a' + rand.IntN(5)))}
		if held[u] == nil {
			held[u] = &holding{}
		}
		d := []holding{{files: 1}, {channels: 1}, {unread: int64(rand.IntN(40))}, {window: int64(rand.IntN(20))}, {files: -1}, {channels: -1}, {unread: -1}, {window: -1}}[rand.IntN(8)]
		after := *held[u]
		after.add(d)
		if after.files < 0 || after.channels < 0 || after.unread < 0 || after.window < 0 {
			continue // nobody gives back more than they hold
		}
		total := b.all
		total.add(d)
		if d.window < 0 && !(after.within(b.perUser) && total.within(b.total)) {
			continue // the channel that fills its window is closed first
		}
		if b.take(u, d) != nil {
			refused++
			continue
		}
		*held[u] = after
		var all holding
		for _, h := range held {
			all.add(*h)
			if !h.within(b.perUser) {
				t.Fatalf("one person holds %+v, of at most %+v", *h, b.perUser)
			}
		}
		if !all.within(b.total) || all != b.all {
			t.Fatalf("all hold %+v, counted as %+v, of at most %+v", all, b.all, b.total)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	for u, h := range held {
		if err := b.take(u, holding{-h.files, -h.channels, -h.unread, -h.window}); err != nil {
			t.Errorf("to give back fails: %v", err)
		}
	}
	if len(b.users) != 0 || b.all != (holding{}) {
		t.Errorf("at the end %d people hold %+v", len(b.users), b.all)
	}
}
