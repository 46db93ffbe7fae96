package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"berth/directory"
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

// together waits until each node knows of all others, and hears them.
func together(t *testing.T, all ...*node) {
	t.Helper()
	for _, n := range all {
		eventually(t, "nodes know each other", func() bool { _, known := n.Up(); return known == len(all) })
	}
	eventually(t, "nodes hear each other", func() bool { return all[0].listeners(t) == len(all) })
}

// listeners returns how many nodes hear what this one publishes. Each is counted by the
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

// TestNodeDies: the sessions of a node that says nothing more are free after its lease.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	dying := start(t, r.URL, state.DefaultSettings(), nil, func(s *Store) { s.lease = 5 * time.Second }) // while it lives it must not be late by this
	if _, err := dying.Acquire("alice", 1); err != nil {
		t.Fatal(err)
	}
	other := start(t, r.URL, state.DefaultSettings(), nil)
	if _, err := other.Acquire("alice", 1); err == nil {
		t.Fatal("a second session, want one")
	}
	dying.client.Close() // it cannot take itself out
	dying.end()
	eventually(t, "the lease ends", func() bool {
		_, err := other.Acquire("alice", 1)
		return err == nil
	})
}

// TestNodeLeaves: a node that ends in good order leaves nothing.
func TestNodeLeaves(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	if _, err := first.Acquire("alice", 1); err != nil {
		t.Fatal(err)
	}
	first.end()
	if _, err := second.Acquire("alice", 1); err != nil {
		t.Errorf("after the other node has ended: %v", err)
	}
}

// TestRedisForgets: what Redis loses it gets again.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	release, err := first.Acquire("alice", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both nodes are registered again", func() bool { return first.client.ZCard(t.Context(), "{berth}:nodes").Val() == 2 })
	if _, err := second.Acquire("alice", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Acquire("alice", 2); err == nil {
		t.Error("a third session of two: Redis was not told of those that are open")
	}
	release()
	eventually(t, "the session that began before is free", func() bool {
		_, err := second.Acquire("alice", 2)
		return err == nil
	})
}

// TestRedisAway: limits are divided, codes are refused or not; afterwards all counts are right.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for _, codes := range []CodesWhenLost{RefuseCodes, AllowCodes} {
		t.Run(string(codes), func(t *testing.T) {
			r := peers.Redis(t)
			set := func(s *Settings) { s.CodesWhenLost = codes }
			first, second := start(t, r.URL, state.DefaultSettings(), set), start(t, r.URL, state.DefaultSettings(), set)
			together(t, first, second)
			if err := first.UseCode("alice", 10, true); err != nil {
				t.Fatal(err)
			}
			r.Kill()
			var releases []func()
			for i := range 3 {
				release, err := first.Acquire("alice", 4)
				if (err == nil) != (i < 2) { // two of the four are this node's
					t.Errorf("session %d without Redis: %v", i+1, err)
				}
				if err == nil {
					releases = append(releases, release)
				}
			}
			if up, _ := first.Up(); up {
				t.Error("Redis is said to be up")
			}
			err := first.UseCode("alice", 10, true)
			if refusal, _ := errors.AsType[*state.Refusal](err); codes == RefuseCodes && !errors.Is(err, state.ErrLost) || codes == AllowCodes && (refusal == nil || refusal.Code != state.CodeUsed) {
				t.Errorf("a code that was used before Redis went away: %v", err)
			}
			if err := first.UseCode("alice", 11, true); (err == nil) != (codes == AllowCodes) {
				t.Errorf("a new code: %v", err)
			}
			bad := netip.MustParseAddr("203.0.113.7")
			first.Penalize(bad, state.BadProtocol)
			if first.Barred(bad) == nil {
				t.Error("without Redis nothing is held against a source")
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			for _, n := range []*node{first, second} {
				eventually(t, "the node is back", func() bool { up, known := n.Up(); return up && known == 2 })
			}
			eventually(t, "what happened in between is known elsewhere", func() bool { return second.Barred(bad) != nil })
			if _, err := second.Acquire("alice", 2); err == nil {
				t.Error("the two sessions that began without Redis are not counted")
			}
			for _, release := range releases {
				release()
			}
			eventually(t, "they end", func() bool {
				release, err := second.Acquire("alice", 1)
				if err == nil {
					release()
				}
				return err == nil
			})
			first.end()
			first.mu.Lock()
			defer first.mu.Unlock()
			if len(first.changes) != 3 || first.changes[0] != nil || first.changes[1] == nil || first.changes[2] != nil {
				t.Errorf("changes %v, want up, lost with an error, and up", first.changes)
			}
		})
	}
}

// TestRedisHangs: a Redis that says nothing makes no login wait for longer than the
// timeout, and does not change what is counted.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), func(s *Settings) { s.Timeout = 50 * time.Millisecond })
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	release, err := n.Acquire("alice", 1)
	if err != nil {
		t.Fatal(err)
	}
	if up, _ := n.Up(); up {
		t.Error("Redis is said to be up")
	}
	if err := n.UseCode("alice", 10, true); !errors.Is(err, state.ErrLost) {
		t.Errorf("a code while Redis hangs: %v", err)
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	other := start(t, r.URL, state.DefaultSettings(), nil)
	eventually(t, "the session is counted", func() bool {
		release, err := other.Acquire("alice", 1)
		if err == nil {
			release()
		}
		return err != nil
	})
	release()
	eventually(t, "and once", func() bool {
		_, err := other.Acquire("alice", 1)
		return err == nil
	})
}

// TestPing: what is wrong with a Redis is said in words, without a password.
func TestPing(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t, "--requirepass", "secret-of-redis")
	file := filepath.Join(t.TempDir(), "password")
	for password, want := range map[string]string{"": "NOAUTH", "wrong-secret": "WRONGPASS", "secret-of-redis": ""} {
		s := DefaultSettings()
		s.URLs = []string{r.URL}
		if password != "" {
			if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.PasswordFile = file
		}
		err := Ping(s)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("with the password %q: %v, want %q", password, err, want)
		}
	}
	s := DefaultSettings()
	s.URLs = []string{"redis://127.0.0.1:1"}
	if err := Ping(s); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestSettings: each mistake names its key and says what would be right.
func TestSettings(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Settings){
		"":                                   func(*Settings) {},
		"urls: 2 of them":                    func(s *Settings) { s.URLs = []string{"redis://a", "redis://b"} },
		"sentinel and cluster: set only one": func(s *Settings) { s.Cluster, s.Sentinel = true, "m" },
		"urls[0]: must be redis://":          func(s *Settings) { s.URLs = []string{"http://a"} },
		"urls[0]: has a user or a pass":      func(s *Settings) { s.URLs = []string{"redis://u:hidden@a"} },
		"urls: some are rediss://":           func(s *Settings) { s.URLs, s.Cluster = []string{"redis://a", "rediss://b"}, true },
		"urls[0]: a cluster has no database": func(s *Settings) { s.URLs, s.Cluster = []string{"redis://a/2"}, true },
		"urls[1]: database 3, and urls[0] 2": func(s *Settings) { s.URLs, s.Sentinel = []string{"redis://a/2", "redis://b/3"}, "m" },
		"sentinel_user and sentinel_passwor": func(s *Settings) { s.SentinelUser = "berth" },
		"sentinel_password_file: /missing":   func(s *Settings) { s.Sentinel, s.SentinelPasswordFile = "m", "/missing" },
		"password_file: /missing":            func(s *Settings) { s.PasswordFile = "/missing" },
		"ca_file, cert_file and":             func(s *Settings) { s.CAFile = "/missing" },
		"ca_file: /missing":                  func(s *Settings) { s.URLs, s.CAFile = []string{"rediss://a"}, "/missing" },
		"cert_file and key_file":             func(s *Settings) { s.URLs, s.CertFile = []string{"rediss://a"}, "/missing" },
		"prefix: \"{a}\": must be":           func(s *Settings) { s.Prefix = "{a}" },
		"timeout: 1m0s: must be":             func(s *Settings) { s.Timeout = time.Minute },
		"codes_when_lost: \"maybe\"":         func(s *Settings) { s.CodesWhenLost = "maybe" },
	} {
		s := DefaultSettings()
		s.URLs = []string{"redis://localhost"}
		change(&s)
		got := ""
		if err := errors.Join(s.Check()...); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" || strings.Contains(got, "hidden") {
			t.Errorf("got %q, want %q", got, want)
		}
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

// TestLateNode: a node that starts later knows what is held.
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

// TestRights: the rights that docs/ha.md names are enough.
func TestRights(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/ha.md")
	if err != nil {
		t.Fatal(err)
	}
	rights := regexp.MustCompile(`user berth on >PASSWORD (.*)\n`).FindStringSubmatch(string(text))
	if rights == nil {
		t.Fatal("docs/ha.md names no rights")
	}
	args := append([]string{"--user", "default", "off", "--user", "berth", "on", ">secret"}, strings.Fields(rights[1])...)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(s *Settings) { s.User, s.PasswordFile = "berth", file }
	r := peers.Redis(t, args...)
	tries := NewTries(start(t, r.URL, state.DefaultSettings(), set).Store)
	if try(t, tries, locksAt(2, time.Hour), directory.Wrong); try(t, tries, locksAt(2, time.Hour), directory.Wrong) {
		t.Error("a try too many was let through")
	}
	if up, _ := tries.store.Up(); !up {
		t.Error("a command was refused")
	}
	statetest.Run(t, 2, func(t *testing.T, s state.Settings, n int) []state.Store {
		r := peers.Redis(t, args...)
		var stores []state.Store
		for range n {
			stores = append(stores, start(t, r.URL, s, set))
		}
		return stores
	})
}

// TestAsk: all other nodes answer; one that does not is counted.
func TestAsk(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	answering := func(s *Store) { s.Answer = func(text string) string { return s.node + " heard " + text } }
	first := start(t, r.URL, state.DefaultSettings(), nil, answering)
	second := start(t, r.URL, state.DefaultSettings(), nil, answering)
	together(t, first, second)
	answers, err := first.Ask(t.Context(), "", "hello")
	if want := (Answer{second.node, second.node + " heard hello"}); err != nil || len(answers) != 1 || answers[0] != want {
		t.Errorf("answers %v, %v; want %v", answers, err, want)
	}
	third := start(t, r.URL, state.DefaultSettings(), nil)
	together(t, first, second, third)
	for _, tt := range []struct{ node, answered, err string }{
		{"", second.node, "has not answered: " + third.node},
		{second.node, second.node, ""},
		{third.node, "", "has not answered: " + third.node},
		{first.node, "", ""}, // there is no other process of this node
		{"nobody", "", `no node is called "nobody": there are ` + strings.Join(slices.Sorted(slices.Values([]string{first.node, second.node, third.node})), ", ")},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		answers, err := first.Ask(ctx, tt.node, "again")
		cancel()
		var answered []string
		for _, a := range answers {
			answered = append(answered, a.Node)
		}
		if strings.Join(answered, ",") != tt.answered || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("node %q: answers of %v, %v; want of %q, and %q", tt.node, answered, err, tt.answered, tt.err)
		}
	}
	r.Kill()
	eventually(t, "Redis is missed", func() bool { up, _ := first.Up(); return !up })
	if _, err := first.Ask(t.Context(), "", "once more"); !errors.Is(err, state.ErrLost) {
		t.Errorf("without Redis: %v", err)
	}
}

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

// TestFailover: the master dies under load, and a replica takes over. Limits hold again
// then, and what is open is counted.
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
	// One node may have all four when Redis goes away. The replica may not know of them, and
	// gives four to the other node, until the first has told what is open.
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

// TestMasterHangs: the machine of the master is gone without a word, so its connections
// stay open. The nodes hear each other over the replica then.
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

// TestTakesOverLater: what others hold is taken over although Redis refused the first
// question, as it does while it loads its data.
func TestTakesOverLater(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n, by := start(t, r.URL, state.DefaultSettings(), nil), clientOf(t, r)
	do := func(args ...any) {
		t.Helper()
		if err := by.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("ACL", "SETUSER", "default", "-eval", "-evalsha")
	do("CLIENT", "KILL", "TYPE", "pubsub")
	eventually(t, "the node is missed", func() bool { return n.missed() })
	eventually(t, "the node has subscribed again", func() bool {
		counts := by.Info(t.Context(), "commandstats").Val()
		return strings.Contains(counts, "cmdstat_subscribe:") && !strings.Contains(counts, "cmdstat_subscribe:calls=1,")
	})
	for _, key := range []string{"{berth}:penalties", "{berth}:barred"} {
		do("ZADD", key, time.Now().Add(time.Hour).UnixMilli(), "203.0.113.7/32")
	}
	time.Sleep(100 * time.Millisecond) // the first question has been refused
	do("ACL", "SETUSER", "default", "+@all")
	eventually(t, "the node knows", func() bool { return n.Barred(netip.MustParseAddr("203.0.113.7")) != nil })
}

// TestCodeLostInFailover: a code that a replica has not got before it took over is still
// used for the node that has accepted it.
func TestCodeLostInFailover(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	n := start(t, r.URL, state.DefaultSettings(), nil)
	if err := n.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	if err := n.client.Del(t.Context(), "{berth}:code:alice").Err(); err != nil {
		t.Fatal(err)
	}
	err := n.UseCode("alice", 10, true)
	if r, _ := errors.AsType[*state.Refusal](err); r == nil || r.Code != state.CodeUsed {
		t.Errorf("the same code again: %v", err)
	}
	if err := n.UseCode("alice", 11, true); err != nil {
		t.Errorf("the next code: %v", err)
	}
}

// TestCodeAfterWrongOnes: a node remembers a code that the nodes have accepted together,
// even where it has seen too many wrong ones itself: another node saw a right one between them.
func TestCodeAfterWrongOnes(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	first, second := start(t, r.URL, state.DefaultSettings(), nil), start(t, r.URL, state.DefaultSettings(), nil)
	together(t, first, second)
	for range 3 {
		_ = first.UseCode("alice", 9, false)
	}
	if err := second.UseCode("alice", 9, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = first.UseCode("alice", 9, false)
	}
	if err := first.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	if err := first.client.Del(t.Context(), "{berth}:code:alice").Err(); err != nil {
		t.Fatal(err)
	}
	err := first.UseCode("alice", 10, true)
	if r, _ := errors.AsType[*state.Refusal](err); r == nil || r.Code != state.CodeUsed {
		t.Errorf("the same code again: %v", err)
	}
}

// TestStartWithoutRedis: a node that starts while nobody answers says so, once.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	s := DefaultSettings()
	s.URLs = []string{"redis://127.0.0.1:1"}
	store, err := New("node", s, state.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Int32
	store.Changed = func(err error) {
		if err == nil {
			t.Error("it is said to answer")
		}
		lost.Add(1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Run(ctx)
	}()
	eventually(t, "it is said that nobody answers", func() bool { return lost.Load() > 0 })
	if _, err := store.Acquire("alice", 1); err != nil {
		t.Errorf("a session meanwhile: %v", err)
	}
	cancel()
	<-done
	if n := lost.Load(); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// TestCodesAfterLoss: which codes were used is known since Redis has its data. A node that
// starts later knows that, and one whose Redis was emptied notices it at the next code.
func TestCodesAfterLoss(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := peers.Redis(t)
	first := start(t, r.URL, state.DefaultSettings(), nil)
	if err := first.UseCode("alice", 10, true); err != nil {
		t.Fatal(err)
	}
	later := start(t, r.URL, state.DefaultSettings(), nil)
	known, ok := first.Remembers()
	also, alsoOK := later.Remembers()
	if !ok || !alsoOK || known.Before(began.Add(-time.Millisecond)) || also.Sub(known).Abs() > time.Second {
		t.Errorf("the first node knows since %v, %t, the later one since %v, %t", known, ok, also, alsoOK)
	}
	if err := first.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	emptied := time.Now()
	for _, n := range []*node{first, later} {
		eventually(t, "the node knows that the data is new", func() bool {
			if err := n.UseCode("alice", 10, true); err == nil {
				since, _ := n.Remembers()
				if since.Before(emptied.Add(-time.Millisecond)) { // else the caller refuses the code, which is older
					t.Error("a used code was accepted by who knows of older ones")
				}
				return true
			} else if r, _ := errors.AsType[*state.Refusal](err); r != nil { // the other node has used it
				return true
			} else if !errors.Is(err, state.ErrLost) {
				t.Error(err)
			}
			return false
		})
	}
	r.Kill()
	eventually(t, "Redis is missed", func() bool { _, ok := first.Remembers(); return !ok })
}
