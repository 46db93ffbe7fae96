package state

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCodesAreUsedOnce(t *testing.T) {
	m := NewMemory(DefaultSettings())
	for _, tt := range []struct {
		user string
		code uint64
		want Reason
	}{
		{"a", 100, ""},
		{"a", 100, CodeUsed},
		{"a", 99, CodeUsed}, // the one before may have been seen, too
		{"b", 100, ""},
		{"a", 101, ""},
	} {
		if got := reason(t, m.UseCode(tt.user, tt.code, true)); got != tt.want {
			t.Errorf("code %d of %s: got %q, want %q", tt.code, tt.user, got, tt.want)
		}
	}
}

func TestOneOfManyUsesACode(t *testing.T) {
	m := NewMemory(DefaultSettings())
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if m.UseCode("a", 7, true) == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("a code was used %d times, want once", n)
	}
}

func TestCodesAreShielded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(DefaultSettings()) // 5 tries in 15 minutes
		use := func(right bool, want Reason) {
			t.Helper()
			if got := reason(t, m.UseCode("a", 7, right)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		for range 5 {
			use(false, CodeWrong)
		}
		use(false, CodesShielded)
		use(true, CodesShielded) // who guesses does not learn that it was right
		if err := m.UseCode("b", 7, true); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		time.Sleep(15*time.Minute - time.Nanosecond)
		use(true, CodesShielded)
		time.Sleep(time.Nanosecond)
		use(true, "")
		for range 4 {
			use(false, CodeWrong)
		}
		if err := m.UseCode("a", 8, true); err != nil {
			t.Errorf("after four wrong ones: %v", err)
		}
		for range 5 {
			use(false, CodeWrong) // a right one forgives those before it
		}
	})
}

func TestTokensAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(DefaultSettings())
		for i := range maxTokens {
			m.UseCode(string(rune(i+1000)), 1, true)
		}
		m.UseCode("guessed", 1, false)
		time.Sleep(14 * time.Minute)
		m.UseCode("recent", 1, true)
		time.Sleep(time.Minute + 1)
		m.UseCode("one more", 1, true)
		if got := reason(t, m.UseCode("recent", 1, true)); len(m.tokens) != 2 || got != CodeUsed {
			t.Errorf("%d users are remembered, want 2; the recent code: %q", len(m.tokens), got)
		}
	})
}
