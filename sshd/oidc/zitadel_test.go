package oidc

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"berth/test/peers"
)

// TestZitadel signs in at a provider of another project.
func TestZitadel(t *testing.T) {
	at := peers.NewZitadel(t, "alice")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(at.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := DefaultSettings()
	s.Issuer, s.ClientID, s.ClientSecretFile, s.CAFile = at.Issuer, at.ClientID, file, at.CAFile
	for _, tt := range []struct {
		name, claim, action string
		late                bool // the server has asked before
		want                Person
		err                 error
	}{
		{"allowed", "preferred_username", "allowed", false, Person{Name: "alice", Subject: "alice", Claim: "alice"}, nil},
		{"allowed late", "preferred_username", "allowed", true, Person{Name: "alice", Subject: "alice", Claim: "alice"}, nil},
		{"by email", "email", "allowed", false, Person{Name: "alice", Subject: "alice", Claim: "alice@corp.example"}, nil},
		{"denied", "preferred_username", "denied", false, Person{}, ErrNotSignedIn},
		{"no such claim", "upn", "allowed", false, Person{}, ErrToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := s
			if s.Claim = tt.claim; s.Claim == "email" {
				s.Scopes, s.Suffix = append(s.Scopes, "email"), "@corp.example"
			}
			p, err := Open(s)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.client.CloseIdleConnections)
			sign, err := p.Begin(t.Context(), netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			defer sign.Close()
			press := func() {
				if err := at.SignIn(t.Context(), sign.Complete, "alice", tt.action); err != nil {
					t.Error(err)
				}
			}
			polls := &afterPending{RoundTripper: p.client.Transport, then: press}
			if tt.late {
				p.client.Transport = polls
			} else {
				press()
			}
			who, err := sign.Wait(t.Context())
			if polls.done != tt.late {
				t.Errorf("pending: %t, want %t", polls.done, tt.late)
			}
			if who != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v, want %+v, %v", who, err, tt.want, tt.err)
			}
		})
	}
}

// An afterPending calls then after the first answer that nobody has signed in yet.
type afterPending struct {
	http.RoundTripper
	then func()
	done bool
}

func (a *afterPending) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.RoundTripper.RoundTrip(r)
	if err != nil || a.done || r.URL.Path != "/oauth/token" {
		return answer, err
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(text))
	if a.done = bytes.Contains(text, []byte(`"authorization_pending"`)); a.done {
		a.then()
	}
	return answer, err
}
