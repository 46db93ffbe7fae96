package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
)

// TestBetweenFactors changes the account after the first of two factors.
func TestBetweenFactors(t *testing.T) {
	status := func(s directory.Status) func(*directory.User) {
		return func(u *directory.User) { u.State.Status = s }
	}
	tests := []struct {
		name    string
		between func(*directory.User)
		want    string // "in", "restricted", "out"
	}{
		{"nothing", func(*directory.User) {}, "in"},
		{"disabled", status(directory.StatusDisabled), "out"},
		{"unreadable", status(directory.StatusUnknown), "out"},
		{"must change", status(directory.StatusMustChange), "restricted"},
		{"somebody else has the name", func(u *directory.User) { u.ID = "8" }, "out"},
		{"the same id in another directory", func(u *directory.User) { u.Source = "partner" }, "out"},
		{"the key is removed", func(u *directory.User) { u.Keys = nil }, "out"},
	}
	key, password, code := try{methodPublicKey, true}, try{methodPassword, true}, try{factorCode, true}
	ticket, signIn := try{methodTicket, true}, try{methodBrowser, true}
	keytab := newKeytab(t)
	for _, order := range [][]try{
		{key, password},
		{key, code},
		{password, key},
		{key, ticket},
		{key, signIn},
		{password, ticket},
		{password, signIn},
		{ticket, code},
		{ticket, password},
		{ticket, signIn},
		{signIn, code},
		{signIn, password},
		{signIn, ticket},
	} {
		chain := []string{order[0].factor, order[1].factor}
		for _, tt := range tests {
			if order[0] != key && tt.name == "the key is removed" {
				continue // no key was used, or it is refused when it is offered
			}
			w := newWorld(directory.StatusActive)
			w.keytab, w.browser = keytab, &browser{}
			w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}, Require: [][]string{chain}}
			w.between = tt.between
			g, _, _ := play(w, newAttempt(w), order, false)
			got := "out"
			if g != nil && g.Restriction != nil {
				got = "restricted"
			} else if g != nil {
				got = "in"
			}
			if got != tt.want {
				t.Errorf("%v, after the first %s: got %s, want %s", chain, tt.name, got, tt.want)
			}
		}
	}
}

// TestRestrictionOfTheBind: some servers say only in the bind that a password
// must be changed. A later factor does not make that undone.
func TestRestrictionOfTheBind(t *testing.T) {
	keytab := newKeytab(t)
	for _, later := range []string{methodPublicKey, methodTicket, methodBrowser} {
		w := newWorld(directory.StatusActive)
		w.keytab, w.browser = keytab, &browser{}
		w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}, Require: [][]string{{methodPassword, later}}}
		a := newAttempt(w)
		a.gate.Directory = restricting{w}
		g, _, _ := play(w, a, []try{{methodPassword, true}, {later, true}}, false)
		if g == nil || !errors.Is(g.Restriction, directory.ErrMustChange) {
			t.Errorf("%s: grant = %+v, want one that is restricted", later, g)
		}
	}
}

type restricting struct{ *world }

func (r restricting) Authenticate(ctx context.Context, u *directory.User, password string) error {
	if err := r.world.Authenticate(ctx, u, password); err != nil {
		return err
	}
	return &directory.Refusal{Why: directory.ErrMustChange, Proved: true, Bound: true}
}

// TestEachNamePays offers a key for several names on one connection.
func TestEachNamePays(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	s := state.DefaultSettings()
	s.Penalties.Min, s.Penalties.Max = time.Hour, time.Hour
	a := newAttempt(w)
	store := &countingStore{Store: state.NewMemory(s)}
	a.gate.State = store
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		for range 3 {
			if _, err := a.offer(meta{name}, otherKey); err == nil {
				t.Fatal("a key of nobody was accepted")
			}
		}
	}
	a.Failed()
	var reasons []string
	for _, e := range w.events {
		reasons = append(reasons, e.User+" "+e.Reason.String())
	}
	want := []string{"alice key_not_accepted", "bob unknown_user", "carol unknown_user", "dave unknown_user"}
	if !slices.Equal(reasons, want) || store.penalties != len(want) {
		t.Errorf("events %q and %d penalties, want %q and one each", reasons, store.penalties, want)
	}
	if w.lookups != len(want) {
		t.Errorf("the directory was asked %d times, want once for each name", w.lookups)
	}
}

type countingStore struct {
	state.Store
	penalties int
}

func (c *countingStore) Penalize(remote netip.Addr, k state.Kind) {
	c.penalties++
	c.Store.Penalize(remote, k)
}

// TestBarredInTheMiddle: a connection that is open is of no use to a source that
// has failed too often elsewhere, for any name.
func TestBarredInTheMiddle(t *testing.T) {
	for _, name := range []string{"alice", "zoe"} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		a := newAttempt(w)
		for range 5 {
			a.gate.State.Penalize(a.peer.Source, state.LoginFailed)
		}
		_, err := a.password(meta{name}, []byte(rightPassword))
		var banner *ssh.BannerError
		if !errors.As(err, &banner) || !strings.Contains(banner.Message, "from your address") || w.binds != 0 {
			t.Errorf("%s: got %v after %d binds, want to be told that the address is barred", name, err, w.binds)
		}
		if _, err := a.offer(meta{name}, testKey); err == nil {
			t.Errorf("%s: a key was accepted", name)
		}
	}
}

// TestPenaltiesTellNothing: with a key required first, a right password costs
// what a wrong one does, and is not asked about.
func TestPenaltiesTellNothing(t *testing.T) {
	var seen []string
	for _, right := range []bool{true, false} {
		for _, method := range []string{methodPassword, methodInteractive} {
			w := newWorld(directory.StatusActive)
			w.policy = &policy.Policy{Require: [][]string{{"publickey", "password"}}}
			a := newAttempt(w)
			a.gate.Codes = nil
			_, _, text := play(w, a, []try{{method, right}}, true)
			seen = append(seen, fmt.Sprint(text, a.penalized, w.binds, len(w.events), w.events[0].Reason))
		}
	}
	for _, s := range seen {
		if s != seen[0] {
			t.Errorf("got %q, want the same for right and wrong", seen)
		}
	}
}

// TestReview makes the decision of the login again.
func TestReview(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}}
	a := newAttempt(w)
	g, _, _ := play(w, a, []try{{methodPassword, true}}, false)
	if g == nil {
		t.Fatal("no login")
	}
	review := func(change func(*directory.User), err error) (*Grant, error) {
		u := w.user
		change(&u)
		return a.gate.Review(g, &u, err)
	}
	same := func(*directory.User) {}
	if next, err := review(same, nil); next != g || err != nil {
		t.Errorf("nothing has changed: got %p, %v, want the grant itself, %p", next, err, g)
	}
	if next, err := review(same, errors.New("no server answers")); next != g || err != nil {
		t.Errorf("the directory is down: got %p, %v, want the grant itself", next, err)
	}
	moved, err := review(func(u *directory.User) { u.DN = "uid=alice,ou=elsewhere" }, nil)
	if err != nil || moved == g || moved.User.DN != "uid=alice,ou=elsewhere" || !moved.SameRights(g) {
		t.Errorf("moved: got %+v, %v, want the new DN and the same rights", moved, err)
	}
	w.policy = &policy.Policy{Services: w.policy.Services, ValidUntil: time.Now().Add(time.Hour)}
	if later, err := review(same, nil); err != nil || later == g || !later.SameRights(g) {
		t.Errorf("other hours: got %+v, %v, want another grant with the same rights", later, err)
	}
	narrowed, err := review(func(u *directory.User) { u.State.Status = directory.StatusMustChange }, nil)
	if err != nil || narrowed.Restriction == nil {
		t.Errorf("must change: got %+v, %v, want a restricted grant", narrowed, err)
	}
	for name, err := range map[string]error{
		"disabled": func() error {
			_, err := review(func(u *directory.User) { u.State.Status = directory.StatusDisabled }, nil)
			return err
		}(),
		"password changed": func() error {
			_, err := review(func(u *directory.User) { u.State.PasswordChanged = time.Now() }, nil)
			return err
		}(),
		"no user": func() error {
			_, err := a.gate.Review(g, nil, &directory.Refusal{Why: directory.ErrNoUser})
			return err
		}(),
		"another method is required": func() error {
			w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{{"publickey"}}}
			_, err := review(same, nil)
			return err
		}(),
		"another factor is required": func() error {
			w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{{"password", "totp"}}}
			_, err := review(same, nil)
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

// TestKeepIsForOpenSessions: with on_change: keep, too, a login does not succeed with a key
// that was removed between its offer and its signature, or between two factors, or with
// a password that was changed between two factors.
func TestKeepIsForOpenSessions(t *testing.T) {
	removed := func(w *world) { w.user.Keys = nil }
	for name, tt := range map[string]struct {
		require []string
		login   func(w *world, a *Attempt) error
		reason  event.Reason
	}{
		"offer": {[]string{methodPublicKey}, func(w *world, a *Attempt) error {
			perms, err := a.offer(meta{"alice"}, testKey)
			if err != nil {
				t.Fatal(err)
			}
			removed(w)
			a.name.at = time.Now().Add(-rememberFor)
			_, err = a.key(meta{"alice"}, testKey, perms, "")
			return err
		}, event.LoginKeyRemoved},
		"key first": {[]string{methodPublicKey, methodPassword}, func(w *world, a *Attempt) error {
			w.between = func(*directory.User) { removed(w) }
			if g, _, _ := play(w, a, []try{{methodPublicKey, true}, {methodPassword, true}}, false); g != nil {
				return nil
			}
			return errors.New("refused")
		}, event.LoginKeyRemoved},
		"password first": {[]string{methodPassword, methodPublicKey}, func(w *world, a *Attempt) error {
			w.between = func(u *directory.User) { u.State.PasswordChanged = time.Now() }
			if g, _, _ := play(w, a, []try{{methodPassword, true}, {methodPublicKey, true}}, false); g != nil {
				return nil
			}
			return errors.New("refused")
		}, event.LoginPasswordChanged},
	} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{tt.require}}
		a := newAttempt(w)
		a.gate.OnChange = onChangeKeep
		if err := tt.login(w, a); err == nil || w.events[len(w.events)-1].Reason != tt.reason {
			t.Errorf("%s: %v, events %+v", name, err, w.events)
		}
	}
}
