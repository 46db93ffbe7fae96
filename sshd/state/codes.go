package state

import "time"

// Codes bounds how often one-time codes may be guessed.
type Codes struct {
	Tries  int           `mapstructure:"tries"`  // wrong codes of one user after which every code is refused
	Window time.Duration `mapstructure:"window"` // how long a wrong code counts
}

const (
	// maxTokens is how many users are remembered before those are dropped whose
	// codes nobody can use again.
	maxTokens = 10_000
	// tokensFor is longer than any code is valid.
	tokensFor = 10 * time.Minute
)

// UseCode implements Store.
func (m *Memory) UseCode(user string, code uint64, right bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, limits := time.Now(), m.settings.Codes
	t := m.tokens[user]
	if t == nil {
		m.sweepTokens(now)
		t = &UsedCodes{}
		m.tokens[user] = t
	}
	if now.Sub(t.Last) >= limits.Window {
		t.Wrong = 0
	}
	switch {
	case t.Wrong >= limits.Tries:
		return &Refusal{Code: CodesShielded, Until: t.Last.Add(limits.Window)}
	case !right:
		t.Wrong++
		t.Last = now
		return &Refusal{Code: CodeWrong}
	case code <= t.Highest:
		return &Refusal{Code: CodeUsed}
	}
	*t = UsedCodes{Highest: code, Last: now}
	return nil
}

// CodeUsed reports whether a code of user, or a later one, is known to be used.
func (m *Memory) CodeUsed(user string, code uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tokens[user]
	return t != nil && code <= t.Highest
}

// AcceptCode uses up a code of user that all nodes together accept, however many wrong
// ones this node has seen.
func (m *Memory) AcceptCode(user string, code uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, highest := time.Now(), code
	if t := m.tokens[user]; t != nil {
		highest = max(highest, t.Highest)
	} else {
		m.sweepTokens(now)
	}
	m.tokens[user] = &UsedCodes{Highest: highest, Last: now}
}

// sweepTokens is called with m.mu held.
func (m *Memory) sweepTokens(now time.Time) {
	if len(m.tokens) < maxTokens {
		return
	}
	keep := max(tokensFor, m.settings.Codes.Window)
	for user, t := range m.tokens {
		if now.Sub(t.Last) > keep {
			delete(m.tokens, user)
		}
	}
}
