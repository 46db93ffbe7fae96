package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
)

// TestRefusalsTakeTheirTime: whatever a refusal is about, and however quickly or
// slowly the directory answers, it takes RefusalDelay.
func TestRefusalsTakeTheirTime(t *testing.T) {
	keyFirst := [][]string{{"publickey", "password"}}
	withCode := [][]string{{"password", "totp"}}
	password := func(name, p string) func(*Attempt) {
		return func(a *Attempt) { a.password(meta{name}, []byte(p)) }
	}
	offer := func(name string, keys ...ssh.PublicKey) func(*Attempt) {
		return func(a *Attempt) {
			for _, k := range keys {
				a.offer(meta{name}, k)
			}
		}
	}
	dialogue := func(name string, right bool) func(*Attempt) {
		return func(a *Attempt) {
			asked := time.Now()
			a.interactive(meta{name}, func(_, _ string, questions []string, _ []bool) ([]string, error) {
				if questions[0] == promptCode && time.Since(asked) != delay {
					panic("the code is asked for after " + time.Since(asked).String())
				}
				n := answer{try: try{methodInteractive, right}, code: "000000"}
				return n.challenge("", "", questions, nil)
			})
		}
	}
	tests := []struct {
		name    string
		require [][]string
		do      func(*Attempt)
		want    time.Duration
	}{
		{"wrong password", nil, password("alice", "x"), delay},
		{"unknown user", nil, password("zoe", "x"), delay},
		{"impossible name", nil, password("zoe ", "x"), delay},
		{"password before the key", keyFirst, password("alice", rightPassword), delay},
		{"password without the code", withCode, password("alice", rightPassword), delay},
		{"refused key", nil, offer("alice", otherKey), delay},
		{"key for an unknown user", nil, offer("zoe", otherKey), delay},
		{"two refused keys", nil, offer("alice", otherKey, otherKey), delay},
		{"keys for two names", nil, func(a *Attempt) { offer("alice", otherKey)(a); offer("zoe", otherKey)(a) }, 2 * delay},
		{"wrong code", withCode, dialogue("alice", true), 2 * delay}, // one before the question
		{"unknown user with code", withCode, dialogue("zoe", false), 2 * delay},
		{"right password", nil, password("alice", rightPassword), 0},
	}
	for _, tt := range tests {
		for _, slow := range []time.Duration{0, delay / 2} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(directory.StatusActive)
				w.policy = &policy.Policy{Require: tt.require}
				w.slow = slow
				a := newAttempt(w)
				a.gate.RefusalDelay = delay
				began := time.Now()
				tt.do(a)
				got, want := time.Since(began), tt.want
				if tt.want == 0 {
					want = 2 * slow // a look-up and a bind
				}
				if got != want {
					t.Errorf("%s, the directory takes %v: answered after %v, want %v", tt.name, slow, got, want)
				}
			})
		}
	}
}

const delay = 400 * time.Millisecond

// TestWorkIsWithoutWaiting: the reported time of a login is that of the
// server, without waiting for the person and without the delay of a refusal.
func TestWorkIsWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		w.slow = 30 * time.Millisecond
		a := newAttempt(w)
		a.gate.RefusalDelay = delay
		a.password(meta{"alice"}, []byte("x"))
		g, err := a.interactive(meta{"alice"}, func(_, _ string, questions []string, _ []bool) ([]string, error) {
			time.Sleep(time.Minute) // the person types
			return []string{rightPassword}, nil
		})
		if g == nil {
			t.Fatal(err)
		}
		accepted := w.events[len(w.events)-1]
		if accepted.Type != event.LoginAccepted || accepted.Work != 4*w.slow {
			t.Errorf("%v with work %v, want a login with %v, of two look-ups and two binds", accepted.Type, accepted.Work, 4*w.slow)
		}
	})
}

// TestWrongFactorsArePaidFor: every wrong secret and key is held against the
// source, whatever came before it was right.
func TestWrongFactorsArePaidFor(t *testing.T) {
	key, password, code := methodPublicKey, methodPassword, factorCode
	for _, tries := range [][]try{
		{{password, false}},
		{{key, false}},
		{{methodInteractive, false}},
		{{key, true}, {password, false}},
		{{key, true}, {code, false}},
	} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		if len(tries) == 2 {
			w.policy.Require = [][]string{{tries[0].factor, tries[1].factor}}
		}
		a := newAttempt(w)
		store := &countingStore{Store: state.NewMemory(state.DefaultSettings())}
		a.gate.State = store
		if g, _, _ := play(w, a, tries, false); g != nil || store.penalties != 1 {
			t.Errorf("%v: %d penalties, want one", tries, store.penalties)
		}
	}
}

// TestExpiredWithoutPasswd: somebody who could do nothing but change the password,
// and may not, is not let in.
func TestExpiredWithoutPasswd(t *testing.T) {
	for _, factor := range []string{methodPublicKey, methodPassword, methodInteractive} {
		w := newWorld(directory.StatusPasswordExpired)
		w.policy = &policy.Policy{Services: []string{"sftp"}}
		g, _, text := play(w, newAttempt(w), []try{{factor, true}}, true)
		if g != nil || text != "Your password has expired.\n" {
			t.Errorf("%s: grant %v, told %q", factor, g, text)
		}
	}
}

// TestPasswordChangedElsewhere: a cache that remembers the person from before a
// change does not make the next re-check end the session.
func TestPasswordChangedElsewhere(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	cached := directory.NewCache(w, time.Hour, 0)
	a := newAttempt(w)
	a.gate.Directory = cached
	if _, err := cached.Lookup(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	w.user.State.PasswordChanged = time.Now()
	g, _, _ := play(w, a, []try{{methodPassword, true}}, false)
	if g == nil {
		t.Fatal("no login")
	}
	now := w.user
	if next, err := a.gate.Review(g, &now, nil); next != g || err != nil {
		t.Errorf("Review = %v, %v, want the grant to stay", next, err)
	}
}

// TestLookupsAgeWithinALogin: the look-up of the first method is not used for
// the whole login grace.
func TestLookupsAgeWithinALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		a := newAttempt(w)
		a.offer(meta{"alice"}, otherKey)
		time.Sleep(time.Minute)
		w.user.State.Status = directory.StatusDisabled
		if g, _, _ := play(w, a, []try{{methodPublicKey, true}}, false); g != nil {
			t.Error("disabled a minute ago, and in")
		}
	})
}

// selfRead is a directory without a service account: who a user is can be read
// only by the user, over a connection that a bind has opened.
type selfRead struct {
	*world
	bound *bool
}

func (s selfRead) Lookup(ctx context.Context, name string) (*directory.User, error) {
	u, err := s.world.Lookup(ctx, name)
	if err == nil && !*s.bound {
		u = &directory.User{Identity: directory.Identity{Source: u.Source}, Name: u.Name}
	}
	return u, err
}

func (s selfRead) Authenticate(ctx context.Context, u *directory.User, password string) error {
	err := s.world.Authenticate(ctx, u, password)
	*s.bound = err == nil
	return err
}

func TestWithoutServiceAccount(t *testing.T) {
	for _, status := range []directory.Status{directory.StatusActive, directory.StatusMustChange, directory.StatusDisabled} {
		w := newWorld(status)
		w.policy = &policy.Policy{Services: []string{"passwd"}}
		a := newAttempt(w)
		a.gate.Directory = selfRead{w, new(bool)}
		g, asked, _ := play(w, a, []try{{methodInteractive, true}}, true)
		if (g != nil) != (status != directory.StatusDisabled) || asked != (status == directory.StatusMustChange) {
			t.Errorf("%v: grant %v, asked for a new password: %t", status, g, asked)
		}
		if g != nil && (g.User.ID != "7" || g.Restriction != nil) {
			t.Errorf("%v: in as %+v, restricted by %v", status, g.User.Identity, g.Restriction)
		}
	}
}

// TestTicketsEndWithThePassword: a ticket was issued for a password.
func TestTicketsEndWithThePassword(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	g := newAttempt(w).gate
	for factor, ends := range map[string]bool{
		methodTicket: true, methodPassword: true, methodInteractive: true, methodPublicKey: false,
	} {
		w.user.State.PasswordChanged = time.Now().Add(-time.Hour)
		p := proofs{}.with(&proof{factors: []string{factor}}, &w.user, nil)
		grant, err := g.judge(p, &w.user, netip.MustParseAddr("192.0.2.1"), false)
		if err != nil {
			t.Fatal(err)
		}
		if next, err := g.Review(grant, &w.user, nil); next != grant || err != nil {
			t.Errorf("%s, and no other password: %v, %v", factor, next, err)
		}
		changed := w.user
		changed.State.PasswordChanged = time.Now()
		if _, err := g.Review(grant, &changed, nil); (err != nil) != ends {
			t.Errorf("%s, and then another password: %v, want the session to end: %t", factor, err, ends)
		}
		changed.Cached = true // from before, while no server answers
		if _, err := g.Review(grant, &changed, nil); err != nil {
			t.Errorf("%s, by what was known before: %v", factor, err)
		}
	}
}

// graceful lets people in whose password has expired, a few times more.
type graceful struct{ *world }

func (g graceful) Authenticate(context.Context, *directory.User, string) error { return nil }

func TestGraceLogins(t *testing.T) {
	w := newWorld(directory.StatusPasswordExpired)
	w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}}
	a := newAttempt(w)
	a.gate.Directory = graceful{w}
	g, asked, _ := play(w, a, []try{{methodInteractive, true}}, false)
	if g == nil || g.Restriction != nil || asked {
		t.Fatalf("grant %+v, asked for a new password: %t; want a login, as the directory says", g, asked)
	}
	if next, err := a.gate.Review(g, &w.user, nil); next != g || err != nil {
		t.Errorf("Review = %+v, %v, want the session to stay as it is", next, err)
	}
	w.user.State.Status = directory.StatusDisabled
	if _, err := a.gate.Review(g, &w.user, nil); err == nil {
		t.Error("a disabled user stays")
	}
}

// TestOwnChangeThenAnother: the change in the login does not end the session, and the next
// one by somebody else does, also before the first re-check.
func TestOwnChangeThenAnother(t *testing.T) {
	for _, reviews := range []int{3, 0} {
		w := newWorld(directory.StatusMustChange)
		w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}}
		a := newAttempt(w)
		g, _, _ := play(w, a, []try{{methodInteractive, true}}, true)
		if g == nil || w.changes != 1 {
			t.Fatalf("grant %v after %d changes", g, w.changes)
		}
		for range reviews {
			next, err := a.gate.Review(g, &w.user, nil)
			if err != nil {
				t.Fatalf("the session ends by the user's own change: %v", err)
			}
			g = next
		}
		w.user.State.PasswordChanged = w.user.State.PasswordChanged.Add(time.Second)
		if _, err := a.gate.Review(g, &w.user, nil); err == nil {
			t.Errorf("after %d re-checks: the password is another one, and the session goes on", reviews)
		}
	}
}

// unchecked says that the password has expired before it compares it, as some
// servers do.
type unchecked struct{ *world }

func (u unchecked) Authenticate(context.Context, *directory.User, string) error {
	return &directory.Refusal{Why: directory.ErrPasswordExpired}
}

func TestExpiryWithoutProofIsNoProof(t *testing.T) {
	for _, method := range []string{methodPassword, methodInteractive} {
		w := newWorld(directory.StatusPasswordExpired)
		w.policy = &policy.Policy{Services: []string{"passwd"}}
		a := newAttempt(w)
		a.gate.Directory = unchecked{w}
		g, asked, text := play(w, a, []try{{method, false}}, true)
		if g != nil || asked || text != "" {
			t.Errorf("%s: grant %v, asked for a new password: %t, told %q; want a refusal without a word", method, g, asked, text)
		}
	}
}

// TestCachedLogins: an event says that the directory was not asked just now.
func TestCachedLogins(t *testing.T) {
	for _, cached := range []bool{false, true} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		w.user.Cached = cached
		if g, _, _ := play(w, newAttempt(w), []try{{methodPassword, true}}, false); g == nil {
			t.Fatal("no login")
		}
		accepted := w.events[len(w.events)-1]
		if got := accepted.Fields["directory"]; accepted.Type != event.LoginAccepted || (got == "cached") != cached {
			t.Errorf("%v, directory %q; cached is %t", accepted.Type, got, cached)
		}
	}
}

// TestProved: an error that is no refusal stays an error, and is not marked
// as proved.
func TestProved(t *testing.T) {
	down := errors.New("no server answers")
	if err := proved(down); err != down {
		t.Errorf("%v became %v", down, err)
	}
	refusal := &directory.Refusal{Why: directory.ErrDisabled}
	if err := proved(fmt.Errorf("ask: %w", refusal)); !directory.Proved(err) || refusal.Proved {
		t.Errorf("%v: proved %t, and the one it was made of %t", err, directory.Proved(err), refusal.Proved)
	}
}

// TestMethodOfACode: events name the method of SSH by which a one-time code was asked for.
func TestMethodOfACode(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{Require: [][]string{{methodPublicKey, factorCode}}}
	play(w, newAttempt(w), []try{{methodPublicKey, true}, {factorCode, false}}, false)
	rejected := w.events[len(w.events)-1]
	if rejected.Type != event.LoginRejected || rejected.Method != methodInteractive {
		t.Errorf("%v by %q, want a refusal by %q", rejected.Type, rejected.Method, methodInteractive)
	}
	for _, e := range w.events {
		if e.Type == event.LoginPartial && e.Method != methodPublicKey {
			t.Errorf("the key was accepted by %q", e.Method)
		}
	}
}
