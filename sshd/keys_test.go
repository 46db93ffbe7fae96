package sshd

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/hostkey"
)

// AddKey implements directory.Directory.
func (p *people) AddKey(_ context.Context, u *directory.User, line string) error {
	k, err := directory.OneKey(line)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errDown
	}
	p.users[u.Name].Keys = append(slices.Clone(p.users[u.Name].Keys), k)
	return nil
}

// RemoveKey implements directory.Directory.
func (p *people) RemoveKey(_ context.Context, u *directory.User, fingerprint string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(p.users[u.Name].Keys), func(k directory.Key) bool { return ssh.FingerprintSHA256(k) == fingerprint })
	if len(left) == len(p.users[u.Name].Keys) {
		return &directory.Refusal{Why: directory.ErrNoKey}
	}
	p.users[u.Name].Keys = left
	return nil
}

// withKeys gives everybody the service.
func withKeys(f *fixture) {
	f.change(func(p *policy.Policy) { p.Services = append(p.Services, "keys") })
}

func publicLine(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func TestKeysAddAndRemove(t *testing.T) {
	f := start(t, withKeys)
	c := f.must(t)
	another := newSigner(t)
	print := ssh.FingerprintSHA256(another.PublicKey())
	if out, _, status := run1(t, c, "keys add", publicLine(another)+" laptop\n"); status != 0 || out != "Key added: "+print+"\n" {
		t.Errorf("keys add = %d, %q", status, out)
	}
	f.must(t, ssh.PublicKeys(another))
	out, _, status := run1(t, c, "keys", "")
	if status != 0 || strings.Count(out, "SHA256:") != 2 || !strings.Contains(out, print) || !strings.Contains(out, ", today  laptop") {
		t.Errorf("keys = %d, %q", status, out)
	}
	if out, _, status := run1(t, c, "keys remove "+strings.TrimPrefix(print, "SHA256:"), ""); status != 0 || out != "Key removed: "+print+"\n" {
		t.Errorf("keys remove = %d, %q", status, out)
	}
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(another)); err == nil {
		t.Error("the removed key lets in")
	}
	for _, typ := range []event.Type{event.KeyAdded, event.KeyRemoved} {
		if e := f.events.last(typ); e.User != "alice" || e.Fields["fingerprint"] != print {
			t.Errorf("event = %+v", e)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ssh.NewSignerFromSigner(short)
	if err != nil {
		t.Fatal(err)
	}
	private, err := hostkey.Key{Private: short, Public: weak.PublicKey()}.Encode(hostkey.OpenSSH, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := publicLine(newSigner(t))
	tests := []struct{ name, command, input, reason, told string }{
		{"weak", "keys add", publicLine(weak), "key_unusable", "shorter than 2048"},
		{"private", "keys add", string(private), "private_key", "private key"},
		{"nothing", "keys add", "", "not_a_key", "not one public key"},
		{"junk", "keys add", "junk\x1b[2J", "not_a_key", "not one public key"},
		{"two", "keys add", good + "\n" + good, "not_a_key", "not one public key"},
		{"endless", "keys add", strings.Repeat("x", 100<<10), "not_a_key", "not one public key"},
		{"command", "keys add", `command="x" ` + good, "key_option", "options"},
		{"without touch", "keys add", "no-touch-required " + good, "key_option", "options"},
		{"authority", "keys add", "cert-authority " + good, "key_option", "options"},
		{"bad from", "keys add", `from="" ` + good, "key_unusable", "empty pattern"},
		{"not hers", "keys remove SHA256:x", "", "unknown_key", "no key with this fingerprint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, withKeys)
			_, stderr, status := run1(t, f.must(t), tt.command, tt.input)
			if status != 1 || !strings.Contains(stderr, tt.told) || strings.Contains(stderr, "\x1b") {
				t.Errorf("got %d, %q; want %q", status, stderr, tt.told)
			}
			if got := f.events.reasons(event.KeyChangeFailed); !slices.Equal(got, []string{tt.reason}) {
				t.Errorf("reasons = %q, want %q", got, tt.reason)
			}
			if got := len(f.people.users["alice"].Keys); got != 1 {
				t.Errorf("%d keys, want 1", got)
			}
		})
	}
}

// TestLongKeys: a key that is too long is refused before the client has sent the
// end of it, in a terminal as well.
func TestLongKeys(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		f := start(t, withKeys)
		s, err := f.must(t).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if terminal {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		stdin, err := s.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("keys add"); err != nil {
			t.Fatal(err)
		}
		go func() { // until the server ends the session
			for err == nil {
				_, err = io.WriteString(stdin, strings.Repeat("x", 70)+"\r")
			}
		}()
		var exit *ssh.ExitError
		if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 1 {
			t.Errorf("in a terminal: %t: ended with %v, want status 1", terminal, err)
		}
		if got := f.events.reasons(event.KeyChangeFailed); !slices.Equal(got, []string{"not_a_key"}) {
			t.Errorf("in a terminal: %t: reasons = %q", terminal, got)
		}
	}
}

// TestKeysWithoutDirectory: the answer differs between "no" and "could not
// ask".
func TestKeysWithoutDirectory(t *testing.T) {
	f := start(t, withKeys)
	c := f.must(t)
	f.people.mu.Lock()
	f.people.down = true
	f.people.mu.Unlock()
	for _, command := range []string{"keys", "keys add"} {
		if _, stderr, status := run1(t, c, command, publicLine(newSigner(t))); status != 1 || !strings.Contains(stderr, "directory cannot be reached") {
			t.Errorf("%s = %d, %q", command, status, stderr)
		}
	}
	if got := f.events.reasons(event.KeyChangeFailed); !slices.Equal(got, []string{"directory_unavailable"}) {
		t.Errorf("reasons = %q", got)
	}
}

// TestKeysNeedARule: keys can be changed only with a rule, and not while the
// password must be changed.
func TestKeysNeedARule(t *testing.T) {
	f := start(t)
	if _, stderr, status := run1(t, f.must(t), "keys add", publicLine(newSigner(t))); status != 1 || !strings.Contains(stderr, "You may not use keys here.") {
		t.Errorf("without a rule: %d, %q", status, stderr)
	}
	f = start(t, withKeys)
	f.people.set("alice", directory.StatusMustChange)
	if _, stderr, status := run1(t, f.must(t), "keys add", publicLine(newSigner(t))); status != 1 || !strings.Contains(stderr, "must be changed") {
		t.Errorf("restricted: %d, %q", status, stderr)
	}
}

func TestKeyLine(t *testing.T) {
	now := time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC)
	key := publicLine(newSigner(t))
	tests := []struct{ in, want string }{
		{key, key + " (added 2026-11-25)"},
		{key + "  bob  at\x07 work \r\n", key + " bob at? work (added 2026-11-25)"},
		{key + " x (added 2020-01-01)", key + " x (added 2026-11-25)"},
		{`from="10.0.0.0/8,!10.1.1.1",expiry-time="20300101" ` + key + " x", `from="10.0.0.0/8,!10.1.1.1",expiry-time="20300101" ` + key + " x (added 2026-11-25)"},
	}
	for _, tt := range tests {
		got, err := keyLine(tt.in, now)
		if err != nil || got != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.in, got, err, tt.want)
			continue
		}
		k, err := directory.OneKey(got)
		if err != nil {
			t.Errorf("%q: %v", got, err)
		}
		if _, added := splitAdded(k.Comment); !added.Equal(time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%q: added %v", got, added)
		}
	}
}

// FuzzKeyLine holds that whatever is stored is one key on one line, the same as
// was given, and with no option that widens.
func FuzzKeyLine(f *testing.F) {
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1gY0nTqgWQ4Yz0m3l2m3yqg1Jc1fT8mXb7m0vE0m3K"
	f.Add(key + " x")
	f.Add(`from="a b",expiry-time="20300101" ` + key + " y\tz")
	f.Add("---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"a\\\nb\"\nAAAA\n---- END SSH2 PUBLIC KEY ----")
	f.Fuzz(func(t *testing.T, text string) {
		line, err := keyLine(text, time.Unix(0, 0))
		if err != nil {
			return
		}
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("several lines: %q", line)
		}
		k, err := directory.OneKey(line)
		var r *directory.Refusal
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("OneKey(%q) = %v", line, err)
		}
		if k.NoTouch {
			t.Fatalf("%q needs no touch", line)
		}
	})
}

// TestKeysOfTheNextOwner: the new owner of a name may have other keys. An open
// session of the former owner must not show them.
func TestKeysOfTheNextOwner(t *testing.T) {
	f := start(t, withKeys)
	c := f.must(t)
	run1(t, c, "help", "")
	f.people.mu.Lock()
	f.people.users["alice"].ID = "id-2"
	f.people.mu.Unlock()
	if out, _, status := run1(t, c, "keys", ""); status != 1 || out != "" {
		t.Errorf("keys = %d, %q; want a refusal", status, out)
	}
}

// TestKeyTable shows all that limits a key, and values that are no keys.
func TestKeyTable(t *testing.T) {
	k := directory.Key{PublicKey: newSigner(t).PublicKey(), Comment: "laptop", From: []string{"192.0.2.0/24", "!192.0.2.1"}, Expires: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC)}
	text := keyTable(&directory.User{Keys: []directory.Key{k}, Notes: []directory.KeyNote{{Reason: "too short"}}}, time.Now())
	for _, want := range []string{"laptop; from 192.0.2.0/24,!192.0.2.1; expires 2030-01-02 03:04", "cannot be used: too short", ssh.FingerprintSHA256(k)} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}
