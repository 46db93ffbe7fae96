package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var errDown = errors.New("connection refused")

// ids are used once, as those of real directories.
var ids atomic.Int64

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
	empty     int        // passwords that were asked for
	lockErr   error      // of Lockout
	asked     [][]string // together
	listed    []string
	listErr   error
}

func newFake(names ...string) *fake {
	f := &fake{users: map[string]*User{}, passwords: map[string]string{}, binds: map[string]int{}, wrong: map[string]int{}}
	for _, name := range names {
		f.users[strings.ToLower(name)] = &User{Name: name, Identity: Identity{ID: fmt.Sprintf("id-%d", ids.Add(1))}, DN: "uid=" + name, State: State{Status: StatusActive}}
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
	if password == "" {
		f.empty++
	}
	if own := f.users[strings.ToLower(u.Name)]; own == nil || own.DN != u.DN {
		return &Refusal{Why: ErrBadPassword, Detail: "no such entry"}
	}
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
	return f.lockAt, f.window, f.lockErr
}

func (f *fake) PasswordRules(context.Context, *User) (PasswordRules, error) {
	return PasswordRules{Length: f.lockAt}, f.lockErr
}

func (f *fake) LookupMany(ctx context.Context, names []string) map[string]Answer {
	slices.Sort(names)
	if len(names) > 0 {
		f.asked = append(f.asked, names)
	}
	answers := map[string]Answer{}
	for _, name := range names {
		u, err := f.Lookup(ctx, name)
		answers[name] = Answer{u, err}
	}
	return answers
}

// Users yields the users of f.listed, and then f.listErr.
func (f *fake) Users(context.Context) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		for _, name := range f.listed {
			if !yield(f.users[name], nil) {
				return
			}
		}
		if f.listErr != nil {
			yield(nil, f.listErr)
		}
	}
}

// Find returns the users of f.listed that begin with prefix, or f.listErr.
func (f *fake) Find(_ context.Context, prefix string, most int) (found []Found, more bool, err error) {
	for _, name := range f.listed {
		if strings.HasPrefix(name, prefix) {
			found = append(found, Found{Name: name})
		}
	}
	return found[:min(most, len(found))], len(found) > most, f.listErr
}

// AddKey takes any key, and RemoveKey removes all.
func (f *fake) AddKey(_ context.Context, u *User, line string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, err := OneKey(line)
	if err != nil {
		return err
	}
	f.users[strings.ToLower(u.Name)].Keys = append(f.users[strings.ToLower(u.Name)].Keys, k)
	return nil
}

func (f *fake) RemoveKey(_ context.Context, u *User, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[strings.ToLower(u.Name)].Keys = nil
	return nil
}

// Nesting returns no groups, and f.listErr.
func (f *fake) Nesting(context.Context) ([]Nested, error) { return nil, f.listErr }
