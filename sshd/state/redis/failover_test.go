package redis

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/state"
	"berth/test/peers"
)

// replicated starts a master with a replica, a sentinel that watches both, and two nodes.
func replicated(t *testing.T) (master, replica, sentinel *peers.RedisServer, first, second *node) {
	t.Helper()
	master = peers.Redis(t)
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(master.URL, "redis://"))
	replica = peers.Redis(t, "--replicaof", host, port)
	copied := clientOf(t, replica)
	eventually(t, "the replica has all", func() bool {
		return strings.Contains(copied.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	sentinel = master.Sentinel(t)
	asked := clientOf(t, sentinel)
	eventually(t, "the sentinel knows the replica", func() bool {
		info, err := asked.Do(t.Context(), "SENTINEL", "REPLICAS", "berth").Slice()
		return err == nil && len(info) == 1 && strings.Contains(fmt.Sprint(info), "master-link-status:ok")
	})
	set := func(s *Settings) { s.Sentinel = "berth" }
	first, second = start(t, sentinel.URL, state.DefaultSettings(), set), start(t, sentinel.URL, state.DefaultSettings(), set)
	together(t, first, second)
	return master, replica, sentinel, first, second
}

// clientOf returns a client of a server that is not a node.
func clientOf(t *testing.T, r *peers.RedisServer) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(r.URL, "redis://")})
	t.Cleanup(func() { c.Close() })
	return c
}

// TestFailover: the master dies under load, and a replica takes over. After that,
// limits apply again, and open sessions are counted.
func TestFailover(t *testing.T) {
	t.Parallel()
	master, replica, sentinel, first, second := replicated(t)
	stays, err := first.Acquire("alice", 4)
	if err != nil {
		t.Fatal(err)
	}
	// load has bob begin and end sessions on both nodes until end is called, which returns
	// how many he had at most.
	load := func() (end func() int32) {
		var open, most atomic.Int32
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			n := []*node{first, second}[i%2]
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if release, err := n.Acquire("bob", 4); err == nil {
						most.Store(max(most.Load(), open.Add(1)))
						time.Sleep(time.Millisecond) // a session, so that the processors have time for Redis
						open.Add(-1)
						release()
					}
				}
			})
		}
		return func() int32 { close(stop); wg.Wait(); return most.Load() }
	}
	end := load()
	master.Kill()
	for _, n := range []*node{first, second} { // one that had not missed it would do so in the next load
		eventually(t, "the node misses it", func() bool { return n.missed() })
		eventually(t, "the replica has taken over", func() bool { up, known := n.Up(); return up && known == 2 })
	}
	// One node may have all four sessions when Redis fails. The replica may not know them,
	// and allows four to the other node, until the first node has registered its sessions.
	if most := end(); most > 4+4 {
		t.Errorf("bob had %d sessions meanwhile, want at most 8", most)
	}
	end = load()
	eventually(t, "both nodes count again", func() bool {
		up, _ := first.Up()
		also, _ := second.Up()
		return up && also
	})
	if most := end(); most > 4 {
		t.Errorf("bob had %d sessions afterwards, want at most 4", most)
	}
	now := fmt.Sprint(clientOf(t, sentinel).Do(t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "berth").Val())
	if _, port, _ := net.SplitHostPort(strings.TrimPrefix(replica.URL, "redis://")); !strings.Contains(now, port) {
		t.Error("the sentinel has another master than the replica")
	}
	if _, err := second.Acquire("alice", 1); err == nil {
		t.Error("the session that is open is not counted")
	}
	stays()
	eventually(t, "nobody has a session", func() bool {
		for _, user := range []string{"alice", "bob"} {
			release, err := second.Acquire(user, 1)
			if err != nil {
				return false
			}
			release()
		}
		return true
	})
}

// TestMasterHangs: the machine of the master disappears without closing its
// connections. The nodes then exchange messages over the replica.
func TestMasterHangs(t *testing.T) {
	t.Parallel()
	master, _, _, first, second := replicated(t)
	if err := master.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Resume() })
	for _, n := range []*node{first, second} {
		eventually(t, "the node misses it", func() bool { return n.missed() })
	}
	together(t, first, second)
	bad := netip.MustParseAddr("203.0.113.7")
	first.Penalize(bad, state.BadProtocol)
	eventually(t, "the other node knows", func() bool { return second.Barred(bad) != nil })
}
