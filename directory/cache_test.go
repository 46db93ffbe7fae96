package directory

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheSparesTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice")
		c := NewCache(f, 10*time.Second, time.Hour)
		ask := func(name string, want int) {
			t.Helper()
			u, err := c.Lookup(t.Context(), name)
			if err != nil || u.Name != "alice" || u.Cached {
				t.Errorf("Lookup(%q) = %v, %v; want alice, not marked as cached", name, u, err)
			}
			if f.lookups != want {
				t.Errorf("Lookup(%q): %d look-ups so far, want %d", name, f.lookups, want)
			}
		}
		ask("ALICE", 1)
		ask("alice", 1)
		ask("Alice", 1)
		time.Sleep(10 * time.Second)
		ask("alice", 2)

		u, _ := c.Lookup(t.Context(), "alice")
		if err := c.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, ErrBadPassword) {
			t.Errorf("Authenticate = %v, want ErrBadPassword", err)
		}
		ask("alice", 2) // a wrong password shows nothing new about the account
		if err := c.ChangePassword(t.Context(), u, "alice-right", "new"); err != nil {
			t.Errorf("ChangePassword = %v, want nil", err)
		}
		ask("ALICE", 3)

		f.users["alice"].State.Status = StatusDisabled
		if err := c.Authenticate(t.Context(), u, "new"); !errors.Is(err, ErrDisabled) {
			t.Errorf("Authenticate = %v, want ErrDisabled", err)
		}
		if u, _ := c.Lookup(t.Context(), "alice"); u.State.Status != StatusDisabled {
			t.Errorf("Lookup after a bind that found the account disabled: got %v, want disabled", u.State.Status)
		}
	})
}

// TestCacheForgetsWhatIsOld: an answer that cannot be used again takes no memory.
func TestCacheForgetsWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, keep := range []time.Duration{0, time.Hour} {
			c := NewCache(newFake("alice", "bob"), 10*time.Second, keep)
			for _, name := range []string{"alice", "bob"} {
				if _, err := c.Lookup(t.Context(), name); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			want := map[time.Duration]int{0: 1, time.Hour: 2}[keep]
			if len(c.users) != want {
				t.Errorf("kept for %v: %d people, want %d", keep, len(c.users), want)
			}
		}
	})
}

func TestCacheOutage(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as synctest begins
	tests := []struct {
		name  string
		state State
		after time.Duration
		keep  time.Duration
		want  bool
	}{
		{"active", State{Status: StatusActive}, time.Hour, 4 * time.Hour, true},
		{"too long ago", State{Status: StatusActive}, 4 * time.Hour, 4 * time.Hour, false},
		{"not wanted", State{Status: StatusActive}, time.Minute, 0, false},
		{"disabled", State{Status: StatusDisabled}, time.Hour, 4 * time.Hour, false},
		{"locked", State{Status: StatusLocked, Until: start.Add(time.Minute)}, time.Hour, 4 * time.Hour, false},
		{"must change", State{Status: StatusMustChange}, time.Hour, 4 * time.Hour, false},
		{"unknown", State{}, time.Hour, 4 * time.Hour, false},
		{"ended meanwhile", State{Status: StatusActive, Until: start.Add(30 * time.Minute)}, time.Hour, 4 * time.Hour, false},
		{"ends later", State{Status: StatusActive, Until: start.Add(2 * time.Hour)}, time.Hour, 4 * time.Hour, true},
		{"password expired meanwhile", State{Status: StatusActive, PasswordExpires: start.Add(time.Minute)}, time.Hour, 4 * time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("alice")
				f.users["alice"].State = tt.state
				c := NewCache(f, time.Second, tt.keep)
				if _, err := c.Lookup(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
				f.down = true
				time.Sleep(tt.after)
				u, err := c.Lookup(t.Context(), "ALICE")
				if (err == nil) != tt.want || (err == nil && !u.Cached) || (err != nil && !errors.Is(err, errDown)) {
					t.Errorf("Lookup = %v, %v; want a kept user: %t", u, err, tt.want)
				}
				if err := c.Ping(t.Context()); err == nil {
					t.Error("Ping = nil, want an error")
				}
			})
		})
	}
}

func TestCacheForgetsWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice")
		c := NewCache(f, time.Second, time.Hour)
		for _, name := range []string{"alice", "ALICE"} {
			if _, err := c.Lookup(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		delete(f.users, "alice")
		time.Sleep(2 * time.Second)
		if _, err := c.Lookup(t.Context(), "alice"); !errors.Is(err, ErrNoUser) {
			t.Errorf("Lookup = %v, want ErrNoUser", err)
		}
		f.down = true
		if _, err := c.Lookup(t.Context(), "Alice"); !errors.Is(err, errDown) {
			t.Errorf("Lookup of a deleted user in an outage = %v, want %v", err, errDown)
		}
	})
}

func TestCacheCancelled(t *testing.T) {
	f := newFake("alice")
	c := NewCache(f, 0, time.Hour)
	if _, err := c.Lookup(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	f.down = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if u, err := c.Lookup(ctx, "alice"); err == nil {
		t.Errorf("Lookup with a cancelled context = %v, want an error", u)
	}
}

// TestCacheForgetsOldState has a right password show that the account is in
// another state than remembered, as after a change of the password elsewhere. A
// right password of an active account shows nothing new.
func TestCacheForgetsOldState(t *testing.T) {
	for status, want := range map[Status]int{StatusMustChange: 1, StatusActive: 0} {
		f := newFake("alice")
		f.users["alice"].State.Status = status
		c := NewCache(f, time.Hour, 0)
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		f.users["alice"].State.Status = StatusActive
		if err := c.Authenticate(t.Context(), u, "alice-right"); err != nil {
			t.Fatal(err)
		}
		before := f.lookups
		if u, err = c.Lookup(t.Context(), "alice"); err != nil || u.State.Status != StatusActive || f.lookups-before != want {
			t.Errorf("remembered as %v: %v, %v after %d look-ups; want active after %d", status, u, err, f.lookups-before, want)
		}
	}
}

// A slowLookups answers a second after the directory was read, while it is slow.
type slowLookups struct {
	*fake
	slow atomic.Bool
}

func (s *slowLookups) Lookup(ctx context.Context, name string) (*User, error) {
	slow := s.slow.Load()
	u, err := s.fake.Lookup(ctx, name)
	if slow {
		time.Sleep(time.Second)
	}
	return u, err
}

// TestCacheOvertaken: an answer from before a change comes after the change, and must
// not be used again.
func TestCacheOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowLookups{fake: newFake("alice")}
		c := NewCache(f, time.Minute, time.Hour)
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		f.slow.Store(true)
		go func() { _, _ = c.Lookup(Fresh(t.Context()), "alice") }()
		time.Sleep(time.Second / 2)
		f.slow.Store(false)
		if err := c.RemoveKey(t.Context(), u, ""); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.users["alice"].DN = "uid=changed"
		f.mu.Unlock()
		time.Sleep(time.Second)
		if u, _ := c.Lookup(t.Context(), "alice"); u.DN != "uid=changed" {
			t.Error("the old state of the account came back")
		}
	})
}
