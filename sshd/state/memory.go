package state

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Memory is a Store for one node. Its settings bound the memory that it uses,
// whatever clients do.
type Memory struct {
	random func(n int) int // from 0 to n-1

	mu        sync.Mutex
	settings  Settings
	penalties penalties
	startups  map[netip.Prefix]int  // by source
	starting  int                   // their sum
	sessions  map[string]int        // by user
	total     int                   // their sum
	tokens    map[string]*UsedCodes // by user
	cluster   Cluster
	elsewhere int // the sum of cluster.Sessions
}

// A Cluster is what a Memory knows of the other nodes of a store that several share.
type Cluster struct {
	Startups map[netip.Prefix]int // logins under way on the other nodes, by source
	Sessions map[string]int       // open beside those of this node, by user
	Share    int                  // the nodes that limits of sessions are divided by; 0: they are not
}

// SetCluster replaces what is known of other nodes. The caller no longer changes c.
func (m *Memory) SetCluster(c Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster, m.elsewhere = c, 0
	for _, n := range c.Sessions {
		m.elsewhere += n
	}
}

// Startups returns the logins under way on this node, by source.
func (m *Memory) Startups() map[netip.Prefix]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.startups)
}

// Sessions returns how many sessions each user has open on this node.
func (m *Memory) Sessions() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.sessions)
}

// NewMemory returns an empty store. s must have passed Check.
func NewMemory(s Settings) *Memory {
	return &Memory{
		settings:  s,
		random:    rand.IntN,
		penalties: penalties{of: map[netip.Prefix]*penalty{}},
		startups:  map[netip.Prefix]int{},
		sessions:  map[string]int{},
		tokens:    map[string]*UsedCodes{},
	}
}

// SetSettings replaces the settings, which must have passed Check. Sessions and
// logins stay. A penalty of a network that is exempt now ends; others stay as
// they are until they are over, as do those of sources that are counted by
// other prefixes now.
func (m *Memory) SetSettings(s Settings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings = s
	m.penalties.lift(func(source netip.Prefix) bool {
		return s.Penalties.Max == 0 || within(s.Exempt, source.Addr())
	})
	for m.penalties.Len() > s.MaxSources {
		m.penalties.drop()
	}
}

// Penalties returns the sources that have penalties, those that are kept out longest
// first.
func (m *Memory) Penalties() []Penalty {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.penalties.forget(now)
	all := make([]Penalty, 0, m.penalties.Len())
	for _, p := range m.penalties.heap {
		all = append(all, Penalty{Source: p.Source, Left: p.Until.Sub(now), KeptOut: p.KeptOut})
	}
	slices.SortFunc(all, func(a, b Penalty) int {
		return cmp.Or(cmp.Compare(b.Left, a.Left), a.Source.Compare(b.Source))
	})
	return all
}

// Lift removes the penalties of the sources of which networks holds an address, and
// returns the sources. The prefix of one address is enough for the source it belongs to.
func (m *Memory) Lift(networks netip.Prefix) []netip.Prefix {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.penalties.lift(networks.Overlaps)
}

// Admit implements Store.
func (m *Memory) Admit(remote netip.Addr) (end func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	source, exempt := m.settings.source(remote)
	if within(m.settings.Blocked, remote) {
		return nil, &Refusal{Code: SourceBlocked}
	}
	if err := m.barred(source, exempt); err != nil {
		return nil, err
	}
	if most := m.settings.StartupsPerSource; !exempt && most > 0 && m.startups[source]+m.cluster.Startups[source] >= most {
		return nil, &Refusal{Code: SourceBusy}
	}
	elsewhere := 0
	for _, n := range m.cluster.Startups {
		elsewhere += n
	}
	if m.drops(m.starting + elsewhere) {
		return nil, &Refusal{Code: StartupsFull}
	}
	m.starting++
	m.startups[source]++
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.starting--
		less(m.startups, source)
	}), nil
}

// Barred implements Store.
func (m *Memory) Barred(remote netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.barred(m.settings.source(remote))
}

// barred is called with m.mu held.
func (m *Memory) barred(source netip.Prefix, exempt bool) error {
	if until := m.penalties.until(source); !exempt && until.After(time.Now()) {
		return &Refusal{Code: SourcePenalized, Until: until}
	}
	return nil
}

// drops decides whether one more login is refused while there are n.
func (m *Memory) drops(n int) bool {
	s := m.settings.MaxStartups
	switch {
	case s.Full == 0 || n < s.Begin:
		return false
	case n >= s.Full:
		return true
	}
	chance := s.Rate + (100-s.Rate)*(n-s.Begin)/(s.Full-s.Begin)
	return m.random(100) < chance
}

// Penalize implements Store.
func (m *Memory) Penalize(remote netip.Addr, k Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if source, d := m.settings.Penalty(remote, k); d > 0 {
		m.penalties.add(source, d, &m.settings, time.Now())
	}
}

// Acquire implements Store.
func (m *Memory) Acquire(user string, max int) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if max > 0 && m.sessions[user]+m.cluster.Sessions[user] >= m.cluster.share(max) {
		return nil, &Refusal{Code: UserSessions}
	}
	if most := m.settings.MaxSessions; most > 0 && m.total+m.elsewhere >= m.cluster.share(most) {
		return nil, &Refusal{Code: TotalSessions}
	}
	m.total++
	m.sessions[user]++
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.total--
		less(m.sessions, user)
	}), nil
}

// share is what one node may use of a limit, at least one.
func (c *Cluster) share(limit int) int { return max(limit/max(c.Share, 1), 1) }

// less takes one from counts[k], and forgets k at zero.
func less[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
}

// Counts returns how many logins are under way, how many sessions are open, and
// how many sources have penalties.
func (m *Memory) Counts() (logins, sessions, sources int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.penalties.forget(time.Now())
	return m.starting, m.total, m.penalties.Len()
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
