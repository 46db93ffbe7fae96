// Package redis is a state.Store that several nodes share, so that they act as one
// server. Redis or Valkey stores what they must agree on. A state.Memory on each
// node has a copy of the rest, and decides alone while Redis cannot be reached.
//
// Exact in the whole cluster, for one round trip each: sessions of a user and in
// total (Acquire), and one-time codes (UseCode). Known everywhere a moment later,
// without a wait: penalties, and logins under way. The sessions of a node that
// dies no longer count when its lease of 30 s has ended.
//
// No operation takes longer than Settings.Timeout. After one that fails none is tried
// until a heartbeat succeeds; until then limits of sessions are divided by the nodes
// last seen, and one-time codes are refused or not, as Settings say. Start at Store.
package redis

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/state"
)

// A Store is a node's way to what all nodes share. It is safe for concurrent use. Run
// must be running.
type Store struct {
	*state.Memory // this node's, with what is known of others

	// Changed is called with nil when Redis answers, and with the error when it does not:
	// the first time, and at each change.
	Changed func(err error)

	// Answer answers a question that another node has asked with Ask, under the name of
	// the node; nil answers nothing.
	Answer func(text string) string

	settings  Settings
	key       string // of all keys, and of the channel
	admission atomic.Pointer[state.Settings]
	client    redis.UniversalClient
	node      string // the name of this node, for people
	holder    string // this process, as a holder of reserved quota
	lease     time.Duration

	memory atomic.Pointer[memory]

	up            atomic.Bool
	changedCalled atomic.Bool
	nodes         atomic.Int32  // that live, this one included, when they were last counted
	again         chan struct{} // a heartbeat at once
	queue         chan command

	answering sync.WaitGroup

	mu    sync.Mutex
	id    string // of the node in Redis; each registration has another
	dirty bool   // what Redis has of this node may be wrong

	counters map[string]*counter // by host directory: those that Redis has something of this node about
}

// A memory says since when Redis has its data.
type memory struct {
	born  string // by the clock of Redis
	since time.Time
}

// A command is one that nobody waits for.
type command struct {
	script string
	args   []any
	id     string // of the node that a session is taken from
}

const (
	lease    = 30 * time.Second
	maxQueue = 10_000
	maxBatch = 200
	codesFor = 10 * time.Minute // is longer than any code is valid
	patience = 5 * time.Second  // for operations that no login waits for, such as a new connection
)

// New returns a Store of the node with a name, which is not connected yet. s and
// admission must have passed Check.
func New(node string, s Settings, admission state.Settings) (*Store, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	quiet()
	st := &Store{
		Memory: state.NewMemory(admission), Changed: func(error) {}, settings: s, key: keyOf(s.Prefix, o.DB), node: node, holder: node + "/" + rand.Text()[:8], lease: lease,
		client: redis.NewUniversalClient(o), again: make(chan struct{}, 1), queue: make(chan command, maxQueue), dirty: true,
		counters: map[string]*counter{},
	}
	st.admission.Store(&admission)
	st.nodes.Store(1)
	return st, nil
}

// Ping returns why Redis cannot be used, nil if it can: whether it answers, and whether
// this user may run scripts on the keys.
func Ping(s Settings) error {
	o, err := s.options()
	if err != nil {
		return err
	}
	quiet()
	client := redis.NewUniversalClient(o)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := heldScript.Run(ctx, client, []string{keyOf(s.Prefix, o.DB)}).Err(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(s.URLs, ", "), err)
	}
	return nil
}

// quiet keeps the library from writing to standard error what it returns as well.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// SetSettings replaces the settings, as those of a Memory.
func (s *Store) SetSettings(admission state.Settings) {
	s.admission.Store(&admission)
	s.Memory.SetSettings(admission)
}

// Up reports whether Redis answered last time, and how many nodes lived then.
func (s *Store) Up() (up bool, nodes int) { return s.up.Load(), int(s.nodes.Load()) }

// Remembers returns since when Redis knows which one-time codes were used, if it answers.
func (s *Store) Remembers() (since time.Time, ok bool) {
	m := s.memory.Load()
	if m == nil || !s.up.Load() {
		return time.Time{}, false
	}
	return m.since, true
}

// Run connects, and keeps this node alive in Redis until ctx ends. Then it takes the node out.
func (s *Store) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { s.listen(ctx) })
	running.Go(func() { s.send(ctx) })
	for {
		wait := time.After(s.pause())
		s.live(ctx)
		select {
		case <-wait:
		case <-s.again:
		case <-ctx.Done():
			running.Wait()
			s.answering.Wait()
			s.leave()
			s.client.Close()
			return
		}
	}
}

// pause is the time between two heartbeats: a second, and more with many nodes,
// because each heartbeat asks for all of them.
func (s *Store) pause() time.Duration {
	return min(max(time.Second, time.Duration(s.nodes.Load())*50*time.Millisecond), s.lease/3)
}

// live sends one heartbeat, and registers the node if necessary.
func (s *Store) live(ctx context.Context) {
	s.mu.Lock()
	dirty := s.dirty
	s.mu.Unlock()
	if dirty {
		if err := s.register(ctx); err != nil {
			s.lost(err)
			return
		}
	}
	startups, err := json.Marshal(s.Startups())
	if err != nil {
		panic(err) // a map of texts and numbers
	}
	result, err := s.run(ctx, beatScript, s.current(), s.lease.Milliseconds(), startups, s.holder)
	if err != nil {
		s.lost(err)
		return
	}
	found, known := result.([]any)
	if !known || len(found) == 0 { // Redis has lost its data
		s.soil()
		return
	}
	elsewhere := map[netip.Prefix]int{}
	for _, other := range found[1:] {
		counts := map[netip.Prefix]int{}
		_ = json.Unmarshal([]byte(fmt.Sprint(other)), &counts) // of a node of another version: nothing
		for source, n := range counts {
			elsewhere[source] += n
		}
	}
	count, _ := found[0].(int64)
	s.nodes.Store(int32(max(count, 1)))
	s.SetCluster(state.Cluster{Startups: elsewhere})
	if !s.up.Swap(true) {
		s.changedCalled.Store(true)
		s.Changed(nil)
	}
	for _, c := range s.held() {
		c.tidy()
	}
}

// register sends all sessions of this node to Redis, under a new id: commands under
// way for the old id then change nothing.
func (s *Store) register(ctx context.Context) error {
	s.mu.Lock()
	before := s.id
	s.id = s.node + "/" + rand.Text()[:8]
	args := []any{s.id, s.lease.Milliseconds(), before}
	total := 0
	for user, n := range s.Sessions() {
		args = append(args, "u:"+user, n)
		total += n
	}
	args = append(args, "total", total)
	s.dirty = false
	s.mu.Unlock()
	result, err := s.run(ctx, registerScript, args...)
	if err != nil {
		s.soil()
		return err
	}
	if since, ok := result.([]any); ok && len(since) == 2 {
		ms, _ := since[1].(int64)
		s.memory.Store(&memory{fmt.Sprint(since[0]), time.Now().Add(-time.Duration(ms) * time.Millisecond)})
	}
	return nil
}

// leave takes the node out of Redis, if that answers.
func (s *Store) leave() {
	for _, c := range s.held() {
		c.tidy()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.settings.Timeout)
	defer cancel()
	pipe := s.client.Pipeline()
	pipe.ZRem(ctx, s.key+":nodes", s.current())
	pipe.Del(ctx, s.key+":node:"+s.current())
	pipe.ZRem(ctx, s.key+":holders", s.holder)
	_, _ = pipe.Exec(ctx) // else the lease ends
}

func (s *Store) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// soil records that the data of this node in Redis may be wrong, and has the node
// registered again.
func (s *Store) soil() {
	s.mu.Lock()
	s.dirty = true
	s.mu.Unlock()
	if !s.up.Load() {
		return // the next heartbeat comes soon enough
	}
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// lost records that Redis did not answer.
func (s *Store) lost(err error) {
	if errors.Is(err, context.Canceled) {
		return // this node ends
	}
	s.SetCluster(state.Cluster{Share: int(s.nodes.Load())})
	if s.up.Swap(false) || !s.changedCalled.Swap(true) {
		s.Changed(err)
	}
}

// keyOf is how all keys in a database begin, and the name of the channel. Channels of
// Redis reach all databases: nodes of two groups must not get each other's messages.
func keyOf(prefix string, database int) string {
	if database == 0 {
		return "{" + prefix + "}"
	}
	return fmt.Sprintf("{%s}:db%d", prefix, database)
}

// run runs a script that no login waits for.
func (s *Store) run(ctx context.Context, script *redis.Script, args ...any) (any, error) {
	return s.within(ctx, patience, script, args...)
}

func (s *Store) within(ctx context.Context, limit time.Duration, script *redis.Script, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return script.Run(ctx, s.client, []string{s.key}, args...).Result()
}

// ask runs a script that a login waits for. It fails at once while Redis cannot
// be reached.
func (s *Store) ask(script *redis.Script, args ...any) (string, error) {
	if !s.up.Load() {
		return "", state.ErrLost
	}
	result, err := s.within(context.Background(), s.settings.Timeout, script, args...)
	if err != nil {
		s.lost(err)
		return "", fmt.Errorf("%w: %w", state.ErrLost, err)
	}
	return fmt.Sprint(result), nil
}

// refusals are what scripts answer instead of ok.
var refusals = map[string]state.Reason{
	"user": state.UserSessions, "total": state.TotalSessions, "wrong": state.CodeWrong, "used": state.CodeUsed,
}

// Acquire implements state.Store. Redis is asked only if this node alone has not
// reached the limit. If Redis does not decide, this node's share of the limit does.
func (s *Store) Acquire(user string, max int) (release func(), err error) {
	for range 3 {
		here, id, err := s.acquireHere(user, max)
		if err != nil {
			return nil, err
		}
		answer, err := s.ask(acquireScript, user, id, max, s.admission.Load().MaxSessions)
		if answer == "ok" {
			return sync.OnceFunc(func() { s.release(user, here) }), nil
		}
		registered := s.giveBack(here, id)
		if reason, known := refusals[answer]; known {
			return nil, &state.Refusal{Code: reason}
		}
		switch {
		case err == nil && registered: // under another name than the one that was asked for
			continue
		case err == nil:
			s.lost(errForgotten)
		}
		break
	}
	s.soil() // Redis may have counted it or not
	here, _, err := s.acquireHere(user, max)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { s.release(user, here) }), nil
}

// errForgotten says that Redis was emptied. The next heartbeat registers the node again.
var errForgotten = fmt.Errorf("%w: it has lost its data", state.ErrLost)

// acquireHere counts a session on this node, which Redis knows as id.
func (s *Store) acquireHere(user string, max int) (here func(), id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here, err = s.Memory.Acquire(user, max)
	return here, s.id, err
}

// giveBack takes a session back that Redis has not allowed. It reports whether the node
// has been registered again meanwhile, with this session in it.
func (s *Store) giveBack(here func(), id string) (registered bool) {
	s.mu.Lock()
	here()
	registered = s.id != id
	s.mu.Unlock()
	if registered {
		s.soil()
	}
	return registered
}

func (s *Store) release(user string, here func()) {
	s.mu.Lock()
	here()
	id := s.id
	s.mu.Unlock()
	s.later(command{script: releaseScript, args: []any{user, id}, id: id})
}

// UseCode implements state.Store.
func (s *Store) UseCode(user string, code uint64, right bool) error {
	limits := s.admission.Load().Codes
	kept := max(codesFor, limits.Window)
	// If Redis does not know the code, a replica has taken over that had not
	// received it.
	used := s.Memory.CodeUsed(user, code)
	answer, err := "gone", error(nil)
	if m := s.memory.Load(); m != nil {
		answer, err = s.ask(useCodeScript, user, code, right, limits.Tries, limits.Window.Milliseconds(), kept.Milliseconds(), m.born)
	}
	if err == nil && answer == "gone" {
		s.soil()
		err = errForgotten
	}
	if err != nil && s.settings.CodesWhenLost != AllowCodes {
		return err
	}
	if err == nil && answer == "ok" {
		s.Memory.AcceptCode(user, code)
		if used {
			return &state.Refusal{Code: state.CodeUsed}
		}
		return nil
	}
	here := s.Memory.UseCode(user, code, right) // remembered for the time when Redis cannot be reached
	if err != nil {
		return here
	}
	if reason, known := refusals[answer]; known {
		return &state.Refusal{Code: reason}
	}
	left, err := strconv.ParseInt(answer, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: answer %q", state.ErrLost, answer)
	}
	return &state.Refusal{Code: state.CodesShielded, Until: time.Now().Add(time.Duration(left) * time.Millisecond)}
}

// later queues a command for the time when Redis answers. If too many commands
// wait, it is dropped.
func (s *Store) later(c command) {
	select {
	case s.queue <- c:
	default:
		if c.id != "" {
			s.soil()
		}
	}
}

// send sends what is queued, many commands at once.
func (s *Store) send(ctx context.Context) {
	for {
		var batch []command
		select {
		case c := <-s.queue:
			batch = append(batch, c)
		case <-ctx.Done():
			return
		}
		for len(batch) < maxBatch && len(s.queue) > 0 {
			batch = append(batch, <-s.queue)
		}
		for !s.up.Load() {
			select {
			case <-time.After(s.pause()):
			case <-ctx.Done():
				return
			}
		}
		s.sendBatch(ctx, batch)
	}
}

func (s *Store) sendBatch(ctx context.Context, batch []command) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	var answers []*redis.Cmd
	for _, c := range batch {
		answers = append(answers, pipe.Eval(ctx, c.script, []string{s.key}, c.args...))
	}
	_, err := pipe.Exec(ctx)
	if err != nil {
		s.lost(err)
	}
	for i, c := range batch {
		if answer, err := answers[i].Text(); c.id != "" && (err != nil || answer == "gone") && c.id == s.current() {
			s.soil()
		}
	}
}

var _ state.Store = (*Store)(nil)
