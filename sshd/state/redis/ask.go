package redis

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"berth/sshd/state"
)

// A question is one that a node asks all others.
type question struct {
	ID   string `json:"id"`
	From string `json:"from"` // the node that asks
	Text string `json:"text"`
}

// An Answer is what a node says to a question.
type Answer struct {
	Node string `json:"node"`
	Text string `json:"text"`
}

// answersFor is how long answers are kept for the node that asked.
const answersFor = 10 * time.Second

// Ask asks all other nodes. It returns what they answer until ctx ends, and an error
// that says how many have not answered, or that Redis has not.
func (s *Store) Ask(ctx context.Context, text string) ([]Answer, error) {
	others := int(s.nodes.Load()) - 1
	if !s.up.Load() {
		return nil, fmt.Errorf("%w: %d other nodes were not asked", state.ErrLost, others)
	}
	q := question{rand.Text(), s.current(), text}
	asked, err := json.Marshal(map[string]question{"ask": q})
	if err != nil {
		return nil, err
	}
	if err := s.client.Publish(ctx, s.key(), asked).Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrLost, err)
	}
	var answers []Answer
	for len(answers) < others {
		got, err := s.client.BLPop(ctx, time.Second, s.answersTo(q)).Result()
		if err != nil {
			return answers, fmt.Errorf("%d of %d other nodes have not answered", others-len(answers), others)
		}
		var a Answer
		if err := json.Unmarshal([]byte(got[1]), &a); err != nil {
			return answers, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (s *Store) answersTo(q question) string { return s.key() + ":answers:" + q.ID }

// answer answers a question of another node.
func (s *Store) answer(ctx context.Context, q question) {
	if q.From == s.current() || s.Answer == nil {
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
	_, _ = pipe.Exec(ctx) // the node that asked says that this one did not answer
}
