package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Mails remembers for all nodes which mails were sent to people: a key of Redis for each,
// {prefix}:mail:KEY, which is forgotten by itself. It has its own connection, so that a
// command, which is no node, can ask. It is safe for concurrent use.
type Mails struct {
	client redis.UniversalClient
	prefix string
}

// OpenMails returns Mails that are not connected yet. s must have passed Check.
func OpenMails(s Settings) (*Mails, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	quiet()
	return &Mails{redis.NewUniversalClient(o), "{" + s.Prefix + "}:mail:"}, nil
}

// Close ends the connections.
func (m *Mails) Close() error { return m.client.Close() }

// turn is the key of the node that looks for due mails.
const turn = "turn"

// Turn reports whether this node has the turn, and no other one has it within d.
func (m *Mails) Turn(ctx context.Context, d time.Duration) (bool, error) {
	return m.Claim(ctx, d, turn)
}

// EndTurn lets another node have it.
func (m *Mails) EndTurn(ctx context.Context) error { return m.Release(ctx, turn) }

// claimScript records the keys for ARGV[1] milliseconds unless one is there. 0 records
// nothing. It returns 1 if none was there.
var claimScript = redis.NewScript(`
for _, key in ipairs(KEYS) do
	if redis.call('EXISTS', key) == 1 then return 0 end
end
if ARGV[1] ~= '0' then
	for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'PX', ARGV[1]) end
end
return 1
`)

// Claim records all keys for a time unless one of them is there, and reports whether it
// did. With no time it only reports whether it would.
func (m *Mails) Claim(ctx context.Context, keep time.Duration, keys ...string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := claimScript.Run(ctx, m.client, m.named(keys), keep.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("state.redis: %w", err)
	}
	return n == 1, nil
}

// Release forgets keys.
func (m *Mails) Release(ctx context.Context, keys ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.client.Del(ctx, m.named(keys)...).Err(); err != nil {
		return fmt.Errorf("state.redis: %w", err)
	}
	return nil
}

func (m *Mails) named(keys []string) []string {
	named := make([]string, len(keys))
	for i, k := range keys {
		named[i] = m.prefix + k
	}
	return named
}
