package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"berth/sshd/oidc/oidctest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func open(t *testing.T, at *oidctest.Provider, change func(*Settings)) *Provider {
	t.Helper()
	s := DefaultSettings()
	s.Issuer, s.ClientID, s.CAFile = at.URL, at.ClientID, at.CAFile
	if change != nil {
		change(&s)
	}
	if errs := s.Check("corp"); len(errs) > 0 {
		t.Fatal(errs)
	}
	p, err := Open(s, "corp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func signIn(t *testing.T, p *Provider) (Person, error) {
	t.Helper()
	s, err := p.Begin(t.Context(), netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		return Person{}, err
	}
	defer s.Close()
	return s.Wait(t.Context())
}

func TestSignIn(t *testing.T) {
	at := oidctest.New(t)
	at.Answers = []string{"authorization_pending"}
	p := open(t, at, nil)
	s, err := p.Begin(t.Context(), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Link != at.URL+"/activate" || s.Code != "ABCD-EFGH" || !strings.HasSuffix(s.Complete, "code=ABCD-EFGH") {
		t.Errorf("the person gets %q, %q, %q", s.Link, s.Code, s.Complete)
	}
	who, err := s.Wait(t.Context())
	if err != nil || who != (Person{Name: "alice", Subject: "sub-1", Claim: "alice"}) {
		t.Errorf("got %+v, %v", who, err)
	}
	if at.Polled != 2 {
		t.Errorf("the provider was asked %d times, want 2", at.Polled)
	}
}

// TestTokens: a token with any fault names no person.
func TestTokens(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tests := []struct {
		name   string
		change func(*Settings)
		claims map[string]any
		sign   func([]byte) (string, error)
		want   string // part of the error; empty: alice
	}{
		{name: "right"},
		{name: "signed by another key", sign: func(b []byte) (string, error) { return oidctest.SignWith(stranger, "first", jose.ES256, b) }, want: "failed to verify"},
		{name: "signed by an unknown key", sign: func(b []byte) (string, error) { return oidctest.SignWith(stranger, "other", jose.ES256, b) }, want: "failed to verify"},
		{name: "signed with the client's secret", sign: func(b []byte) (string, error) {
			return oidctest.SignWith([]byte("0123456789abcdef0123456789abcdef"), "first", jose.HS256, b)
		}, want: "malformed jwt"},
		{name: "not signed", sign: func(b []byte) (string, error) {
			e := base64.RawURLEncoding.EncodeToString
			return e([]byte(`{"alg":"none"}`)) + "." + e(b) + ".", nil
		}, want: "malformed jwt"},
		{name: "no token", sign: func([]byte) (string, error) { return "", nil }, want: "malformed jwt"},
		{name: "of another issuer", claims: map[string]any{"iss": "https://evil.example"}, want: "different provider"},
		{name: "for another client", claims: map[string]any{"aud": "mail"}, want: "expected audience"},
		{name: "for several clients", claims: map[string]any{"aud": []string{"mail", "berth"}}, want: "azp"},
		{name: "for several clients, issued to another", claims: map[string]any{"aud": []string{"mail", "berth"}, "azp": "mail"}, want: "azp"},
		{name: "for several clients, issued to us", claims: map[string]any{"aud": []string{"mail", "berth"}, "azp": "berth"}},
		{name: "of another sign-in", claims: map[string]any{"nonce": "other"}, want: "nonce"},
		{name: "without nonce", claims: map[string]any{"nonce": nil}},
		{name: "expired", claims: map[string]any{"exp": now.Add(-time.Minute).Unix()}, want: "expired"},
		{name: "not valid yet", claims: map[string]any{"nbf": now.Add(time.Hour).Unix()}, want: "nbf"},
		{name: "acr missing", change: func(s *Settings) { s.RequireACR = []string{"gold"} }, want: "acr"},
		{name: "acr wrong", change: func(s *Settings) { s.RequireACR = []string{"gold"} }, claims: map[string]any{"acr": "tin"}, want: "acr"},
		{name: "acr right", change: func(s *Settings) { s.RequireACR = []string{"silver", "gold"} }, claims: map[string]any{"acr": "gold"}},
		{name: "amr missing", change: func(s *Settings) { s.RequireAMR = []string{"mfa"} }, want: "amr"},
		{name: "amr in part", change: func(s *Settings) { s.RequireAMR = []string{"pwd", "mfa"} }, claims: map[string]any{"amr": []string{"pwd"}}, want: "amr"},
		{name: "amr right", change: func(s *Settings) { s.RequireAMR = []string{"mfa"} }, claims: map[string]any{"amr": []string{"pwd", "mfa"}}},
		{name: "auth_time missing", change: func(s *Settings) { s.MaxAge = time.Hour }, want: "authenticated at"},
		{name: "auth_time too old", change: func(s *Settings) { s.MaxAge = time.Hour }, claims: map[string]any{"auth_time": now.Add(-2 * time.Hour).Unix()}, want: "authenticated at"},
		{name: "auth_time right", change: func(s *Settings) { s.MaxAge = time.Hour }, claims: map[string]any{"auth_time": now.Unix()}},
		{name: "no claim", change: func(s *Settings) { s.Claim = "upn" }, want: `no claim "upn"`},
		{name: "claim is no text", claims: map[string]any{"preferred_username": 7}, want: "no claim"},
		{name: "claim empty", claims: map[string]any{"preferred_username": ""}, want: "no claim"},
		{name: "email not verified", change: func(s *Settings) { s.Claim = "email" }, claims: map[string]any{"email": "alice", "email_verified": false}, want: "not verified"},
		{name: "email of unknown truth", change: func(s *Settings) { s.Claim = "email" }, claims: map[string]any{"email": "alice"}, want: "not verified"},
		{name: "email verified", change: func(s *Settings) { s.Claim = "email" }, claims: map[string]any{"email": "alice", "email_verified": true}},
		{name: "another suffix", change: func(s *Settings) { s.Suffix = "@corp.example" }, claims: map[string]any{"preferred_username": "alice@evil.example"}, want: "does not end in"},
		{name: "only the suffix", change: func(s *Settings) { s.Suffix = "@corp.example" }, claims: map[string]any{"preferred_username": "@corp.example"}, want: "does not end in"},
		{name: "the suffix", change: func(s *Settings) { s.Suffix = "@corp.example" }, claims: map[string]any{"preferred_username": "alice@corp.example"}},
	}
	var running sync.WaitGroup // all at once: each waits a second before it asks
	defer running.Wait()
	for _, tt := range tests {
		at := oidctest.New(t)
		at.Claims, at.Sign = tt.claims, tt.sign
		p := open(t, at, tt.change)
		running.Go(func() {
			who, err := signIn(t, p)
			switch {
			case tt.want == "" && (err != nil || who.Name != "alice"):
				t.Errorf("%s: got %+v, %v, want alice", tt.name, who, err)
			case tt.want != "" && (who != Person{} || !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%s: got %+v, %v, want an error with %q", tt.name, who, err, tt.want)
			}
		})
	}
}

// TestProviderChangesItsKey: a key that is new to us is fetched.
func TestProviderChangesItsKey(t *testing.T) {
	at := oidctest.New(t)
	p := open(t, at, nil)
	for _, kid := range []string{"first", "second"} {
		if who, err := signIn(t, p); err != nil || who.Name != "alice" {
			t.Errorf("with the %s key: %+v, %v", kid, who, err)
		}
		at.NewKey(t, "second")
	}
}

// TestKeysAway: whether a token is right cannot be known without the keys. It may be signed
// by a new one.
func TestKeysAway(t *testing.T) {
	at := oidctest.New(t)
	p := open(t, at, nil)
	if _, err := signIn(t, p); err != nil {
		t.Fatal(err)
	}
	at.NewKey(t, "second")
	at.Lock()
	at.NoKeys = true
	at.Unlock()
	if who, err := signIn(t, p); who != (Person{}) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrToken) {
		t.Errorf("got %+v, %v, want ErrUnavailable", who, err)
	}
}

// TestNoAnswer: the error of a provider that refuses differs from that of a
// provider that gives no answer.
func TestNoAnswer(t *testing.T) {
	for answer, want := range map[string]error{
		"access_denied": ErrNotSignedIn, "authorization_declined": ErrNotSignedIn, "expired_token": ErrNotSignedIn, "invalid_grant": ErrUnavailable,
	} {
		at := oidctest.New(t)
		at.Answers = []string{answer}
		if who, err := signIn(t, open(t, at, nil)); who != (Person{}) || !errors.Is(err, want) {
			t.Errorf("%s: got %+v, %v, want %v", answer, who, err, want)
		}
	}

	at := oidctest.New(t)
	p := open(t, at, nil)
	at.Close()
	if _, err := signIn(t, p); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a provider that is away: %v", err)
	}

	at = oidctest.New(t)
	at.Secret = "s3cret-of-client"
	if _, err := signIn(t, open(t, at, nil)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without the secret: %v", err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(at.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := signIn(t, open(t, at, func(s *Settings) { s.ClientSecretFile = file })); err != nil {
		t.Errorf("with the secret: %v", err)
	}
}

// TestWaitEnds: the provider is not asked any more after the client has left, or
// after the timeout.
func TestWaitEnds(t *testing.T) {
	at := oidctest.New(t)
	for range 100 {
		at.Answers = append(at.Answers, "authorization_pending")
	}
	p := open(t, at, nil)
	s, err := p.Begin(t.Context(), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, gone := context.WithCancel(t.Context())
	gone()
	if _, err := s.Wait(ctx); !errors.Is(err, ErrNotSignedIn) {
		t.Errorf("the client has gone: %v", err)
	}
	s.began = time.Now().Add(-p.Timeout())
	if _, err := s.Wait(t.Context()); !errors.Is(err, ErrNotSignedIn) {
		t.Errorf("after the timeout: %v", err)
	}
	if at.Polled > 0 {
		t.Errorf("the provider was asked %d times", at.Polled)
	}
}

// TestCodeEnds: nobody has signed in before the end of the code, which some providers have
// after a minute. This is not an outage of the provider, which would cost no penalty.
func TestCodeEnds(t *testing.T) {
	t.Parallel()
	at := oidctest.New(t)
	at.Pending, at.Ends = true, 1
	if who, err := signIn(t, open(t, at, nil)); who != (Person{}) || !errors.Is(err, ErrNotSignedIn) || errors.Is(err, ErrUnavailable) {
		t.Errorf("got %+v, %v, want ErrNotSignedIn", who, err)
	}
}

// TestSlowDown: the provider is asked five seconds later than before when it says so, or
// when it has failed.
func TestSlowDown(t *testing.T) {
	for _, answer := range []string{"slow_down", "500"} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			at := oidctest.New(t)
			at.Answers = []string{answer}
			p := open(t, at, nil)
			began := time.Now()
			if who, err := signIn(t, p); err != nil || who.Name != "alice" {
				t.Errorf("got %+v, %v", who, err)
			}
			if took := time.Since(began); took < 7*time.Second || at.Polled != 2 {
				t.Errorf("the provider was asked %d times in %v, want 2 in 7s or more", at.Polled, took)
			}
		})
	}
}

// TestNetworkIsOneSource: a customer of IPv6 has as many addresses as there could be sign-ins.
func TestNetworkIsOneSource(t *testing.T) {
	p := open(t, oidctest.New(t), func(s *Settings) { s.MaxRunningSource = 2 })
	for i, source := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"} {
		s, err := p.Begin(t.Context(), netip.MustParseAddr(source))
		if err == nil {
			defer s.Close()
		}
		if refused := errors.Is(err, ErrBusy); refused != (i == 2) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestSignInsAreBounded(t *testing.T) {
	p := open(t, oidctest.New(t), func(s *Settings) { s.MaxRunning, s.MaxRunningSource = 3, 2 })
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	begin := func(source netip.Addr) (func(), error) {
		s, err := p.Begin(t.Context(), source)
		if err != nil {
			return nil, err
		}
		return s.Close, nil
	}
	var ends []func()
	for _, source := range []netip.Addr{a, a, b} {
		end, err := begin(source)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if _, err := begin(b); !errors.Is(err, ErrBusy) {
		t.Errorf("the fourth: %v", err)
	}
	ends[2]()
	if _, err := begin(a); !errors.Is(err, ErrBusy) {
		t.Errorf("the third of one address: %v", err)
	}
	for _, end := range ends[:2] {
		end()
	}
	if p.total != 0 || len(p.running) != 0 {
		t.Errorf("%d are counted at the end, %v", p.total, p.running)
	}
}

// TestErrorsKeepSecrets: no error has a token, a code or the secret.
func TestErrorsKeepSecrets(t *testing.T) {
	at := oidctest.New(t)
	at.Secret = "s3cret-of-client"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(at.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(s *Settings) { s.ClientSecretFile = file }
	at.Claims = map[string]any{"aud": "mail"}
	_, first := signIn(t, open(t, at, with))
	at.Answers = []string{"invalid_grant"}
	_, second := signIn(t, open(t, at, with))
	for _, err := range []error{first, second} {
		if err == nil || strings.Contains(err.Error(), at.Secret) || strings.Contains(err.Error(), "secret-access") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%v", err)
		}
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"issuer: \"http://":             func(s *Settings) { s.Issuer = "http://login.example" },
		"client_id: missing":            func(s *Settings) { s.ClientID = "" },
		"must include openid":           func(s *Settings) { s.Scopes = []string{"profile"} },
		"claim: empty":                  func(s *Settings) { s.Claim = "" },
		"user: \"alice\"":               func(s *Settings) { s.User = "alice" },
		"prompt: \"maybe\"":             func(s *Settings) { s.Prompt = "maybe" },
		"max_age: -1s":                  func(s *Settings) { s.MaxAge = -time.Second },
		"timeout: 1s":                   func(s *Settings) { s.Timeout = time.Second },
		"max_running: 0":                func(s *Settings) { s.MaxRunning = 0 },
		"max_running_source: 0":         func(s *Settings) { s.MaxRunningSource = 0 },
		"directory: \"sales\"":          func(s *Settings) { s.Directory = "sales" },
		"issuer: empty":                 func(s *Settings) { s.Issuer = "" },
		"directory: missing: there are": func(s *Settings) { s.Directory = "" },
	} {
		s := DefaultSettings()
		s.Issuer, s.ClientID, s.Directory = "https://login.example", "berth", "corp"
		if errs := s.Check("corp", "partner"); len(errs) > 0 {
			t.Fatal(errs)
		}
		change(&s)
		errs := s.Check("corp", "partner")
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("got %v, want %q", errs, want)
		}
	}
}
