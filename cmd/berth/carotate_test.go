package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/cert"
	"berth/sshd/hostkey"
)

// TestAuthorityIsReplaced does what berth ca rotate says, with a certificate of the old
// authority in use.
func TestAuthorityIsReplaced(t *testing.T) {
	dir := t.TempDir()
	file, trusted := filepath.Join(dir, "berth.yaml"), filepath.Join(dir, "ca.pub")
	issueWith := func(name string) (*cert.Authority, *ssh.Certificate) {
		t.Helper()
		key := filepath.Join(dir, name)
		putFile(t, file, fmt.Sprintf(`directories: [{name: corp, kind: embedded, ldif: %s/people.ldif}]
certificates: {ca_keys: [%s], issue: {ca_key: %s}}
rules: [{name: all, home: {host: "/srv/%%u"}}]
`, dir, trusted, key))
		s := cert.DefaultSettings()
		s.CAKeys, s.Issue.CAKey = []string{trusted}, key
		a, err := cert.Open(s, "corp")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := hostkey.ReadSigner(key, nil)
		if err == nil {
			err = a.IssueWith(s.Issue, signer)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Certify(newKey(t), cert.Person{Directory: "corp", Name: "alice"}, netip.MustParseAddr("192.0.2.7"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return a, c
	}
	ca := func(want string, args ...string) {
		t.Helper()
		if out, err := call(append([]string{"ca"}, args...)...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("ca %q: %v, %s, want %q", args, err, out, want)
		}
	}

	ca("(ED25519)", "make", filepath.Join(dir, "ca"))
	if _, err := call("ca", "make", filepath.Join(dir, "ca")); err == nil {
		t.Error("a key is overwritten")
	}
	_, first := issueWith("ca")
	ca("berth ca make "+dir+"/ca-2\n", "rotate", "--config", file)
	ca("(ED25519)", "make", filepath.Join(dir, "ca-2"))
	old, err := os.ReadFile(trusted)
	if err != nil {
		t.Fatal(err)
	}
	added, err := os.ReadFile(filepath.Join(dir, "ca-2.pub"))
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, trusted, string(old)+string(added))
	ca("If that is the new one: set certificates.issue.ca_key", "rotate", "--config", file)

	both, second := issueWith("ca-2")
	for name, c := range map[string]*ssh.Certificate{"old": first, "new": second} {
		if err := both.Trusts(c, "corp"); err != nil {
			t.Errorf("the certificate of the %s authority: %v", name, err)
		}
	}
	ca(ssh.FingerprintSHA256(first.SignatureKey)+" is accepted", "rotate", "--config", file)
	putFile(t, trusted, string(added))
	ca("berth ca make "+dir+"/ca-3\n", "rotate", "--config", file)
	after, _ := issueWith("ca-2")
	if err := after.Trusts(first, "corp"); !errors.Is(err, cert.ErrAuthority) {
		t.Errorf("the old authority is gone, and its certificate: %v", err)
	}
	if err := after.Trusts(second, "corp"); err != nil {
		t.Errorf("the certificate of the new authority: %v", err)
	}
}

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	k, err := hostkey.Generate("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	return k.Public
}

func putFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
