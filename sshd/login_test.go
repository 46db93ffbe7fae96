package sshd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

func TestLogin(t *testing.T) {
	key := func(f *fixture) ssh.AuthMethod { return ssh.PublicKeys(f.key) }
	password := func(p string) func(*fixture) ssh.AuthMethod {
		return func(*fixture) ssh.AuthMethod { return ssh.Password(p) }
	}
	prompt := func(p string) func(*fixture) ssh.AuthMethod {
		return func(*fixture) ssh.AuthMethod { return answering([]string{p}) }
	}
	tests := []struct {
		name   string
		user   string
		method func(*fixture) ssh.AuthMethod
		state  directory.Status
		down   bool
		want   string // reason of the refusal, "" for a login
		told   string // in the banner
	}{
		{name: "password", user: "alice", method: password("secret-1"), state: directory.StatusActive},
		{name: "prompt", user: "alice", method: prompt("secret-1"), state: directory.StatusActive},
		{name: "key", user: "alice", method: key, state: directory.StatusActive},
		{name: "other spelling", user: "ALICE", method: password("secret-1"), state: directory.StatusActive},
		{name: "wrong password", user: "alice", method: password("x"), state: directory.StatusActive, want: "bad_password"},
		{name: "empty password", user: "alice", method: password(""), state: directory.StatusActive, want: "bad_password"},
		{name: "NUL in the password", user: "alice", method: password("secret-1\x00"), state: directory.StatusActive, want: "bad_password"},
		{name: "unknown user", user: "zoe", method: password("x"), state: directory.StatusActive, want: "unknown_user"},
		{name: "blank after the name", user: "alice ", method: password("secret-1"), state: directory.StatusActive, want: "unknown_user"},
		{name: "NUL in the name", user: "alice\x00", method: key, state: directory.StatusActive, want: "unknown_user"},
		{name: "disabled, password", user: "alice", method: password("secret-1"), state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
		{name: "disabled, wrong password", user: "alice", method: password("x"), state: directory.StatusDisabled, want: "bad_password"},
		{name: "disabled, key", user: "alice", method: key, state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
		{name: "locked, key", user: "alice", method: key, state: directory.StatusLocked, want: "account_locked", told: "locked"},
		{name: "unknown state, key", user: "alice", method: key, state: directory.StatusUnknown, want: "state_unknown", told: "could not be read"},
		{name: "directory down, password", user: "alice", method: password("secret-1"), down: true, want: "directory_unavailable", told: "cannot be reached"},
		{name: "directory down, key", user: "alice", method: key, down: true, want: "directory_unavailable", told: "cannot be reached"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			f.people.set("alice", tt.state)
			f.people.down = tt.down
			c, banner, err := f.dial(t, tt.user, tt.method(f))
			if (err == nil) != (tt.want == "") {
				t.Fatalf("login = %v, want reason %q", err, tt.want)
			}
			if !strings.Contains(banner, tt.told) || (tt.told == "" && banner != "") {
				t.Errorf("banner = %q, want %q in it", banner, tt.told)
			}
			if err != nil {
				f.hangUp()
				if got := f.events.reasons(event.LoginRejected); !slices.Contains(got, tt.want) {
					t.Errorf("reasons = %q, want %q", got, tt.want)
				}
				return
			}
			c.Close()
			if got := f.events.reasons(event.LoginAccepted); len(got) != 1 {
				t.Errorf("%d events of the login, want 1", len(got))
			}
		})
	}
}

func TestOneWrongPasswordIsOneBind(t *testing.T) {
	for name, method := range map[string]ssh.AuthMethod{"password": ssh.Password("x"), "prompt": answering([]string{"x"})} {
		f := start(t)
		f.dial(t, "alice", method)
		if f.people.binds != 1 {
			t.Errorf("%s: %d binds, want 1", name, f.people.binds)
		}
	}
}

func TestDenied(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.Gate.Rules = rules(func(policy.Request) (*policy.Policy, error) {
			return nil, fmt.Errorf("no rule: %w", &policy.Denied{Reason: policy.NoRule})
		})
	})
	for _, m := range []ssh.AuthMethod{ssh.Password("secret-1"), ssh.PublicKeys(f.key)} {
		_, banner, err := f.dial(t, "alice", m)
		if err == nil || !strings.Contains(banner, "no access") {
			t.Errorf("login = %v, banner %q", err, banner)
		}
	}
	if got := f.events.reasons(event.LoginDenied); !slices.Equal(got, []string{"no_rule", "no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestSeveralFactors(t *testing.T) {
	tests := []struct {
		name    string
		require [][]string
		methods func(*fixture) []ssh.AuthMethod
		want    bool
	}{
		{"both", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), ssh.Password("secret-1")}
		}, true},
		{"the second by prompt", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), answering([]string{"secret-1"})}
		}, true},
		{"only the first", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key)}
		}, false},
		{"the second wrong", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), ssh.Password("x")}
		}, false},
		{"password first", [][]string{{"publickey", "password"}}, func(*fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("secret-1")}
		}, false},
		{"either", [][]string{{"publickey"}, {"password"}}, func(*fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("secret-1")}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			f.change(func(p *policy.Policy) { p.Require = tt.require })
			_, banner, err := f.dial(t, "alice", tt.methods(f)...)
			if (err == nil) != tt.want {
				t.Errorf("login = %v, want %t", err, tt.want)
			}
			if banner != "" {
				t.Errorf("%q tells which factor was right", banner)
			}
		})
	}
}

func TestMustChange(t *testing.T) {
	t.Run("inside the login", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusMustChange)
		c := f.must(t, answering([]string{"secret-1"}, []string{"short", "short"}, []string{"a longer one", "a longer one"}))
		if out, _, status := run1(t, c, "whoami", ""); status != 0 || !strings.Contains(out, "alice") {
			t.Errorf("whoami = %q, %d", out, status)
		}
		if f.people.password["alice"] != "a longer one" {
			t.Error("the password was not changed")
		}
	})
	t.Run("nothing but passwd after a key", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusPasswordExpired)
		c := f.must(t)
		_, stderr, status := run1(t, c, "scp -f x", "")
		if status == 0 || !strings.Contains(stderr, "expired") || !strings.Contains(stderr, "passwd") {
			t.Errorf("scp = %d, %q", status, stderr)
		}
		out, _, status := run1(t, c, "passwd", "secret-1\na longer one\na longer one\n")
		if status != 0 || !strings.HasSuffix(out, textUpdated+"\n") {
			t.Errorf("passwd = %d, %q", status, out)
		}
	})
	t.Run("not when the password was wrong", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusMustChange)
		if _, _, err := f.dial(t, "alice", answering([]string{"x"}, []string{"a longer one", "a longer one"})); err == nil {
			t.Error("logged in")
		}
	})
}

func TestExpiryIsTold(t *testing.T) {
	f := start(t)
	f.people.users["alice"].State.PasswordExpires = time.Now().Add(50 * time.Hour)
	f.people.users["alice"].State.ExpiresSoon = true
	_, banner, err := f.dial(t, "alice", ssh.PublicKeys(f.key))
	if err != nil || !strings.Contains(banner, "in 2 days") {
		t.Errorf("login = %v, banner %q", err, banner)
	}
	if got := f.events.reasons(event.PasswordExpiring); len(got) != 1 {
		t.Errorf("%d events, want 1", len(got))
	}
}

// TestWhoamiAfterExpiry: a password that has expired is said to have.
func TestWhoamiAfterExpiry(t *testing.T) {
	for status, want := range map[directory.Status]string{directory.StatusActive: "password expires on ", directory.StatusPasswordExpired: "password expired on "} {
		f := start(t, func(f *fixture) {
			expires := time.Now().Add(50 * time.Hour)
			if status == directory.StatusPasswordExpired {
				expires = time.Now().Add(-50 * time.Hour)
			}
			f.people.users["alice"].State = directory.State{Status: status, PasswordExpires: expires}
		})
		out, _, code := run1(t, f.must(t), "whoami", "")
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "in -") {
			t.Errorf("%v: %d, %q, want %q", status, code, out, want)
		}
	}
}
