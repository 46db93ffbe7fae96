package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

var errDown = errors.New("connection refused")

// A fake is a Directory that fails on demand and counts what it is asked.
type fake struct {
	mu        sync.Mutex
	users     map[string]*User // by name in lower case
	passwords map[string]string
	down      bool
	slow      time.Duration
	lookups   int
	binds     map[string]int
	wrong     map[string]int
	lockAt    int
	window    time.Duration
}

func newFake(names ...string) *fake {
	f := &fake{users: map[string]*User{}, passwords: map[string]string{}, binds: map[string]int{}, wrong: map[string]int{}}
	for _, name := range names {
		f.users[strings.ToLower(name)] = &User{Name: name, Identity: Identity{ID: "id-" + name}, DN: "uid=" + name, State: State{Status: StatusActive}}
		f.passwords[name] = name + "-right"
	}
	return f
}

func (f *fake) Lookup(_ context.Context, name string) (*User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	if f.down {
		return nil, errDown
	}
	u, ok := f.users[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("fake: %w", ErrNoUser)
	}
	same := *u
	return &same, nil
}

func (f *fake) Authenticate(_ context.Context, u *User, password string) error {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	f.binds[u.Name]++
	if f.lockAt > 0 && f.wrong[u.Name] >= f.lockAt {
		return &Refusal{Why: ErrLocked}
	}
	if f.passwords[u.Name] != password {
		f.wrong[u.Name]++
		return &Refusal{Why: ErrBadPassword}
	}
	f.wrong[u.Name] = 0
	return f.users[strings.ToLower(u.Name)].State.Err()
}

func (f *fake) ChangePassword(ctx context.Context, u *User, old, new string) error {
	if err := f.Authenticate(ctx, u, old); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passwords[u.Name] = new
	return nil
}

func (f *fake) Ping(context.Context) error {
	if f.down {
		return errDown
	}
	return nil
}

func (f *fake) Lockout(context.Context, *User) (int, time.Duration, error) {
	return f.lockAt, f.window, nil
}

// onlyLookup hides everything optional.
type onlyLookup struct{ Directory }
