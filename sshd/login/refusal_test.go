package login

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// kinds is a store that remembers what is held against sources.
type kinds struct {
	state.Store
	held []state.Kind
}

func (k *kinds) Penalize(remote netip.Addr, kind state.Kind) {
	k.held = append(k.held, kind)
	k.Store.Penalize(remote, kind)
}

// answering is a directory that answers every bind with err.
type answering struct {
	*world
	err error
}

func (d answering) Authenticate(context.Context, *directory.User, string) error { return d.err }

// TestWhatARefusalIsReportedAs: the type of the event, its reason, and the penalty
// of the source.
func TestWhatARefusalIsReportedAs(t *testing.T) {
	password := func(name string) func(*Attempt) { return func(a *Attempt) { a.password(meta{name}, []byte("x")) } }
	offer := func(name string) func(*Attempt) {
		return func(a *Attempt) {
			a.offer(meta{name}, otherKey)
			a.Failed()
		}
	}
	tests := map[string]struct {
		do     func(*Attempt)
		bind   error // the answer of the directory
		kind   event.Type
		reason event.Reason
		held   []state.Kind
	}{
		"wrong password":     {password("alice"), &directory.Refusal{Why: directory.ErrBadPassword}, event.LoginRejected, event.BadPassword, []state.Kind{state.LoginFailed}},
		"unknown user":       {password("zoe"), nil, event.LoginRejected, event.UnknownUser, []state.Kind{state.UnknownUser}},
		"too many passwords": {password("alice"), &directory.Refusal{Why: directory.ErrShielded}, event.LoginShielded, event.Shielded, []state.Kind{state.LoginFailed}},
		"directory is down":  {password("alice"), errors.New("no server answers"), event.LoginRejected, event.DirectoryUnavailable, nil},
		"refused key":        {offer("alice"), nil, event.LoginRejected, event.KeyNotAccepted, []state.Kind{state.LoginFailed}},
		"key of nobody":      {offer("zoe"), nil, event.LoginRejected, event.UnknownUser, []state.Kind{state.UnknownUser}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(directory.StatusActive)
			w.policy = &policy.Policy{}
			a := newAttempt(w)
			store := &kinds{Store: a.gate.State}
			a.gate.State, a.gate.Directory = store, answering{w, tt.bind}
			tt.do(a)
			if len(w.events) != 1 || w.events[0].Type != tt.kind || w.events[0].Reason != tt.reason {
				t.Errorf("events %+v, want one %v with %v", w.events, tt.kind, tt.reason)
			}
			if !slices.Equal(store.held, tt.held) {
				t.Errorf("held against the source: %v, want %v", store.held, tt.held)
			}
		})
	}
}

// TestWhatCannotBeChecked: that this server cannot read or know what it needs is held
// against nobody.
func TestWhatCannotBeChecked(t *testing.T) {
	dir := t.TempDir()
	settings := totp.Settings{File: filepath.Join(dir, "totp"), KeyFile: filepath.Join(dir, "key")}
	secrets, err := totp.Open(settings, "corp")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings.File, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	started := func() time.Time { return time.Now().Add(time.Hour) } // after each code of now
	for reason, tt := range map[event.Reason]struct {
		status  directory.Status
		require []string
		tries   []try
		codes   *totp.Codes
	}{
		event.CodesUnreadable: {directory.StatusActive, []string{methodPublicKey, factorCode}, []try{{methodPublicKey, true}, {factorCode, true}}, &totp.Codes{File: secrets}},
		event.CodeTooOld:      {directory.StatusActive, []string{methodPublicKey, factorCode}, []try{{methodPublicKey, true}, {factorCode, true}}, &totp.Codes{Since: started}},
		event.StateUnknown:    {directory.StatusUnknown, []string{methodPublicKey}, []try{{methodPublicKey, true}}, nil},
	} {
		w := newWorld(tt.status)
		w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{tt.require}}
		a := newAttempt(w)
		store := &kinds{Store: a.gate.State}
		a.gate.State, a.gate.Codes = store, tt.codes
		g, _, _ := play(w, a, tt.tries, false)
		if last := w.events[len(w.events)-1]; g != nil || last.Reason != reason || len(store.held) > 0 {
			t.Errorf("%v: grant %v, event %+v, held against the source: %v", reason, g, last, store.held)
		}
	}
}

// TestStateIsForWhoIsAsked: a method that the rules do not ask for now is refused alike,
// whatever the state of the account is.
func TestStateIsForWhoIsAsked(t *testing.T) {
	for _, require := range [][]string{{methodPassword}, {methodPassword, methodPublicKey}} {
		for _, status := range []directory.Status{directory.StatusActive, directory.StatusDisabled, directory.StatusLocked, directory.StatusMustChange} {
			w := newWorld(status)
			w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{require}}
			a := newAttempt(w)
			g, _, text := play(w, a, []try{{methodPublicKey, true}}, false)
			if g != nil || text != "" || a.penalized || len(w.events) != 1 || w.events[0].Reason != event.MethodNotAccepted {
				t.Errorf("%v, and the rules ask for %v: the client reads %q, penalty: %t, events %+v", status, require, text, a.penalized, w.events)
			}
		}
	}
}

// trimming is a directory that ignores blanks around a name, as LDAP does.
type trimming struct{ *world }

func (d trimming) Lookup(ctx context.Context, name string) (*directory.User, error) {
	return d.world.Lookup(ctx, strings.TrimSpace(name))
}

// TestBlanksAreNotIgnored: the directory is never asked about a name that nobody
// can have, whatever the method and the try.
func TestBlanksAreNotIgnored(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	a := newAttempt(w)
	a.gate.Directory = trimming{w}
	m := meta{"alice "}
	for range 2 {
		if _, err := a.offer(m, testKey); err == nil {
			t.Error("a key was accepted")
		}
		if _, err := a.password(m, []byte(rightPassword)); err == nil || w.binds > 0 {
			t.Errorf("the password: %v after %d binds, want it refused without one", err, w.binds)
		}
	}
}

// TestChangeRequestIsOneSession: the request for a new password and the try that
// answers it count as one session of the user.
func TestChangeRequestIsOneSession(t *testing.T) {
	w := newWorld(directory.StatusMustChange)
	w.policy = &policy.Policy{Services: []string{"passwd"}, Limits: policy.Limits{Sessions: 1}}
	a := newAttempt(w)
	memory := state.NewMemory(state.DefaultSettings())
	a.gate.State, a.pre = memory, patchedPre{preAuth{w: w}}
	_, err := a.password(meta{"alice"}, []byte(rightPassword))
	var asks asksForNew
	if !errors.As(err, &asks) {
		t.Fatalf("login = %v, want a new password asked for", err)
	}
	_, change := asks.PasswordChange()
	if _, err := change(meta{"alice"}, []byte(rightPassword), []byte(newPassword)); err != nil {
		t.Errorf("change = %v, want it accepted", err)
	}
	if _, sessions, _ := memory.Counts(); sessions != 1 {
		t.Errorf("%d sessions are counted, want one", sessions)
	}
	a.Release()
	if _, sessions, _ := memory.Counts(); sessions != 0 {
		t.Errorf("%d sessions are counted after the end, want none", sessions)
	}
}

// TestBarredNameInEvents: an event of a try that was refused before the name was
// looked up has this name, and not the user of an earlier try.
func TestBarredNameInEvents(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	a := newAttempt(w)
	a.offer(meta{"alice"}, otherKey)
	for range 5 {
		a.gate.State.Penalize(a.peer.Source, state.LoginFailed)
	}
	a.password(meta{"bob"}, []byte("x"))
	a.Failed()
	var got []string
	for _, e := range w.events {
		got = append(got, e.User+" "+e.UserID+" "+e.Directory+" "+e.Reason.String())
	}
	want := []string{"bob   source_penalized", "alice " + w.user.ID + " corp key_not_accepted"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestNulAndNothingAreNoPasswords: some directories take a bind without a password
// as one that succeeds, and others end a password at a NUL.
func TestNulAndNothingAreNoPasswords(t *testing.T) {
	for _, p := range []string{"", rightPassword + "\x00x"} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		a := newAttempt(w)
		a.gate.Directory = answering{w, nil}
		for name, login := range map[string]func() (*ssh.Permissions, error){
			"password": func() (*ssh.Permissions, error) { return a.password(meta{"alice"}, []byte(p)) },
			"keyboard-interactive": func() (*ssh.Permissions, error) {
				return a.interactive(meta{"alice"}, func(string, string, []string, []bool) ([]string, error) { return []string{p}, nil })
			},
		} {
			if granted, err := login(); granted != nil || ReasonOf(err) != event.BadPassword {
				t.Errorf("%s %q: %v, want a wrong password", name, p, err)
			}
		}
	}
}

// TestDecisionsInTheLog: at the level debug an administrator sees which key was offered
// and which rule did not match, each with the reason.
func TestDecisionsInTheLog(t *testing.T) {
	rules, err := policy.Compile([]policy.Rule{
		{Name: "finance", When: policy.When{Groups: []string{"finance"}}},
		{Name: "everybody"},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAttempt(newWorld(directory.StatusActive))
	var lines strings.Builder
	a.gate.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &lines, DisableTime: true})
	a.log, a.gate.Rules = a.gate.Log, rules
	cb := a.callbacks()
	cb.PublicKeyCallback(meta{"alice"}, otherKey)
	cb.PasswordCallback(meta{"alice"}, []byte(rightPassword))
	got := strings.ReplaceAll(lines.String(), `"`, "") // some values have quotes
	for _, want := range []string{
		"key offered: name=alice key=" + ssh.FingerprintSHA256(otherKey) + " error=key not accepted: ",
		"rule: user=alice method=password rule=finance matches=false why=groups: ",
		"rule: user=alice method=password rule=everybody matches=true",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line has %q:\n%s", want, got)
		}
	}
}
