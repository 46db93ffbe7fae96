package redis

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/sshd/state"
)

// A question is one that a node asks others.
type question struct {
	ID   string `json:"id"`
	From string `json:"from"` // the node that asks
	To   string `json:"to"`   // the name of the only one that is asked; empty: all
	Text string `json:"text"`
}

// An Answer is the answer of a node to a question.
type Answer struct {
	Node string `json:"node"`
	Text string `json:"text"`
}

// answersFor is how long answers are kept for the node that asked.
const answersFor = 10 * time.Second

// Node returns the name of this node.
func (s *Store) Node() string { return s.node }

// Ask asks all other nodes, or the one with a name. It returns the answers that come
// until ctx ends. The error names the nodes that have not answered, or says that Redis
// has not answered. After an upgrade the process before is one more node with the same
// name, until it ends.
func (s *Store) Ask(ctx context.Context, node, text string) ([]Answer, error) {
	if !s.up.Load() {
		return nil, fmt.Errorf("%w: the other nodes were not asked", state.ErrLost)
	}
	ids, err := s.client.ZRange(ctx, s.key+":nodes", 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrLost, err)
	}
	var all, missing []string
	for _, id := range ids {
		name, _, _ := strings.Cut(id, "/")
		all = append(all, name)
		if id != s.current() && (node == "" || node == name) {
			missing = append(missing, name)
		}
	}
	if node != "" && !slices.Contains(all, node) {
		slices.Sort(all)
		return nil, fmt.Errorf("no node is called %q: there are %s", node, strings.Join(all, ", "))
	}
	if len(missing) == 0 {
		return nil, nil
	}
	q := question{rand.Text(), s.current(), node, text}
	asked, err := json.Marshal(map[string]question{"ask": q})
	if err == nil {
		err = s.client.Publish(ctx, s.key, asked).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrLost, err)
	}
	var answers []Answer
	for len(missing) > 0 {
		got, err := s.client.BLPop(ctx, 0, s.answersTo(q)).Result()
		if err != nil {
			return answers, fmt.Errorf("has not answered: %s", strings.Join(missing, ", "))
		}
		var a Answer
		if err := json.Unmarshal([]byte(got[1]), &a); err != nil {
			return answers, err
		}
		answers = append(answers, a)
		if i := slices.Index(missing, a.Node); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
	}
	return answers, nil
}

func (s *Store) answersTo(q question) string { return s.key + ":answers:" + q.ID }

// answer answers a question of another node.
func (s *Store) answer(ctx context.Context, q question) {
	if q.From == s.current() || q.To != "" && q.To != s.node || s.Answer == nil {
		return
	}
	text, err := json.Marshal(Answer{s.node, s.Answer(q.Text)})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	pipe.LPush(ctx, s.answersTo(q), text)
	pipe.PExpire(ctx, s.answersTo(q), answersFor)
	_, _ = pipe.Exec(ctx) // the asking node reports that this one did not answer
}
