package sshd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

func TestReconsider(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "") // once it answers, the session stands
	f.people.down = true
	f.Reconsider(t.Context())
	if _, _, status := run1(t, c, "whoami", ""); status != 0 {
		t.Error("a directory that is down ended the session")
	}
	f.people.down = false
	f.people.set("alice", directory.StatusDisabled)
	f.Reconsider(t.Context())
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"account_disabled"}) {
		t.Errorf("reasons = %q", got)
	}
}

// TestNameOfSomebodyElse has the name given to another person, with another
// stable id, while the first one's session is open.
func TestNameOfSomebodyElse(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "")
	f.people.mu.Lock()
	f.people.users["alice"].ID = "id-2"
	f.people.mu.Unlock()
	f.Reconsider(t.Context())
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"unknown_user"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestRightsEndAtTheirHour(t *testing.T) {
	f := start(t)
	resolve := f.Gate.Rules
	var over atomic.Bool
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		if over.Load() {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		p, err := resolve.Resolve(q)
		p.ValidUntil = time.Now().Add(time.Hour)
		return p, err
	})
	run1(t, f.must(t), "help", "") // once it answers, the session stands
	over.Store(true)
	for _, open := range f.connections() {
		f.lapse(t.Context(), open, time.Now())
		if open.ending.Load() != nil {
			t.Error("ended before the hour")
		}
		f.lapse(t.Context(), open, time.Now().Add(2*time.Hour))
	}
	f.hangUp()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestSessionsEndInTime(t *testing.T) {
	tests := []struct {
		name   string
		limits policy.Limits
		after  time.Duration
		want   string
	}{
		{"idle", policy.Limits{Idle: time.Minute}, time.Minute, "idle"},
		{"not idle yet", policy.Limits{Idle: time.Minute}, 50 * time.Second, ""},
		{"open too long", policy.Limits{SessionTime: time.Hour}, time.Hour, "session_time_over"},
		{"no limits", policy.Limits{}, 30 * time.Second, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			resolve := f.Gate.Rules
			f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
				p, err := resolve.Resolve(q)
				p.Limits = tt.limits
				return p, err
			})
			run1(t, f.must(t), "help", "")
			c := f.connections()[0]
			c.enforceLimits(time.Now().Add(tt.after))
			got := ""
			if why := c.ending.Load(); why != nil {
				got = why.reason.String()
			}
			if got != tt.want {
				t.Errorf("after %v: closed for %q, want %q", tt.after, got, tt.want)
			}
		})
	}
}

// TestIdleWithAnOpenFile checks that an open file alone keeps no session, and
// that a client which takes what it asked for does.
func TestIdleWithAnOpenFile(t *testing.T) {
	f := start(t, func(f *fixture) { f.Idle = time.Minute })
	files, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Create("/f"); err != nil {
		t.Fatal(err)
	}
	c := f.connections()[0]
	long := int64(time.Since(c.peer.Opened) - 2*time.Minute)
	c.last.Store(long)
	if _, err := (taken{discarding{}, c}).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.enforceLimits(time.Now())
	if why := c.ending.Load(); why != nil {
		t.Fatalf("closed for %q although the client takes data", why.reason)
	}
	c.last.Store(long)
	c.enforceLimits(time.Now())
	if why := c.ending.Load(); why == nil || why.reason != event.Idle {
		t.Errorf("closed for %v, want idle", why)
	}
}

// discarding is a channel that takes everything.
type discarding struct{ ssh.Channel }

func (discarding) Write(p []byte) (int, error) { return len(p), nil }

func TestSilentClientsAreLetGo(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.connections()[0]
	now := time.Now()
	c.silent.Store(maxUnanswered) // as many have stayed away
	c.enforceLimits(now.Add(f.KeepAlive))
	if why := c.ending.Load(); why == nil || why.reason != event.ClientSilent {
		t.Errorf("closed for %v", why)
	}
}

func TestKeepAliveIsAnswered(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.connections()[0]
	c.enforceLimits(time.Now().Add(f.KeepAlive))
	if c.asked.IsZero() {
		t.Fatal("the client was not asked")
	}
	eventually(t, "the client answers", func() bool { return c.silent.Load() == 0 })
}

// TestWhatOpenedASession changes what alice has proved, and what it grants her,
// under an open session.
func TestWhatOpenedASession(t *testing.T) {
	key := func(f *fixture) ssh.AuthMethod { return ssh.PublicKeys(f.key) }
	password := func(*fixture) ssh.AuthMethod { return ssh.Password("secret-1") }
	removeKey := func(f *fixture) { f.people.users["alice"].Keys = nil }
	changePassword := func(f *fixture) { f.people.users["alice"].State.PasswordChanged = time.Now() }
	tests := []struct {
		name     string
		method   func(*fixture) ssh.AuthMethod
		change   func(*fixture)
		onChange string
		want     string // reason, "" if the session goes on
	}{
		{"key removed", key, removeKey, "end", "key_removed"},
		{"key removed, kept", key, removeKey, "keep", ""},
		{"key removed, by password", password, removeKey, "end", ""},
		{"password changed", password, changePassword, "end", "password_changed"},
		{"password changed, kept", password, changePassword, "keep", ""},
		{"password changed, by key", key, changePassword, "end", ""},
		{"key removed, from the cache", key, func(f *fixture) { removeKey(f); f.people.users["alice"].Cached = true }, "end", ""},
		{"another key added", key, func(f *fixture) {
			u := f.people.users["alice"]
			u.Keys = append([]directory.Key{{PublicKey: newSigner(t).PublicKey()}}, u.Keys...)
		}, "end", ""},
		{"nothing", key, func(*fixture) {}, "end", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, func(f *fixture) { f.Gate.OnChange = tt.onChange })
			c := f.must(t, tt.method(f))
			run1(t, c, "help", "") // once it answers, the session stands
			f.people.mu.Lock()
			tt.change(f)
			f.people.mu.Unlock()
			f.Reconsider(t.Context())
			if tt.want == "" {
				f.Reconsider(t.Context())
				if _, _, status := run1(t, c, "whoami", ""); status != 0 {
					t.Errorf("whoami = %d", status)
				}
			} else {
				c.Wait()
				f.hangUp()
			}
			got := f.events.reasons(event.LoginRevoked)
			if (tt.want == "" && len(got) > 0) || (tt.want != "" && !slices.Equal(got, []string{tt.want})) {
				t.Errorf("reasons = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestChangedInTheLogin changes the password while logging in, which must not
// end that very session.
func TestChangedInTheLogin(t *testing.T) {
	f := start(t)
	f.people.set("alice", directory.StatusMustChange)
	c := f.must(t, answering([]string{"secret-1"}, []string{"a longer one", "a longer one"}))
	run1(t, c, "help", "")
	change := func() {
		f.people.mu.Lock()
		defer f.people.mu.Unlock()
		f.people.users["alice"].State.PasswordChanged = time.Now() // as another server of the directory tells it, later
	}
	change()
	f.Reconsider(t.Context())
	if _, _, status := run1(t, c, "whoami", ""); status != 0 {
		t.Error("the own change ended the session")
	}
	change()
	f.Reconsider(t.Context())
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"password_changed"}) {
		t.Errorf("reasons = %q", got)
	}
}

// TestTheClientIsTold has a service waiting for input while the session is
// narrowed, and then ended.
func TestTheClientIsTold(t *testing.T) {
	f := start(t)
	resolve := f.Gate.Rules
	var narrow atomic.Bool
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		p, err := resolve.Resolve(q)
		if narrow.Load() {
			p.Rules, p.Access = []string{"fewer"}, []policy.Access{{Path: "/", Ops: policy.ReadOnly}}
		}
		return p, err
	})
	c := f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("passwd"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len(promptCurrent))); err != nil { // it runs
		t.Fatal(err)
	}
	said := bufio.NewScanner(stderr)
	narrow.Store(true)
	f.Reconsider(t.Context())
	if !said.Scan() || said.Text() != "What you may do here has changed." {
		t.Errorf("told %q when the rights changed", said.Text())
	}
	f.people.set("alice", directory.StatusDisabled)
	f.Reconsider(t.Context())
	if !said.Scan() || said.Text() != "Your account is disabled. This session has ended." {
		t.Errorf("told %q at the end", said.Text())
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != statusRevoked {
		t.Errorf("the service ended with %v, want status %d", err, statusRevoked)
	}
	c.Wait()
	f.hangUp()
	var changed, closed string
	for _, e := range f.events.all() {
		switch e.Type {
		case event.RightsChanged:
			changed = e.Detail
		case event.ConnectionClosed:
			closed = e.Reason.String() + ": " + e.Detail
		}
	}
	if changed != "rules: fewer; before: all" || closed != "revoked: account_disabled" {
		t.Errorf("events: rights changed %q, closed %q", changed, closed)
	}
}

// TestManyUsersAreOneQuestion looks all users with open sessions up at once.
func TestManyUsersAreOneQuestion(t *testing.T) {
	var asked [][]string
	f := start(t, func(f *fixture) {
		f.people.users["bob"] = &directory.User{Name: "bob", Identity: directory.Identity{ID: "id-2"}, State: directory.State{Status: directory.StatusActive}}
		f.people.password["bob"] = "secret-2"
		f.Gate.Directory = manyPeople{f.people, &asked}
	})
	for range 2 {
		run1(t, f.must(t), "help", "")
	}
	c, _, err := f.dial(t, "bob", ssh.Password("secret-2"))
	if err != nil {
		t.Fatal(err)
	}
	run1(t, c, "help", "")
	f.Reconsider(t.Context())
	if len(asked) != 1 || !slices.Equal(asked[0], []string{"alice", "bob"}) {
		t.Errorf("asked for %q, want alice and bob together", asked)
	}
}

type manyPeople struct {
	*people
	asked *[][]string
}

func (m manyPeople) LookupMany(ctx context.Context, names []string) map[string]directory.Answer {
	*m.asked = append(*m.asked, names)
	return m.people.LookupMany(ctx, names)
}

// TestTheHourEndsWithoutADirectory has a rule end while no server answers.
func TestTheHourEndsWithoutADirectory(t *testing.T) {
	f := start(t)
	resolve := f.Gate.Rules
	var over atomic.Bool
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		if over.Load() {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		p, err := resolve.Resolve(q)
		p.ValidUntil = time.Now().Add(time.Hour)
		return p, err
	})
	c := f.must(t)
	run1(t, c, "help", "")
	over.Store(true)
	f.people.mu.Lock()
	f.people.down = true
	f.people.mu.Unlock()
	f.lapse(t.Context(), f.connections()[0], time.Now().Add(2*time.Hour))
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}
