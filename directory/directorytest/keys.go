package directorytest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
)

// newKey returns a new key as a line, and its fingerprint.
func newKey(t *testing.T) (line, fingerprint string) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " new", ssh.FingerprintSHA256(key)
}

// fingerprints are those of a user's keys, in the order in which they came.
func fingerprints(t *testing.T, d directory.Directory, name string) []string {
	t.Helper()
	var all []string
	for _, k := range lookup(t, d, name).Keys {
		all = append(all, ssh.FingerprintSHA256(k))
	}
	return all
}

// keys adds and removes keys of everybody who is active: those who have some
// keep them.
func (s Suite) keys(t *testing.T, d directory.Directory) {
	for _, p := range s.Active {
		before := lookup(t, d, p.Name)
		line, fingerprint := newKey(t)
		refused := func(err, why error) {
			t.Helper()
			if !errors.Is(err, why) || !directory.Refused(err) {
				t.Errorf("%s: got %v, want %v", p.Name, err, why)
			}
		}
		refused(d.RemoveKey(within(t), before, fingerprint), directory.ErrNoKey)
		refused(d.AddKey(within(t), before, "no key"), directory.ErrKeyUnusable)
		if err := d.AddKey(within(t), before, line); err != nil {
			t.Fatalf("AddKey(%q) = %v, want nil", p.Name, err)
		}
		refused(d.AddKey(within(t), before, line), directory.ErrKeyExists)
		refused(d.AddKey(within(t), before, `from="10.0.0.1" `+line), directory.ErrKeyExists)
		if got := len(fingerprints(t, d, p.Name)); got != p.Keys+1 {
			t.Errorf("keys of %q: got %d after one was added, want %d", p.Name, got, p.Keys+1)
		}
		if err := d.RemoveKey(within(t), before, fingerprint); err != nil {
			t.Fatalf("RemoveKey(%q) = %v, want nil", p.Name, err)
		}
		after := lookup(t, d, p.Name)
		if diff := cmp.Diff(remarks(before), remarks(after)); diff != "" {
			t.Errorf("keys of %q before and after: %s", p.Name, diff)
		}
	}
	gone := *lookup(t, d, s.Active[0].Name)
	gone.ID = "somebody else"
	line, _ := newKey(t)
	if err := d.AddKey(within(t), &gone, line); !errors.Is(err, directory.ErrNoUser) {
		t.Errorf("AddKey for another person of the same DN = %v, want ErrNoUser", err)
	}
	for _, p := range s.NoKeysFor {
		u := lookup(t, d, p.Name)
		if err := d.AddKey(within(t), u, line); !errors.Is(err, errors.Unwrap(u.State.Err())) || !directory.Refused(err) {
			t.Errorf("AddKey(%q) = %v, want %v", p.Name, err, u.State.Err())
		}
	}
	s.keysAtOnce(t, d)
}

// remarks are the keys and notes of a user, without their places in the
// entry.
func remarks(u *directory.User) map[string]int {
	all := map[string]int{}
	for _, k := range u.Keys {
		all[ssh.FingerprintSHA256(k)+" "+k.Comment]++
	}
	for _, n := range u.Notes {
		all[n.Fingerprint+" "+n.Reason]++
	}
	return all
}

// keysAtOnce changes keys of one person from several places: no change undoes
// another.
func (s Suite) keysAtOnce(t *testing.T, d directory.Directory) {
	p := s.Active[1]
	u := lookup(t, d, p.Name)
	var lines, prints [4]string
	var wg sync.WaitGroup
	first, firstPrint := newKey(t)
	if err := d.AddKey(within(t), u, first); err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		lines[i], prints[i] = newKey(t)
		wg.Go(func() {
			if err := d.AddKey(within(t), u, lines[i]); err != nil {
				t.Errorf("AddKey among others = %v, want nil", err)
			}
		})
	}
	wg.Wait()
	if got := len(fingerprints(t, d, p.Name)); got != p.Keys+1+len(lines) {
		t.Errorf("got %d keys, want %d", got, p.Keys+1+len(lines))
	}
	for _, print := range append(prints[:], firstPrint) {
		wg.Go(func() {
			if err := d.RemoveKey(within(t), u, print); err != nil {
				t.Errorf("RemoveKey among others = %v, want nil", err)
			}
		})
	}
	wg.Wait()
	if got := len(fingerprints(t, d, p.Name)); got != p.Keys {
		t.Errorf("got %d keys, want %d as before", got, p.Keys)
	}
}
