package redis

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/state"
	"berth/test/peers"
)

// TestManyNodes has many nodes send their heartbeats for a minute of a clock that jumps, to
// a Redis that only counts. docs/scale.md has the figures.
func TestManyNodes(t *testing.T) {
	for _, tt := range []struct {
		nodes  int
		atMost float64 // commands a second
	}{
		{1, 2},
		{10, 11},
		{100, 22},
		{1000, 110},
	} {
		t.Run(strconv.Itoa(tt.nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &counting{nodes: tt.nodes, calls: map[string]int{}, beats: map[string]time.Time{}}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				for i := range tt.nodes {
					s, err := New(fmt.Sprint("node", i), DefaultSettings(), state.DefaultSettings())
					if err != nil {
						t.Fatal(err)
					}
					s.client.Close()
					s.client = redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}, Dialer: server.dial, MaxRetries: -1, Protocol: 2, DisableIdentity: true, PoolSize: 2})
					running.Go(func() { s.Run(ctx) })
				}
				time.Sleep(time.Minute) // they register, and find out how many they are
				server.reset()
				time.Sleep(time.Minute)
				perSecond, longest := server.rates()
				cancel()
				running.Wait()
				server.conns.Wait()
				t.Logf("%d nodes: %.1f commands a second, %v from one heartbeat of a node to the next", tt.nodes, perSecond, longest)
				if perSecond > tt.atMost || perSecond == 0 {
					t.Errorf("%.1f commands a second, want at most %.1f", perSecond, tt.atMost)
				}
				if longest > lease/2 {
					t.Errorf("%v from one heartbeat to the next, with a lease of %v", longest, lease)
				}
			})
		})
	}
}

// counting is a Redis with so many nodes that remembers nothing and counts commands.
type counting struct {
	nodes int
	conns sync.WaitGroup

	mu      sync.Mutex
	since   time.Time
	calls   map[string]int
	beats   map[string]time.Time // by node: its last heartbeat
	longest time.Duration
}

func (c *counting) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.longest = time.Now(), 0
	clear(c.calls)
}

func (c *counting) rates() (perSecond float64, longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for _, n := range c.calls {
		total += n
	}
	return float64(total) / time.Since(c.since).Seconds(), c.longest
}

func (c *counting) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	c.conns.Go(func() {
		defer server.Close()
		in := bufio.NewReader(server)
		for {
			command, err := readCommand(in)
			if err != nil {
				return
			}
			if _, err := io.WriteString(server, c.answer(command)); err != nil {
				return
			}
		}
	})
	return client, nil
}

// readCommand reads an array of texts (RESP).
func readCommand(in *bufio.Reader) (command []string, err error) {
	number := func() (n int) {
		var line string
		if line, err = in.ReadString('\n'); err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		text := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(in, text)
		}
		if err != nil {
			return nil, err
		}
		command = append(command, string(text[:len(text)-2]))
	}
	return command, err
}

func (c *counting) answer(command []string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.ToLower(command[0])
	c.calls[name]++
	switch {
	case name == "hello": // so that the answers are those of RESP 2
		return "-ERR unknown command\r\n"
	case name == "subscribe":
		return fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(command[1]), command[1])
	case name == "ping": // only those who have subscribed send it
		return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	case name != "evalsha":
		return "+OK\r\n"
	case command[1] == registerScript.Hash():
		return "*2\r\n$1\r\n1\r\n:1\r\n"
	case command[1] == beatScript.Hash():
		node := command[4]
		if last, known := c.beats[node]; known {
			c.longest = max(c.longest, time.Since(last))
		}
		c.beats[node] = time.Now()
		return fmt.Sprintf("*1\r\n:%d\r\n", c.nodes)
	}
	return "*0\r\n"
}

// BenchmarkManyNodes has 1,000 nodes send their heartbeats to a Redis for some time, and
// reports what they cost it.
func BenchmarkManyNodes(b *testing.B) {
	const nodes = 1000
	r := peers.Redis(b)
	s := DefaultSettings()
	s.URLs = []string{r.URL}
	var running sync.WaitGroup
	var up atomic.Int32
	ctx, cancel := context.WithCancel(b.Context())
	defer running.Wait()
	defer cancel()
	for i := range nodes {
		store, err := New(fmt.Sprint("node", i), s, state.DefaultSettings())
		if err != nil {
			b.Fatal(err)
		}
		store.Changed = func(error) { up.Add(1) }
		running.Go(func() { store.Run(ctx) })
	}
	client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(r.URL, "redis://")})
	defer client.Close()
	time.Sleep(30 * time.Second)
	before, began := redisCPU(b, client), time.Now()
	time.Sleep(30 * time.Second)
	b.ReportMetric(100*(redisCPU(b, client)-before)/time.Since(began).Seconds(), "%cpu-redis")
	b.Logf("%d of %d nodes up", up.Load(), nodes)
}

// redisCPU is how many seconds of the processors a Redis has used.
func redisCPU(b *testing.B, client *redis.Client) (used float64) {
	for line := range strings.Lines(client.Info(b.Context(), "cpu").Val()) {
		var n float64
		if _, err := fmt.Sscanf(line, "used_cpu_sys:%f", &n); err == nil {
			used += n
		} else if _, err := fmt.Sscanf(line, "used_cpu_user:%f", &n); err == nil {
			used += n
		}
	}
	return used
}

// BenchmarkLoginAmongNodes is what a login with a limit of sessions costs Redis, which looks
// at a hash of each node.
//
//	go test -run - -bench LoginAmongNodes ./sshd/state/redis
func BenchmarkLoginAmongNodes(b *testing.B) {
	for _, nodes := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(nodes), func(b *testing.B) {
			r := peers.Redis(b)
			store := start(b, r.URL, state.DefaultSettings(), nil)
			client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(r.URL, "redis://")})
			defer client.Close()
			for i := range nodes - 1 {
				if err := registerScript.Run(b.Context(), client, []string{store.key}, fmt.Sprint("node", i), time.Hour.Milliseconds(), "", "u:bob", 1, "total", 100).Err(); err != nil {
					b.Fatal(err)
				}
			}
			before := redisCPU(b, client)
			b.ResetTimer()
			for i := range b.N {
				release, err := store.Acquire(fmt.Sprint("user", i), 5)
				if err != nil {
					b.Fatal(err)
				}
				release()
			}
			b.StopTimer()
			b.ReportMetric((redisCPU(b, client)-before)*1e6/float64(b.N), "redis-cpu-us/login")
		})
	}
}
