package state

import (
	"net/netip"
	"time"
)

// A Snapshot is what a Memory passes on to that of another process: the penalties of
// sources, and the used one-time codes. Logins and sessions are those of their
// process, which says how many it still has: Cluster.Sessions.
type Snapshot struct {
	Penalties []HeldPenalty        `json:"penalties"`
	Codes     map[string]UsedCodes `json:"codes"` // by user
}

// A HeldPenalty is a penalty of a source until a time.
type HeldPenalty struct {
	Source  netip.Prefix `json:"source"`
	Until   time.Time    `json:"until"`
	KeptOut bool         `json:"kept_out"` // it has reached the minimum
}

// UsedCodes are the one-time codes of a user.
type UsedCodes struct {
	Highest uint64    `json:"highest"` // of those that were right
	Wrong   int       `json:"wrong"`
	Last    time.Time `json:"last"` // right or wrong
}

// Snapshot returns what m remembers now.
func (m *Memory) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.penalties.forget(time.Now())
	s := Snapshot{Codes: map[string]UsedCodes{}}
	for _, p := range m.penalties.heap {
		s.Penalties = append(s.Penalties, p.HeldPenalty)
	}
	for user, t := range m.tokens {
		s.Codes[user] = *t
	}
	return s
}

// Restore adds s to an empty m. Penalties that the settings of m do not have, because
// penalties are off or the network is exempt, are left out.
func (m *Memory) Restore(s Snapshot) {
	for _, p := range s.Penalties {
		m.Hold(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for user, c := range s.Codes {
		m.tokens[user] = &c
	}
}

// Hold gives the source of p this penalty, unless it has a larger one. A penalty that
// the settings do not have, because penalties are off or the network is exempt, is
// left out.
func (m *Memory) Hold(p HeldPenalty) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settings.Penalties.Max > 0 && !within(m.settings.Exempt, p.Source.Addr()) {
		m.penalties.hold(p, m.settings.MaxSources, time.Now())
	}
}
