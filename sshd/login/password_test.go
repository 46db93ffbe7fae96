package login

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

// patchedPre is a connection of the library with Berth's patches.
type patchedPre struct{ preAuth }

func (patchedPre) Disconnect(uint32, string) error { return nil }

// asksForNew is what the library sees in an error that asks for a new password.
type asksForNew interface {
	error
	PasswordChange() (prompt string, change func(meta ssh.ConnMetadata, old, new []byte) (*ssh.Permissions, error))
}

// TestPasswordChangeRequest: the method password asks for a new password where the
// dialogue would, and changes it by the same decision.
func TestPasswordChangeRequest(t *testing.T) {
	alice := meta{"alice"}
	passwd := &policy.Policy{Services: []string{"sftp", "passwd"}}
	for name, tt := range map[string]struct {
		status  directory.Status
		rules   *policy.Policy
		denied  error
		client  string
		plain   bool // the library has no patches
		asked   bool
		granted bool // at once, restricted or not
	}{
		"must change":              {status: directory.StatusMustChange, rules: passwd, asked: true},
		"expired":                  {status: directory.StatusPasswordExpired, rules: passwd, asked: true},
		"active":                   {status: directory.StatusActive, rules: passwd, granted: true},
		"disabled":                 {status: directory.StatusDisabled, rules: passwd},
		"passwd is not allowed":    {status: directory.StatusMustChange, rules: &policy.Policy{Services: []string{"sftp"}}},
		"refused by the rules":     {status: directory.StatusMustChange, rules: passwd, denied: &policy.Denied{}},
		"another factor is needed": {status: directory.StatusMustChange, rules: &policy.Policy{Services: passwd.Services, Require: policy.Require{{"password", "publickey"}}}},
		"a client that cannot":     {status: directory.StatusMustChange, rules: passwd, client: "SSH-2.0-paramiko_2.12.0", granted: true},
		"a library that cannot":    {status: directory.StatusMustChange, rules: passwd, plain: true, granted: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(tt.status)
			w.policy, w.denied = tt.rules, tt.denied
			a := newAttempt(w)
			if a.client = tt.client; !tt.plain {
				a.pre = patchedPre{preAuth{w: w}}
			}
			perms, err := a.password(alice, []byte(rightPassword))
			var asks asksForNew
			if asked := errors.As(err, &asks); asked != tt.asked || (perms != nil) != tt.granted {
				t.Fatalf("login = %v, %v; want a new password asked for: %t, a grant: %t", perms, err, tt.asked, tt.granted)
			}
			if !tt.asked {
				if w.changes != 0 {
					t.Error("the password was changed")
				}
				return
			}
			prompt, change := asks.PasswordChange()
			if !strings.Contains(prompt, "Please choose a new one. The directory asks for at least 8 characters, none of your last 3 passwords.") {
				t.Errorf("prompt %q", prompt)
			}
			if w.has(event.LoginRejected) || w.has(event.LoginAccepted) || !w.has(event.LoginPartial) {
				t.Errorf("events %v, want one that something is still missing", w.events)
			}
			for _, wrong := range []struct {
				meta     meta
				old, new string
			}{{alice, "wrong", newPassword}, {meta{"bob"}, rightPassword, newPassword}} {
				if perms, err := change(wrong.meta, []byte(wrong.old), []byte(wrong.new)); perms != nil || err == nil || errors.As(err, &asks) || w.changes != 0 {
					t.Errorf("change by %v = %v, %v, %d changes; want it refused", wrong, perms, err, w.changes)
				}
			}
			perms, err = change(alice, []byte(rightPassword), []byte(newPassword))
			if err != nil || w.password != newPassword || !w.has(event.PasswordChanged) {
				t.Fatalf("change = %v, the password is %q", err, w.password)
			}
			if g, err := Granted(perms); err != nil || g.Restriction != nil {
				t.Errorf("grant %v, %v; want one without restriction", g, err)
			}
		})
	}
}

// TestPasswordChangeAgain: a new password that is refused is asked for again, three
// times in all, and then the session is restricted. A client that sends the old
// password once more cannot change it, and gets a restricted session, too.
func TestPasswordChangeAgain(t *testing.T) {
	begin := func() (*world, *Attempt, asksForNew) {
		w := newWorld(directory.StatusMustChange)
		w.policy = &policy.Policy{Services: []string{"passwd"}}
		a := newAttempt(w)
		a.pre = patchedPre{preAuth{w: w}}
		_, err := a.password(meta{"alice"}, []byte(rightPassword))
		var asks asksForNew
		if !errors.As(err, &asks) {
			t.Fatalf("login = %v, want a new password asked for", err)
		}
		return w, a, asks
	}
	restricted := func(perms *ssh.Permissions, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if g, err := Granted(perms); err != nil || g.Restriction == nil {
			t.Errorf("grant %v, %v; want a restricted one", g, err)
		}
	}
	w, _, asks := begin()
	var perms *ssh.Permissions
	var err error
	for range tries - 1 {
		_, change := asks.PasswordChange()
		if perms, err = change(meta{"alice"}, []byte(rightPassword), nil); perms != nil || !errors.As(err, &asks) {
			t.Fatalf("change to nothing = %v, %v; want to be asked again", perms, err)
		}
		if prompt, _ := asks.PasswordChange(); !strings.Contains(prompt, "try again") {
			t.Errorf("prompt %q, want why it was refused", prompt)
		}
	}
	_, change := asks.PasswordChange()
	restricted(change(meta{"alice"}, []byte(rightPassword), nil))
	if n := len(slices.DeleteFunc(slices.Clone(w.events), func(e event.Event) bool { return e.Type != event.PasswordChangeFailed })); n != tries {
		t.Errorf("%d events of refused passwords, want %d", n, tries)
	}
	_, a, _ := begin()
	restricted(a.password(meta{"alice"}, []byte(rightPassword)))
}

// TestDialogueLeft: a person who leaves the dialogue for a new password is not logged
// in.
func TestDialogueLeft(t *testing.T) {
	w := newWorld(directory.StatusMustChange)
	w.policy = &policy.Policy{Services: []string{"passwd"}}
	a := newAttempt(w)
	n := &answer{try: try{methodInteractive, true}}
	if perms, err := a.interactive(meta{"alice"}, n.challenge); perms != nil || err == nil || !n.askedToNew || w.has(event.LoginAccepted) {
		t.Errorf("login = %v, %v, asked: %t, events %v; want none", perms, err, n.askedToNew, w.events)
	}
}

// has reports whether an event of a type was emitted.
func (w *world) has(kind event.Type) bool {
	return slices.ContainsFunc(w.events, func(e event.Event) bool { return e.Type == kind })
}

// TestCodeThatNobodyCanHave: if no secrets are configured, a password that a rule wants a
// code beside is refused, and not taken for a right one.
func TestCodeThatNobodyCanHave(t *testing.T) {
	for _, right := range []bool{false, true} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{{methodPassword, factorCode}}}
		a := newAttempt(w)
		a.gate.Codes = nil
		g, _, text := play(w, a, []try{{methodInteractive, right}}, false)
		if g != nil || text != "" || !a.penalized || w.binds > 0 || len(w.events) != 1 || w.events[0].Reason != event.CodesNotConfigured {
			t.Errorf("right password: %t: the client reads %q, penalty: %t, events %+v", right, text, a.penalized, w.events)
		}
	}
}
