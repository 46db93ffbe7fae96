package state

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Memory is a Store for one node. What it remembers is bounded by its settings,
// whatever comes in.
type Memory struct {
	settings Settings
	random   func(n int) int // from 0 to n-1

	mu        sync.Mutex
	penalties penalties
	startups  map[netip.Prefix]int // by source
	starting  int                  // their sum
	sessions  map[string]int       // by user
	total     int                  // their sum
	tokens    map[string]*token    // by user
}

// NewMemory returns an empty store. s must have passed Check.
func NewMemory(s Settings) *Memory {
	return &Memory{
		settings:  s,
		random:    rand.IntN,
		penalties: newPenalties(s.MaxSources),
		startups:  map[netip.Prefix]int{},
		sessions:  map[string]int{},
		tokens:    map[string]*token{},
	}
}

// Admit implements Store.
func (m *Memory) Admit(remote netip.Addr) (end func(), err error) {
	source, exempt := m.source(remote)
	if within(m.settings.Blocked, remote) {
		return nil, &Refusal{Code: SourceBlocked}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !exempt {
		if err := m.admitSource(source, time.Now()); err != nil {
			return nil, err
		}
	}
	if m.drops(m.starting) {
		return nil, &Refusal{Code: StartupsFull}
	}
	m.starting++
	m.startups[source]++
	return sync.OnceFunc(func() { m.ended(source) }), nil
}

// admitSource needs m.mu.
func (m *Memory) admitSource(source netip.Prefix, now time.Time) error {
	if until := m.penalties.until(source); until.After(now) {
		return &Refusal{Code: SourcePenalized, Until: until}
	}
	if most := m.settings.StartupsPerSource; most > 0 && m.startups[source] >= most {
		return &Refusal{Code: SourceBusy}
	}
	return nil
}

// drops decides whether one more login is too many while there are n.
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

func (m *Memory) ended(source netip.Prefix) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starting--
	less(m.startups, source)
}

// Penalize implements Store.
func (m *Memory) Penalize(remote netip.Addr, k Kind) {
	p := &m.settings.Penalties
	source, exempt := m.source(remote)
	if d := p.of(k); d > 0 && p.Max > 0 && !exempt {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.penalties.add(source, d, p, time.Now())
	}
}

// Acquire implements Store.
func (m *Memory) Acquire(user string, max int) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if max > 0 && m.sessions[user] >= max {
		return nil, &Refusal{Code: UserSessions}
	}
	if most := m.settings.MaxSessions; most > 0 && m.total >= most {
		return nil, &Refusal{Code: TotalSessions}
	}
	m.total++
	m.sessions[user]++
	return sync.OnceFunc(func() { m.released(user) }), nil
}

func (m *Memory) released(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total--
	less(m.sessions, user)
}

// less takes one from counts[k], and forgets k at zero.
func less[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
}

// Counts returns how many logins are under way, how many sessions are open, and
// how many sources something is held against.
func (m *Memory) Counts() (logins, sessions, sources int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.penalties.forget(time.Now())
	return m.starting, m.total, m.penalties.Len()
}

// source returns the network that remote is counted as, and whether it is
// exempt. What has no IP address, such as a unix socket, is exempt too.
func (m *Memory) source(remote netip.Addr) (source netip.Prefix, exempt bool) {
	remote = remote.Unmap().WithZone("")
	bits := m.settings.IPv6Prefix
	if remote.Is4() {
		bits = m.settings.IPv4Prefix
	}
	source, err := remote.Prefix(bits)
	return source, err != nil || !source.IsValid() || within(m.settings.Exempt, remote)
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
