package login

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/oidc"
	"berth/sshd/oidc/oidctest"
)

// TestBusySignInKeepsItsPlace: a login gives its place among those that admission counts
// back only when the sign-in is counted instead.
func TestBusySignInKeepsItsPlace(t *testing.T) {
	at := oidctest.New(t)
	s := oidc.DefaultSettings()
	s.Issuer, s.ClientID, s.CAFile, s.MaxRunning = at.URL, at.ClientID, at.CAFile, 1
	provider, err := oidc.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	other, err := provider.Begin(t.Context(), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	a := newAttempt(w)
	a.gate.SignIn = provider
	waited, over := 0, 0
	a.peer.Waiting = func(time.Duration) (context.Context, func()) { waited++; return t.Context(), func() { over++ } }
	silent := func(string, string, []string, []bool) ([]string, error) { return nil, nil }
	if granted, err := a.browser(meta{"alice"}, silent); granted != nil || ReasonOf(err) != event.TooManySignIns || waited != 0 {
		t.Errorf("got %v, %v, and waited %d times", granted, err, waited)
	}
	other.Close()
	if _, err := a.browser(meta{"alice"}, silent); ReasonOf(err) == event.TooManySignIns || waited != 1 || over != 1 {
		t.Errorf("got %v, and waited %d times, over %d times", err, waited, over)
	}
}
