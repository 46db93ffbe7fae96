package login

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

// TestForm: a form proves a password and a code, never more and never less.
func TestForm(t *testing.T) {
	const service = "console_read"
	for _, tt := range []struct {
		name           string
		change         func(*world)
		password, code string
		want           error
	}{
		{name: "a password", password: rightPassword},
		{name: "a wrong password", password: "wrong", want: directory.ErrBadPassword},
		{name: "no password", want: directory.ErrBadPassword},
		{name: "a rule without the service", change: func(w *world) { w.policy.Services = []string{"sftp"} }, password: rightPassword, want: policy.ErrDenied},
		{name: "a code", change: func(w *world) { w.policy.Require = [][]string{{"password", "totp"}} }, password: rightPassword, code: "right"},
		{name: "a wrong code", change: func(w *world) { w.policy.Require = [][]string{{"password", "totp"}} }, password: rightPassword, code: "000000", want: errCode},
		{name: "no code", change: func(w *world) { w.policy.Require = [][]string{{"password", "totp"}} }, password: rightPassword, want: errCode},
		{name: "a right code and a wrong password", change: func(w *world) { w.policy.Require = [][]string{{"password", "totp"}} }, password: "wrong", code: "right", want: directory.ErrBadPassword},
		{name: "a key is missing", change: func(w *world) { w.policy.Require = [][]string{{"password", "publickey"}} }, password: rightPassword, want: errMethod},
		{name: "only a key", change: func(w *world) { w.policy.Require = [][]string{{"publickey"}} }, password: rightPassword, want: errMethod},
		{name: "must change", change: func(w *world) { w.user.State.Status = directory.StatusMustChange }, password: rightPassword, want: ErrNoAnswer},
		{name: "disabled", change: func(w *world) { w.user.State.Status = directory.StatusDisabled }, password: rightPassword, want: directory.ErrDisabled},
	} {
		w := newWorld(directory.StatusActive)
		gate := newAttempt(w).gate
		w.policy = &policy.Policy{}
		w.policy.Services = []string{service, "passwd"}
		if tt.change != nil {
			tt.change(w)
		}
		if tt.code == "right" {
			tt.code = codeOf(tokenSecret)
		}
		grant, release, _, err := gate.Form(context.Background(), Form{
			Peer: Peer{Session: "s", Remote: netip.MustParseAddrPort("192.0.2.1:9")}, Client: "browser", Service: service,
			Name: w.user.Name, Password: tt.password, Code: tt.code,
		})
		accepted := slices.ContainsFunc(w.events, func(e event.Event) bool { return e.Type == event.LoginAccepted && e.Service == service })
		if !errors.Is(err, tt.want) || (grant == nil) != (tt.want != nil) || accepted != (tt.want == nil) || w.changes > 0 {
			t.Errorf("%s: grant %v, error %v, accepted %t, %d passwords changed; want %v", tt.name, grant != nil, err, accepted, w.changes, tt.want)
		}
		if release != nil {
			release()
		}
		if _, err := gate.State.Acquire(w.user.Identity.String(), 1); err != nil {
			t.Errorf("%s: the session is still counted: %v", tt.name, err)
		}
	}
}

// failing are rules with a fault that shows when a session is counted.
type failing struct{ Rules }

func (failing) Hash() string { panic("a bug") }

// TestFormPanics: a login that a panic has ended leaves no session counted.
func TestFormPanics(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{Services: []string{"console_read"}}
	gate := newAttempt(w).gate
	gate.Rules = failing{w}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		gate.Form(t.Context(), Form{
			Peer: Peer{Session: "s", Remote: netip.MustParseAddrPort("192.0.2.1:9")}, Service: "console_read",
			Name: w.user.Name, Password: rightPassword,
		})
	}()
	if _, err := gate.State.Acquire(w.user.Identity.String(), 1); err != nil {
		t.Errorf("the session is still counted: %v", err)
	}
}
