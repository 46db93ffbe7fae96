package sshd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
)

func TestReconsider(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "") // after its answer the session is open
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

// TestRulesChangeInOutage: other rules apply although no directory answers.
func TestRulesChangeInOutage(t *testing.T) {
	f := start(t)
	revoke := f.revocable()
	c := f.must(t)
	run1(t, c, "help", "")
	f.people.down = true
	revoke()
	f.Reconsider(t.Context())
	eventually(t, "the session has ended", func() bool { return len(f.events.reasons(event.LoginRevoked)) == 1 })
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
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
	f.change(func(p *policy.Policy) { p.ValidUntil = time.Now().Add(time.Hour) })
	revoke := f.revocable()
	run1(t, f.must(t), "help", "") // after its answer the session is open
	revoke()
	for _, open := range f.connections() {
		f.lapse(t.Context(), time.Now())
		if open.ending.Load() != nil {
			t.Error("ended before the hour")
		}
		f.lapse(t.Context(), time.Now().Add(2*time.Hour))
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
			f.change(func(p *policy.Policy) { p.Limits = tt.limits })
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

// TestIdleWithAnOpenFile checks that an open file alone does not keep a
// session from being idle. A client that sends data, or reads what it asked
// for, is not idle.
func TestIdleWithAnOpenFile(t *testing.T) {
	ch := &growing{Channel: oneByte{}}
	for _, tt := range []struct {
		name string
		move func() (int, error)
		want bool
	}{
		{"a byte was read", func() (int, error) { return ch.Read(make([]byte, 1)) }, true},
		{"a byte was written", func() (int, error) { return ch.Write([]byte("x")) }, true},
		{"the input has ended", func() (int, error) { return ch.Read(nil) }, false},
		{"nothing", func() (int, error) { return 0, nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, func(f *fixture) { f.Idle = time.Minute })
			files, err := sftp.NewClient(f.must(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := files.Create("/f"); err != nil {
				t.Fatal(err)
			}
			c := f.connections()[0]
			c.last.Store(int64(time.Since(c.peer.Opened) - 2*time.Minute))
			ch.conn = c
			if _, err := tt.move(); err != nil {
				t.Fatal(err)
			}
			c.enforceLimits(time.Now())
			why := c.ending.Load()
			if tt.want != (why == nil) || why != nil && why.reason != event.Idle {
				t.Errorf("closed for %v, want a session that stays: %t", why, tt.want)
			}
		})
	}
}

// oneByte is a channel that sends a byte at a time and takes everything.
type oneByte struct{ ssh.Channel }

func (oneByte) Read(p []byte) (int, error)  { return min(1, len(p)), nil }
func (oneByte) Write(p []byte) (int, error) { return len(p), nil }

// TestSilentClientsAreLetGo has a client that is not there any more: nothing
// answers on its side of the connection.
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

// TestWhatOpenedASession changes the keys, passwords and certificates of alice,
// and what they allow, during an open session.
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
		want     string // reason, "" if the session continues
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
			run1(t, c, "help", "") // after its answer the session is open
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
		f.people.users["alice"].State.PasswordChanged = time.Now() // as another server of the directory reports it, later
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
	var narrow atomic.Bool
	f.change(func(p *policy.Policy) {
		if narrow.Load() {
			p.Rules, p.Access = []string{"fewer"}, []policy.Access{{Path: "/", Ops: policy.ReadOnly}}
		}
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

// TestLookedUpInParts: within Recheck each user is looked up once, and not all at once.
func TestLookedUpInParts(t *testing.T) {
	people := make([]string, 600)
	for i := range people {
		people[i] = fmt.Sprint("u", i)
	}
	synctest.Test(t, func(t *testing.T) {
		asked := map[time.Duration][]string{}
		began := time.Now()
		srv := &Server{Log: hclog.NewNullLogger(), Gate: &login.Gate{Log: hclog.NewNullLogger()}, conns: map[*conn]struct{}{}}
		srv.Recheck = time.Minute
		srv.Gate.Rules = rules(func(policy.Request) (*policy.Policy, error) { return &policy.Policy{}, nil })
		srv.Gate.Directory = downDirectory{asked: func(names []string) { asked[time.Since(began)] = names }}
		for _, name := range people {
			c := &conn{srv: srv}
			c.grant.Store(&login.Grant{User: &directory.User{Name: name, State: directory.State{Status: directory.StatusActive}}, Policy: &policy.Policy{}})
			srv.conns[c] = struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
		defer cancel()
		srv.Watch(ctx)
		var all []string
		for at, names := range asked {
			if len(names) > len(people)/4 {
				t.Errorf("after %v %d of %d users at once", at, len(names), len(people))
			}
			all = append(all, names...)
		}
		slices.Sort(all)
		slices.Sort(people)
		if !slices.Equal(all, people) {
			t.Errorf("%d users were looked up within a minute, want each of %d once", len(all), len(people))
		}
	})
}

// A downDirectory answers nothing, and notes what it was asked.
type downDirectory struct {
	directory.Directory
	asked func(names []string)
}

func (d downDirectory) LookupMany(_ context.Context, names []string) map[string]directory.Answer {
	d.asked(names)
	answers := map[string]directory.Answer{}
	for _, name := range names {
		answers[name] = directory.Answer{Err: errors.New("down")}
	}
	return answers
}

// TestNewRulesAfterAnOlderReview: the review of a reload counts although the result of an
// older one, under the old rules, came between its question and its answer.
func TestNewRulesAfterAnOlderReview(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "")
	conn := f.connections()[0]
	until := time.Now().Add(time.Hour)
	f.change(func(p *policy.Policy) { p.ValidUntil = until })
	f.Gate.Directory = meanwhile{f.people, func() {
		older := *conn.grant.Load()
		conn.grant.Store(&older)
	}}
	f.Reconsider(t.Context())
	if got := conn.grant.Load().Policy.ValidUntil; !got.Equal(until) {
		t.Errorf("the new rules do not apply: they hold until %v, want %v", got, until)
	}
}

// A meanwhile has something happen before it answers.
type meanwhile struct {
	*people
	happens func()
}

func (m meanwhile) LookupMany(ctx context.Context, names []string) map[string]directory.Answer {
	answers := m.people.LookupMany(ctx, names)
	m.happens()
	return answers
}

// TestTheHourIsOneQuestion: the sessions that end at an hour do not wait for each other.
func TestTheHourIsOneQuestion(t *testing.T) {
	f := start(t)
	f.change(func(p *policy.Policy) { p.ValidUntil = time.Now().Add(time.Hour) })
	for range 5 {
		f.must(t)
	}
	lookups := func() int {
		f.people.mu.Lock()
		defer f.people.mu.Unlock()
		return f.people.lookups
	}
	before := lookups()
	f.lapse(t.Context(), time.Now().Add(2*time.Hour))
	if n := lookups() - before; n != 1 {
		t.Errorf("the user of five sessions was looked up %d times, want once", n)
	}
}

// TestTheHourEndsWithoutADirectory has a rule end while no server answers.
func TestTheHourEndsWithoutADirectory(t *testing.T) {
	f := start(t)
	f.change(func(p *policy.Policy) { p.ValidUntil = time.Now().Add(time.Hour) })
	revoke := f.revocable()
	c := f.must(t)
	run1(t, c, "help", "")
	revoke()
	f.people.mu.Lock()
	f.people.down = true
	f.people.mu.Unlock()
	f.lapse(t.Context(), time.Now().Add(2*time.Hour))
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}
