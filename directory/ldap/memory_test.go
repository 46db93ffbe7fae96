package ldap

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// TestMemoryIsBounded: it holds max values at most, and forgets them at their time.
func TestMemoryIsBounded(t *testing.T) {
	m := memory[int]{max: 3}
	now := time.Now()
	for i := range 10 {
		m.remember(fmt.Sprint(i), i, now.Add(time.Minute))
		if v, ok := m.recall(fmt.Sprint(i), now); v != i || !ok || len(m.values) > m.max {
			t.Errorf("value %d: %d, %t, of %d", i, v, ok, len(m.values))
		}
	}
	if _, ok := m.recall("9", now.Add(time.Minute)); ok {
		t.Error("a value is known at the time it was to be forgotten")
	}
}

// TestSeconds: a text that is no number of seconds gives 0, and not a time that
// overflows.
func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "0": 0, "900": 15 * time.Minute, "86400": 24 * time.Hour,
		"9223372036854775808": 0, fmt.Sprint(int64(math.MaxInt64)): 0,
	} {
		if got := seconds(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
