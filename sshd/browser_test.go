package sshd

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/oidc"
	"berth/sshd/oidc/oidctest"
	"berth/sshd/totp"
)

// browser starts a server whose people sign in at the provider that it returns.
func browser(t *testing.T, change func(*fixture, *oidc.Settings)) (*fixture, *oidctest.Provider) {
	t.Helper()
	at := oidctest.New(t)
	f := start(t, func(f *fixture) {
		s := oidc.DefaultSettings()
		s.Issuer, s.ClientID, s.CAFile, s.Prompt = at.URL, at.ClientID, at.CAFile, oidc.PromptBrowser
		f.people.users["bob"] = &directory.User{Name: "bob", Identity: directory.Identity{ID: "id-2"}, State: directory.State{Status: directory.StatusActive}}
		if change != nil {
			change(f, &s)
		}
		provider, err := oidc.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		f.Gate.SignIn = provider
	})
	return f, at
}

// person answers questions with password, and keeps the texts.
func person(texts *[]string, password string) ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, instruction string, questions []string, _ []bool) ([]string, error) {
		*texts = append(append(*texts, instruction), questions...)
		answers := make([]string, len(questions))
		for i := range answers {
			answers[i] = password
		}
		return answers, nil
	})
}

func TestBrowser(t *testing.T) {
	f, at := browser(t, func(f *fixture, _ *oidc.Settings) { f.LoginGrace = time.Second })
	at.Answers = []string{"authorization_pending", "authorization_pending"} // longer than the grace
	var texts []string
	client, _, err := f.dial(t, "alice", person(&texts, ""))
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	f.hangUp()
	want := []string{"To sign in, open this link in a browser:\n  " + at.URL + "/activate?code=ABCD-EFGH\nIf it asks for a code, it is ABCD-EFGH.\n" +
		"Go on only if you began this login yourself just now, from 127.0.0.1."}
	if !slices.Equal(texts, want) {
		t.Errorf("the person read %q, want %q", texts, want)
	}
	i := slices.IndexFunc(f.events.events, func(e event.Event) bool { return e.Type == event.LoginAccepted })
	if i < 0 || f.events.events[i].Method != "oidc" || f.events.events[i].Fields["subject"] != "sub-1" {
		t.Errorf("events: %+v", f.events.events)
	}
}

// TestSimilarNames: at the provider a name may be somebody else's that the directory takes
// for the same, because it compares as RFC 4518 says.
func TestSimilarNames(t *testing.T) {
	for name, tt := range map[string]struct {
		claim, login string
		in           bool
	}{
		"the name":            {"alice", "alice", true},
		"upper case":          {"ALICE", "alice", true},
		"typed in upper case": {"alice", "Alice", true},
		"an umlaut":           {"JÖRG", "jörg", true},
		"another alphabet":    {"\uff41lice", "alice", false},
		"an accent":           {"\u00e1lice", "alice", false},
		"an invisible letter": {"ali\u00adce", "alice", false},
		"one at the end":      {"alice\u200b", "alice", false},
		"a blank":             {"alice ", "alice", false},
		"typed like that":     {"\uff41lice", "\uff41lice", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, at := browser(t, func(f *fixture, _ *oidc.Settings) {
				f.people.users["jörg"] = &directory.User{Name: "Jörg", Identity: directory.Identity{ID: "id-3"}, State: directory.State{Status: directory.StatusActive}}
				for _, like := range []string{"\uff41lice", "\u00e1lice", "ali\u00adce", "alice\u200b", "alice "} {
					f.people.users[like] = f.people.users["alice"]
				}
			})
			at.Claims = map[string]any{"preferred_username": tt.claim}
			var texts []string
			if _, _, err := f.dial(t, tt.login, person(&texts, "")); (err == nil) != tt.in {
				t.Errorf("%+q at the provider, %+q here: %v", tt.claim, tt.login, err)
			}
		})
	}
}

// TestFailedSignInLeaves: after a sign-in that failed a connection has the ordinary grace
// for another method, and not the rest of the time for a sign-in.
func TestFailedSignInLeaves(t *testing.T) {
	f, at := browser(t, func(f *fixture, s *oidc.Settings) { f.LoginGrace, s.Timeout = time.Second, time.Hour })
	at.Answers = []string{"access_denied"}
	failed := make(chan struct{})
	var texts []string
	_, _, err := f.dial(t, "alice", person(&texts, ""), ssh.PasswordCallback(func() (string, error) {
		close(failed)
		for deadline := time.Now().Add(20 * time.Second); len(f.events.reasons(event.ConnectionClosed)) == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		return "", errors.New("nobody is there")
	}))
	select {
	case <-failed:
	default:
		t.Fatalf("login = %v before another method was tried", err)
	}
	if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{"login_grace_over"}) {
		t.Errorf("closed for %q", got)
	}
}

// TestBrowserRefuses: people who are refused, and that nobody learns who exists.
func TestBrowserRefuses(t *testing.T) {
	deny := func(f *fixture, _ *oidc.Settings) { f.revocable()() }
	disabled := func(f *fixture, _ *oidc.Settings) { f.people.users["alice"].State.Status = directory.StatusDisabled }
	key := func(f *fixture, _ *oidc.Settings) { require(f, []string{"publickey"}) }
	for _, tt := range []struct {
		name, user, signedIn string
		answer               string
		change               func(*fixture, *oidc.Settings)
		reason               event.Reason
		text                 string // for the client
	}{
		{"another person", "bob", "alice", "", nil, event.SignInOfAnother, ""},
		{"nobody has the name", "zoe", "alice", "", nil, event.UnknownUser, ""},
		{"nobody has the claim", "alice", "zoe", "", nil, event.SignInOfAnother, ""},
		{"another directory", "alice", "alice", "", func(_ *fixture, s *oidc.Settings) { s.Directory = "partner" }, event.SignInOfAnother, ""},
		{"disabled", "alice", "alice", "", disabled, event.AccountDisabled, "Your account is disabled.\n"},
		{"no rule", "alice", "alice", "", deny, event.NoRule, "You have no access to this server.\n"},
		{"another method is required", "alice", "alice", "", key, event.MethodNotAccepted, ""},
		{"refused at the provider", "alice", "alice", "access_denied", nil, event.NotSignedIn, "Nobody has signed in with the browser.\n"},
		{"the same, and nobody has the name", "zoe", "alice", "access_denied", nil, event.NotSignedIn, "Nobody has signed in with the browser.\n"},
		{"a provider that knows no such code", "alice", "alice", "invalid_grant", nil, event.ProviderUnavailable, "The sign-in service cannot be reached just now. Please try again later.\n"},
		{"no token as wanted", "alice", "alice", "", func(_ *fixture, s *oidc.Settings) { s.RequireAMR = []string{"mfa"} }, event.TokenNotAccepted, "Your sign-in is not accepted here. Please tell your administrator.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, at := browser(t, tt.change)
			at.Claims = map[string]any{"preferred_username": tt.signedIn}
			if tt.answer != "" {
				at.Answers = []string{tt.answer}
			}
			var texts []string
			_, banner, err := f.dial(t, tt.user, person(&texts, ""))
			if err == nil {
				t.Fatal("logged in")
			}
			f.hangUp()
			if got := slices.Concat(f.events.reasons(event.LoginRejected), f.events.reasons(event.LoginDenied)); !slices.Equal(got, []string{tt.reason.String()}) {
				t.Errorf("reasons: %v, want %v", got, tt.reason)
			}
			if banner != tt.text || len(texts) != 1 {
				t.Errorf("the client read %q after %q, want %q", banner, texts, tt.text)
			}
		})
	}
}

// TestBrowserBesideOthers: the browser is one of several factors, or one of two ways.
func TestBrowserBesideOthers(t *testing.T) {
	var texts []string
	f, _ := browser(t, func(f *fixture, _ *oidc.Settings) { require(f, []string{"publickey", "oidc"}) })
	if c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key), person(&texts, "")); err != nil {
		t.Errorf("key and browser: %v", err)
	} else {
		c.Close()
	}
	if _, _, err := f.dial(t, "alice", person(&texts, "")); err == nil {
		t.Error("the browser alone is enough")
	}
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key), ssh.Password("secret-1")); err == nil {
		t.Error("a password is as good as the browser")
	}

	f, at := browser(t, func(_ *fixture, s *oidc.Settings) { s.Prompt = oidc.PromptChoice })
	for password, begun := range map[string]int{"secret-1": 0, "": 1} {
		texts, at.Begun = nil, 0
		c, _, err := f.dial(t, "alice", person(&texts, password))
		if err != nil || at.Begun != begun || texts[1] != "Password, or Enter to sign in with the browser: " {
			t.Errorf("with %q: %v, %d sign-ins, %q", password, err, at.Begun, texts)
			continue
		}
		c.Close()
	}
}

// TestBrowserOrCode: after a key, a person may choose between a code and the browser.
func TestBrowserOrCode(t *testing.T) {
	var texts []string
	f, at := browser(t, func(f *fixture, _ *oidc.Settings) {
		f.Gate.Codes = &totp.Codes{}
		f.people.users["alice"].TOTP = []directory.Secret{directory.NewSecret(token)}
		f.change(func(p *policy.Policy) { p.Require = [][]string{{"publickey", "oidc"}, {"publickey", "totp"}} })
	})
	for typed, begun := range map[string]int{codeNow(t, 0): 0, "": 1} {
		texts, at.Begun = nil, 0
		c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key), person(&texts, typed))
		if err != nil || at.Begun != begun || texts[1] != "One-time code, or Enter to sign in with the browser: " {
			t.Errorf("with %q: %v, %d sign-ins, %q", typed, err, at.Begun, texts)
			continue
		}
		c.Close()
	}
}

// TestBrowserIsLeft: the provider is not asked any more when the client has
// left.
func TestBrowserIsLeft(t *testing.T) {
	f, at := browser(t, nil)
	at.Answers = slices.Repeat([]string{"authorization_pending"}, 1000)
	shown := make(chan bool)
	left := errors.New("left")
	go func() {
		_, _, err := f.dial(t, "alice", ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
			shown <- true
			return nil, left
		}))
		if err == nil || !strings.Contains(err.Error(), "left") {
			t.Errorf("got %v", err)
		}
		close(shown)
	}()
	<-shown
	<-shown
	f.hangUp() // or the server waits for a thousand answers
}

func require(f *fixture, factors []string) {
	f.change(func(p *policy.Policy) { p.Require = [][]string{factors} })
}
