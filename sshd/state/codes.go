package state

import "time"

// Codes bounds how often one-time codes may be guessed.
type Codes struct {
	Tries  int           `mapstructure:"tries"`  // wrong codes of one user after which none is looked at
	Window time.Duration `mapstructure:"window"` // how long a wrong code counts
}

// A token is what is remembered of a user's one-time codes.
type token struct {
	used  uint64 // the highest code so far
	wrong int
	last  time.Time // of the last code, right or wrong
}

const (
	// maxTokens is how many users are remembered before those are dropped whose
	// codes nobody can use again.
	maxTokens = 10_000
	// tokensFor is longer than any code is good for.
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
		t = &token{}
		m.tokens[user] = t
	}
	if now.Sub(t.last) >= limits.Window {
		t.wrong = 0
	}
	switch {
	case t.wrong >= limits.Tries:
		return &Refusal{Code: CodesShielded, Until: t.last.Add(limits.Window)}
	case !right:
		t.wrong++
		t.last = now
		return &Refusal{Code: CodeWrong}
	case code <= t.used:
		return &Refusal{Code: CodeUsed}
	}
	*t = token{used: code, last: now}
	return nil
}

// sweepTokens needs m.mu.
func (m *Memory) sweepTokens(now time.Time) {
	if len(m.tokens) < maxTokens {
		return
	}
	keep := max(tokensFor, m.settings.Codes.Window)
	for user, t := range m.tokens {
		if now.Sub(t.last) > keep {
			delete(m.tokens, user)
		}
	}
}
