package redis

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/peers"
)

// TestMails: of many nodes one has the turn, and one claims a mail.
func TestMails(t *testing.T) {
	r := peers.Redis(t)
	var nodes []*Mails
	for range 5 {
		s := DefaultSettings()
		s.URLs = []string{r.URL}
		m, err := OpenMails(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		nodes = append(nodes, m)
	}
	once := func(what string, claim func(*Mails) (bool, error)) {
		t.Helper()
		var won atomic.Int32
		var wg sync.WaitGroup
		for _, m := range nodes {
			for range 20 {
				wg.Go(func() {
					got, err := claim(m)
					if err != nil {
						t.Error(err)
					}
					if got {
						won.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("%s: %d, want 1", what, n)
		}
	}
	ctx := t.Context()
	turn := func(m *Mails) (bool, error) { return m.Turn(ctx, time.Hour) }
	once("turns", turn)
	if err := nodes[0].EndTurn(ctx); err != nil {
		t.Error(err)
	}
	once("turns after one ended", turn)
	claim := func(m *Mails) (bool, error) { return m.Claim(ctx, time.Hour, "alice/7", "alice/today") }
	if open, err := nodes[0].Claim(ctx, 0, "alice/7", "alice/today"); !open || err != nil {
		t.Errorf("before: %v, %v, want that it can be claimed", open, err)
	}
	once("claims", claim)
	for _, keys := range [][]string{{"alice/3", "alice/today"}, {"alice/7", "alice/tomorrow"}} {
		if claimed, err := nodes[1].Claim(ctx, time.Hour, keys...); claimed || err != nil {
			t.Errorf("%s: %v, %v, want none of it", keys, claimed, err)
		}
	}
	if claimed, err := nodes[1].Claim(ctx, time.Hour, "alice/3", "alice/tomorrow"); !claimed || err != nil {
		t.Errorf("what an earlier claim was refused for is claimed: %v, %v", claimed, err)
	}
	if err := nodes[2].Release(ctx, "alice/7", "alice/today"); err != nil {
		t.Error(err)
	}
	once("claims after a release", claim)
	if claimed, err := nodes[3].Claim(ctx, time.Millisecond, "short"); !claimed || err != nil {
		t.Errorf("short: %v, %v", claimed, err)
	}
	eventually(t, "a claim is over", func() bool {
		open, err := nodes[3].Claim(ctx, 0, "short")
		if err != nil {
			t.Fatal(err)
		}
		return open
	})

	r.Kill()
	if claimed, err := claim(nodes[0]); claimed || err == nil {
		t.Errorf("without Redis: %v, %v, want an error", claimed, err)
	}
	if err := nodes[0].Release(ctx, "x"); err == nil {
		t.Error("without Redis a release is no error")
	}
}
