package redis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/sshd/state"
	"berth/test/peers"
)

// TestAsk: all other nodes answer; one that does not is counted.
func TestAsk(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	answering := func(s *Store) { s.Answer = func(text string) string { return s.node + " heard " + text } }
	first := start(t, r.URL, state.DefaultSettings(), nil, answering)
	second := start(t, r.URL, state.DefaultSettings(), nil, answering)
	together(t, first, second)
	answers, err := first.Ask(t.Context(), "", "hello")
	if want := (Answer{second.node, second.node + " heard hello"}); err != nil || len(answers) != 1 || answers[0] != want {
		t.Errorf("answers %v, %v; want %v", answers, err, want)
	}
	third := start(t, r.URL, state.DefaultSettings(), nil)
	together(t, first, second, third)
	for _, tt := range []struct{ node, answered, err string }{
		{"", second.node, "has not answered: " + third.node},
		{second.node, second.node, ""},
		{third.node, "", "has not answered: " + third.node},
		{first.node, "", ""}, // there is no other process of this node
		{"nobody", "", `no node is called "nobody": there are ` + strings.Join(slices.Sorted(slices.Values([]string{first.node, second.node, third.node})), ", ")},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		answers, err := first.Ask(ctx, tt.node, "again")
		cancel()
		var answered []string
		for _, a := range answers {
			answered = append(answered, a.Node)
		}
		if strings.Join(answered, ",") != tt.answered || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("node %q: answers of %v, %v; want of %q, and %q", tt.node, answered, err, tt.answered, tt.err)
		}
	}
	r.Kill()
	eventually(t, "Redis is missed", func() bool { up, _ := first.Up(); return !up })
	if _, err := first.Ask(t.Context(), "", "once more"); !errors.Is(err, state.ErrLost) {
		t.Errorf("without Redis: %v", err)
	}
}
