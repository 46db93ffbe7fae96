package redis

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"berth/sshd/state"
	"berth/sshd/state/statetest"
	"berth/test/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a Store that runs.
type node struct {
	*Store
	end func() // in good order

	mu      sync.Mutex
	changes []error
}

// start runs a store and waits until it has asked Redis. url may be several with spaces.
func start(t testing.TB, url string, admission state.Settings, change func(*Settings), prepare ...func(*Store)) *node {
	t.Helper()
	s := DefaultSettings()
	s.URLs = strings.Fields(url)
	s.Timeout = 10 * time.Second // the machine that tests is slow, and a node that gives up counts alone
	if change != nil {
		change(&s)
	}
	if err := errors.Join(s.Check()...); err != nil {
		t.Fatal(err)
	}
	store, err := New(fmt.Sprint("node", nodes.Add(1)), s, admission)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range prepare {
		do(store)
	}
	n := &node{Store: store}
	store.Changed = func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changes = append(n.changes, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Run(ctx)
	}()
	n.end = func() { cancel(); <-done }
	t.Cleanup(n.end)
	eventually(t, "the node has asked Redis", func() bool { up, _ := n.Up(); return up })
	return n
}

// missed reports whether the node has noticed that Redis does not answer.
func (n *node) missed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.changes, func(err error) bool { return err != nil })
}

var nodes atomic.Int32

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// together waits until each node knows all others, and gets their messages.
func together(t *testing.T, all ...*node) {
	t.Helper()
	for _, n := range all {
		eventually(t, "nodes know each other", func() bool { _, known := n.Up(); return known == len(all) })
	}
	eventually(t, "nodes hear each other", func() bool { return all[0].listeners(t) == len(all) })
}

// listeners returns how many nodes get the messages of this one. Each is counted by the
// server of a cluster that it has asked.
func (n *node) listeners(t *testing.T) int {
	t.Helper()
	var total atomic.Int64
	count := func(ctx context.Context, server *redis.Client) error {
		found, err := server.PubSubNumSub(ctx, n.key).Result()
		total.Add(found[n.key])
		return err
	}
	var err error
	switch client := n.client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(t.Context(), count)
	case *redis.Client:
		err = count(t.Context(), client)
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(total.Load())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			statetest.Run(t, count, func(t *testing.T, s state.Settings, n int) []state.Store {
				r := peers.Redis(t)
				var stores []state.Store
				for range n {
					stores = append(stores, start(t, r.URL, s, nil))
				}
				return stores
			})
		})
	}
}

// TestLift: what one node lifts is lifted everywhere.
func TestLift(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	together(t, first, second)
	bad := netip.MustParseAddr("203.0.113.7")
	first.Penalize(bad, state.BadProtocol)
	eventually(t, "the other node knows", func() bool { return second.Barred(bad) != nil })
	if lifted := second.Lift(netip.MustParsePrefix("203.0.113.0/24")); len(lifted) != 1 {
		t.Errorf("lifted %v", lifted)
	}
	eventually(t, "it is lifted", func() bool { return first.Barred(bad) == nil })
	third := start(t, r.URL, state.DefaultSettings(), nil)
	if err := third.Barred(bad); err != nil {
		t.Errorf("a node that starts later: %v", err)
	}
}

// TestLateNode: a node that starts later knows the penalties.
func TestLateNode(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first := start(t, r.URL, state.DefaultSettings(), nil)
	bad := netip.MustParseAddr("203.0.113.7")
	first.Penalize(bad, state.BadProtocol)
	eventually(t, "Redis knows", func() bool { return first.client.ZCard(t.Context(), "{berth}:barred").Val() == 1 })
	second := start(t, r.URL, state.DefaultSettings(), nil)
	eventually(t, "the new node knows", func() bool { return second.Barred(bad) != nil })
}

// TestManyRegistrations: sessions that begin and end while nodes are registered again
// and again are counted once.
func TestManyRegistrations(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	stop := make(chan struct{})
	var wg, soiling sync.WaitGroup
	soiling.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				n.soil()
			}
		}
	})
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if release, err := n.Acquire(fmt.Sprint("u", i), 3); err == nil {
					release()
				} else if _, ok := errors.AsType[*state.Refusal](err); !ok {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	soiling.Wait()
	eventually(t, "nothing is counted in the end", func() bool {
		return n.client.HGet(t.Context(), "{berth}:node:"+n.current(), "total").Val() == "0" && n.client.HLen(t.Context(), "{berth}:node:"+n.current()).Val() == 1
	})
}
