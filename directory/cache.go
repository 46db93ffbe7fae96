package directory

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"
)

// A Cache is a Directory that remembers look-ups for a short time, so that the
// directory is asked less. While no server answers, it uses them for longer, so that
// people can still log in with keys. Passwords are never remembered. It is safe for
// concurrent use.
type Cache struct {
	Directory
	fresh time.Duration
	keep  time.Duration

	mu        sync.Mutex
	users     map[string]cached      // by name in lower case: the typed and the canonical one
	forgotten map[Identity]time.Time // when people were forgotten: a look-up that began before that may have an old answer
	swept     time.Time              // when useless entries of both maps were last removed
}

type cached struct {
	user *User
	read time.Time
}

// maxCached bounds the names a Cache remembers. Only names that exist count.
const maxCached = 100_000

// NewCache returns a Cache over d. A look-up is used again for fresh; while d
// cannot be asked, for keep, if the account was active when it was last seen.
func NewCache(d Directory, fresh, keep time.Duration) *Cache {
	return &Cache{Directory: d, fresh: fresh, keep: keep, users: map[string]cached{}, forgotten: map[Identity]time.Time{}}
}

type freshKey struct{}

// Fresh returns a context whose look-ups ask the directory even if a Cache remembers
// the answer. The new answer is remembered.
func Fresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, freshKey{}, true)
}

// Lookup implements Directory. A User that is returned because no server
// answered is marked as Cached.
func (c *Cache) Lookup(ctx context.Context, name string) (*User, error) {
	if u := c.recallFor(ctx, name); u != nil {
		return u, nil
	}
	asked := time.Now()
	u, err := c.Directory.Lookup(ctx, name)
	return c.learn(ctx, name, asked, u, err)
}

// LookupMany implements Directory. It asks for the names that are not
// remembered.
func (c *Cache) LookupMany(ctx context.Context, names []string) map[string]Answer {
	answers := make(map[string]Answer, len(names))
	var unknown []string
	for _, name := range names {
		if u := c.recallFor(ctx, name); u != nil {
			answers[name] = Answer{u, nil}
		} else {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return answers
	}
	asked := time.Now()
	for name, a := range c.Directory.LookupMany(ctx, unknown) {
		u, err := c.learn(ctx, name, asked, a.User, a.Err)
		answers[name] = Answer{u, err}
	}
	return answers
}

// learn remembers an answer of the directory. If there was no answer, it returns
// what was remembered.
func (c *Cache) learn(ctx context.Context, name string, asked time.Time, u *User, err error) (*User, error) {
	switch {
	case err == nil:
		c.remember(name, asked, u)
		return u, nil
	case Refused(err):
		c.mu.Lock()
		defer c.mu.Unlock()
		if e, ok := c.users[strings.ToLower(name)]; ok {
			c.drop(e.user.Identity)
		}
		return nil, err
	case errors.Is(ctx.Err(), context.Canceled): // nobody waits for an answer
		return nil, err
	}
	kept := c.recall(name, c.keep)
	if kept == nil || kept.State.Status != StatusActive {
		return nil, err
	}
	stale := *kept
	stale.Cached = true
	return &stale, nil
}

// recallFor returns the user if the directory need not be asked.
func (c *Cache) recallFor(ctx context.Context, name string) *User {
	if ctx.Value(freshKey{}) != nil {
		return nil
	}
	return c.recall(name, c.fresh)
}

// recall returns the user that was read under name at most age ago, unless the
// account state has ended since.
func (c *Cache) recall(name string, age time.Duration) *User {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.users[strings.ToLower(name)]
	now := time.Now()
	if !ok || now.Sub(e.read) >= age || passed(e.user.State.Until, now) {
		return nil
	}
	if e.user.State.Status == StatusActive && passed(e.user.State.PasswordExpires, now) {
		return nil
	}
	return e.user
}

// passed reports whether t is set and is not in the future.
func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// remember stores an answer to a question that was asked at then, unless the person
// was forgotten since.
func (c *Cache) remember(name string, asked time.Time, u *User) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if useful := max(c.fresh, c.keep, justRead); now.Sub(c.swept) >= useful {
		c.swept = now
		maps.DeleteFunc(c.users, func(_ string, e cached) bool { return now.Sub(e.read) >= useful })
		maps.DeleteFunc(c.forgotten, func(_ Identity, at time.Time) bool { return now.Sub(at) >= longestLookup })
	}
	if len(c.users) >= maxCached {
		clear(c.users)
	}
	for _, n := range []string{name, u.Name} {
		// The name has a new owner. All names of the old owner are dropped. Otherwise
		// the old owner would be served under this name in an outage.
		if e, ok := c.users[strings.ToLower(n)]; ok && e.user.Identity != u.Identity {
			c.drop(e.user.Identity)
		}
	}
	if !asked.After(c.forgotten[u.Identity]) {
		return
	}
	e := cached{u, now}
	c.users[strings.ToLower(name)] = e
	c.users[strings.ToLower(u.Name)] = e
}

// forget makes the next look-up of u, by whatever name, ask the directory.
func (c *Cache) forget(u *User) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(u.Identity)
	c.forgotten[u.Identity] = time.Now()
}

// drop forgets all names of a person. It is called with c.mu held.
func (c *Cache) drop(id Identity) {
	for name, e := range c.users {
		if e.user.Identity == id {
			delete(c.users, name)
		}
	}
}

// longestLookup is longer than any look-up takes.
const longestLookup = time.Hour

// justRead is how old a User may be to be sent to the directory as it is.
const justRead = time.Second

// current returns u as the directory has it now. A person who was moved in the
// directory has a new DN. With the old DN, the directory would refuse a correct
// password and count it as wrong. If somebody else has the name now, current
// refuses. If the directory cannot find the name, u is returned as it is.
func (c *Cache) current(ctx context.Context, u *User) (*User, error) {
	c.mu.Lock()
	e := c.users[strings.ToLower(u.Name)]
	c.mu.Unlock()
	if e.user != nil && e.user.Identity == u.Identity && e.user.DN == u.DN && time.Since(e.read) < justRead {
		return u, nil
	}
	asked := time.Now()
	now, err := c.Directory.Lookup(ctx, u.Name)
	if err != nil {
		return u, nil
	}
	c.remember(u.Name, asked, now)
	if u.ID != "" && now.ID != "" && now.Identity != u.Identity {
		return nil, &Refusal{Why: ErrNoUser, Detail: "the name belongs to somebody else now"}
	}
	return now, nil
}

// Authenticate implements Directory. It always asks the directory. If the answer
// shows another account state, the user is forgotten.
func (c *Cache) Authenticate(ctx context.Context, u *User, password string) error {
	u, err := c.current(ctx, u)
	if err != nil {
		return err
	}
	err = c.Directory.Authenticate(ctx, u, password)
	news := err != nil && Refused(err) && !errors.Is(err, ErrBadPassword) && !errors.Is(err, ErrShielded)
	if news || (err == nil && u.State.Status != StatusActive) {
		c.forget(u)
	}
	return err
}

// ChangePassword implements Directory.
func (c *Cache) ChangePassword(ctx context.Context, u *User, old, new string) error {
	return c.change(ctx, u, func(u *User) error { return c.Directory.ChangePassword(ctx, u, old, new) })
}

// AddKey implements Directory.
func (c *Cache) AddKey(ctx context.Context, u *User, line string) error {
	return c.change(ctx, u, func(u *User) error { return c.Directory.AddKey(ctx, u, line) })
}

// RemoveKey implements Directory.
func (c *Cache) RemoveKey(ctx context.Context, u *User, fingerprint string) error {
	return c.change(ctx, u, func(u *User) error { return c.Directory.RemoveKey(ctx, u, fingerprint) })
}

// change runs one change of u. The next look-up of u asks the directory.
func (c *Cache) change(ctx context.Context, u *User, do func(*User) error) error {
	u, err := c.current(ctx, u)
	if err != nil {
		return err
	}
	defer c.forget(u)
	return do(u)
}
