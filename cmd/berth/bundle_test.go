package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestPartThatDoesNotAnswer: a disk or a program that hangs does not delay a support
// bundle, which has the output until then.
func TestPartThatDoesNotAnswer(t *testing.T) {
	for name, p := range map[string]part{
		"printed":   {"child.txt", runs("sh", "-c", "echo printed; sleep 60; true")},
		"no answer": {"file.txt", func(context.Context) ([]byte, error) { time.Sleep(time.Minute); return nil, nil }},
	} {
		began := time.Now()
		text, err := p.within(t.Context(), 100*time.Millisecond)
		if took := time.Since(began); err == nil || !strings.Contains(string(text)+err.Error(), name) || took > 20*time.Second {
			t.Errorf("%s: %q, %v after %v", name, text, err, took)
		}
	}
}
