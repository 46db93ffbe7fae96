package directory

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestShield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice", "bob")
		f.lockAt, f.window = 3, 10*time.Minute
		s := NewShield(f, 0, 0)
		alice, _ := s.Lookup(t.Context(), "alice")
		bob, _ := s.Lookup(t.Context(), "bob")
		try := func(u *User, password string, want error) {
			t.Helper()
			if err := s.Authenticate(t.Context(), u, password); !errors.Is(err, want) || Proved(err) {
				t.Errorf("Authenticate(%s, %s) = %v, want %v", u.Name, password, err, want)
			}
		}
		try(alice, "wrong", ErrBadPassword)
		try(alice, "alice-right", nil) // which the directory counts anew from
		try(alice, "wrong", ErrBadPassword)
		try(alice, "", ErrBadPassword) // never asked, so not counted
		if err := s.ChangePassword(t.Context(), alice, "wrong", "new"); !errors.Is(err, ErrBadPassword) {
			t.Errorf("ChangePassword = %v, want ErrBadPassword", err)
		}
		if err := s.ChangePassword(t.Context(), alice, "", "new"); !errors.Is(err, ErrBadPassword) || f.empty > 0 {
			t.Errorf("ChangePassword without the old one = %v, and %d were asked for; want ErrBadPassword and none", err, f.empty)
		}
		try(alice, "wrong", ErrShielded)
		try(alice, "alice-right", ErrShielded)
		if err := s.ChangePassword(t.Context(), alice, "alice-right", "new"); !errors.Is(err, ErrShielded) {
			t.Errorf("ChangePassword = %v, want ErrShielded", err)
		}
		try(bob, "bob-right", nil)
		time.Sleep(10 * time.Minute)
		try(alice, "alice-right", ErrShielded) // the directory's minutes are not over before ours
		time.Sleep(time.Second)
		try(alice, "alice-right", nil)
		if f.binds["alice"] != 5 || f.wrong["alice"] != 0 {
			t.Errorf("got %d binds of alice and %d wrong, want 5 and 0", f.binds["alice"], f.wrong["alice"])
		}
	})
}

// TestShieldOfTheNextProcess: wrong passwords that the process before has counted
// count, for as long as they would have there.
func TestShieldOfTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice", "bob")
		f.lockAt, f.window = 3, 10*time.Minute
		before, after := NewTries(nil), NewTries(nil)
		s := NewShield(f, 0, 0)
		s.Tries = before
		alice, _ := s.Lookup(t.Context(), "alice")
		bob, _ := s.Lookup(t.Context(), "bob")
		for range 2 {
			if err := s.Authenticate(t.Context(), alice, "wrong"); !errors.Is(err, ErrBadPassword) {
				t.Fatal(err)
			}
		}
		if err := s.Authenticate(t.Context(), bob, "bob-right"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		text, err := json.Marshal(before.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		var known map[string]WrongPasswords
		if err := json.Unmarshal(text, &known); err != nil || len(known) != 1 {
			t.Fatalf("%s: %v, want alice alone", text, err)
		}
		after.Restore(known)
		s.Tries = after
		if err := s.Authenticate(t.Context(), alice, "alice-right"); !errors.Is(err, ErrShielded) {
			t.Errorf("in the next process: %v, want ErrShielded", err)
		}
		time.Sleep(time.Minute + time.Second)
		if err := s.Authenticate(t.Context(), alice, "alice-right"); err != nil {
			t.Errorf("when the directory has forgotten: %v", err)
		}
	})
}

// TestShieldGuesses lets many guess at once, and then one who knows.
func TestShieldGuesses(t *testing.T) {
	for _, lockAt := range []int{2, 3, 10} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake("alice")
			f.lockAt, f.window, f.slow = lockAt, time.Minute, time.Second
			s := NewShield(f, 0, 0)
			u, _ := s.Lookup(t.Context(), "alice")
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if err := s.Authenticate(t.Context(), u, "guess"); !errors.Is(err, ErrBadPassword) && !errors.Is(err, ErrShielded) {
						t.Errorf("guess = %v, want ErrBadPassword or ErrShielded", err)
					}
				})
			}
			wg.Wait()
			if f.wrong["alice"] != lockAt-1 {
				t.Errorf("the directory saw %d wrong passwords, want %d", f.wrong["alice"], lockAt-1)
			}
			time.Sleep(time.Minute + time.Second)
			if err := s.Authenticate(t.Context(), u, "alice-right"); err != nil {
				t.Errorf("Authenticate after the guesses = %v, want nil", err)
			}
		})
	}
}

// TestShieldWaits proves that people with the right password are not refused
// because they come at the same moment.
func TestShieldWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice")
		f.lockAt, f.window, f.slow = 2, time.Minute, time.Second
		s := NewShield(f, 0, 0)
		u, _ := s.Lookup(t.Context(), "alice")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := s.Authenticate(t.Context(), u, "alice-right"); err != nil {
					t.Errorf("Authenticate = %v, want nil", err)
				}
			})
		}
		wg.Wait()
		go func() { _ = s.Authenticate(t.Context(), u, "alice-right") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Authenticate(ctx, u, "alice-right"); err == nil || Refused(err) {
			t.Errorf("Authenticate that may not wait = %v, want an error that is no refusal", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestShieldRules(t *testing.T) {
	tests := []struct {
		name      string
		directory Directory
		threshold int
		window    time.Duration
		want      int
		forget    time.Duration
	}{
		{"as the directory says", &fake{lockAt: 7, window: time.Hour}, 0, 0, 7, time.Hour},
		{"the directory locks nobody", &fake{}, 0, 0, 0, longestWindow},
		{"the directory never forgets", &fake{lockAt: 4}, 0, 0, 4, longestWindow},
		{"as the settings say", &fake{lockAt: 7, window: time.Hour}, 3, time.Minute, 3, time.Minute},
		{"only the window is set", &fake{lockAt: 7, window: time.Hour}, 0, time.Minute, 7, time.Minute},
		{"not known", &fake{lockAt: 7, lockErr: errDown}, 0, 0, AssumedThreshold, unknownWindow},
	}
	for _, tt := range tests {
		s := NewShield(tt.directory, tt.threshold, tt.window)
		threshold, window := s.rules(t.Context(), &User{})
		if threshold != tt.want || window != tt.forget {
			t.Errorf("%s: got %d in %v, want %d in %v", tt.name, threshold, window, tt.want, tt.forget)
		}
	}
}

func TestShieldDown(t *testing.T) {
	f := newFake("alice")
	s := NewShield(f, 2, time.Minute)
	u, _ := s.Lookup(t.Context(), "alice")
	f.down = true
	for range 5 {
		if err := s.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, errDown) {
			t.Errorf("Authenticate without a server = %v, want %v", err, errDown)
		}
	}
}
