package cert

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// issuing returns an authority that issues certificates for people of corp, and the file
// of its revocations.
func issuing(t *testing.T, change func(*Issue)) (*Authority, string) {
	t.Helper()
	key := newKey(t)
	dir := t.TempDir()
	ca, revoked := filepath.Join(dir, "ca.pub"), filepath.Join(dir, "revoked")
	for file, text := range map[string][]byte{ca: ssh.MarshalAuthorizedKey(key.PublicKey()), revoked: nil} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := DefaultSettings()
	s.Authorities, s.Revoked = []Trusted{{File: ca, Directory: "corp"}}, []string{revoked}
	if change != nil {
		change(&s.Issue)
	}
	a, err := Open(s, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.IssueWith(s.Issue, key); err != nil {
		t.Fatal(err)
	}
	return a, revoked
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	alicia = Person{Directory: "corp", Name: "alice"}
	home   = netip.MustParseAddr("192.0.2.7")
	there  = netip.MustParseAddr("192.0.2.8")
)

// TestCertify: a certificate is for its person, from the address, until it ends, and
// nothing more.
func TestCertify(t *testing.T) {
	a, _ := issuing(t, nil)
	now := time.Now()
	c, err := a.Certify(newKey(t).PublicKey(), alicia, home, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Extensions) > 0 || len(c.CriticalOptions) != 1 {
		t.Errorf("it allows %v, and has %v", c.Extensions, c.CriticalOptions)
	}
	for _, tt := range []struct {
		name string
		p    Person
		from netip.Addr
		at   time.Time
		want error
	}{
		{"at once", alicia, home, now, nil},
		{"where the clock is behind", alicia, home, now.Add(-clockSkew + time.Second), nil},
		{"at the end", alicia, home, now.Add(10*time.Hour - time.Second), nil},
		{"too late", alicia, home, now.Add(10 * time.Hour), ErrExpired},
		{"elsewhere", alicia, there, now, ErrSource},
		{"another person", Person{Directory: "corp", Name: "bob"}, home, now, ErrPrincipal},
		{"another directory", Person{Directory: "partner", Name: "alice"}, home, now, ErrAuthority},
	} {
		if _, err := a.Check(c, tt.p, tt.from, tt.at); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	later, err := a.Certify(c.Key, alicia, home, now.Add(time.Millisecond))
	if err != nil || later.Serial <= c.Serial {
		t.Errorf("serial numbers %d, then %d, %v", c.Serial, later.Serial, err)
	}

	anywhere, _ := issuing(t, func(i *Issue) { i.SourceAddress = fromAny })
	if c, err = anywhere.Certify(c.Key, alicia, home, now); err != nil {
		t.Fatal(err)
	}
	if _, err := anywhere.Check(c, alicia, there, now); err != nil {
		t.Errorf("from any address: %v", err)
	}
}

func TestCertifyRefuses(t *testing.T) {
	a, revoked := issuing(t, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short, err := ssh.NewPublicKey(weak.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t).PublicKey()
	made, err := a.Certify(key, alicia, home, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Certify(short, alicia, home, time.Now()); !errors.Is(err, ErrWeak) {
		t.Errorf("a short key: %v", err)
	}
	if _, err := a.Certify(made, alicia, home, time.Now()); !errors.Is(err, ErrType) {
		t.Errorf("a certificate: %v", err)
	}
	if _, err := a.Certify(key, Person{Directory: "partner", Name: "alice"}, home, time.Now()); !errors.Is(err, ErrAuthority) {
		t.Errorf("a person of another directory: %v", err)
	}
	for _, line := range []string{ssh.FingerprintSHA256(key), "id: alice", "id: Alice"} { // names are one in any case
		if err := os.WriteFile(revoked, []byte(line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Certify(key, alicia, home, time.Now()); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s is revoked: %v", line, err)
		}
		if err := a.Trusts(made, "corp"); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s is revoked, and an older certificate: %v", line, err)
		}
	}
	if err := a.IssueWith(DefaultSettings().Issue, newKey(t)); err == nil || !strings.Contains(err.Error(), "not that of an authority") {
		t.Errorf("a key that nobody trusts: %v", err)
	}
}

// TestCertifyOneDirectory: a certificate names its person by name alone. If the key were
// trusted for two directories, bob of one could log in as bob of the other.
func TestCertifyOneDirectory(t *testing.T) {
	key, other := newKey(t), newKey(t)
	dir := t.TempDir()
	corp, partner := filepath.Join(dir, "corp.pub"), filepath.Join(dir, "partner.pub")
	write := func(file string, key ssh.Signer) {
		if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(key.PublicKey()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(corp, key)
	write(partner, other)
	s := DefaultSettings()
	s.Authorities = []Trusted{{File: corp, Directory: "corp"}, {File: partner, Directory: "partner"}}
	a, err := Open(s, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.IssueWith(s.Issue, key); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Certify(newKey(t).PublicKey(), alicia, home, time.Now()); err != nil {
		t.Errorf("for one directory: %v", err)
	}
	write(partner, key)
	if _, err := a.Certify(newKey(t).PublicKey(), alicia, home, time.Now()); !errors.Is(err, ErrAuthority) {
		t.Errorf("since the key is in both files: %v", err)
	}
	if err := a.IssueWith(s.Issue, key); err == nil || !strings.Contains(err.Error(), "must be one directory") {
		t.Errorf("at the start: %v", err)
	}
}

func TestCheckIssue(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"issue.ca_key: no certificate": func(s *Settings) { s.CAKeys = nil },
		"issue.lifetime: 1s":           func(s *Settings) { s.Issue.Lifetime = time.Second },
		"issue.lifetime: 8760h":        func(s *Settings) { s.Issue.Lifetime = 365 * 24 * time.Hour },
		"issue.source_address: \"x\"":  func(s *Settings) { s.Issue.SourceAddress = "x" },
	} {
		s := DefaultSettings()
		s.CAKeys, s.Issue.CAKey = []string{"/etc/berth/user-ca.pub"}, "/etc/berth/user-ca"
		change(&s)
		if errs := s.Check("corp"); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("got %v, want %q", errs, want)
		}
	}
}

// TestRevoke: a line is added once, to a text only, and the file stays readable for whom
// it was.
func TestRevoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "revoked")
	if err := os.WriteFile(file, []byte("# people\nid: bob"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"id: alice", "serial: 7"} {
		if err := Revoke(file, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := Revoke(file, "id: bob"); !errors.Is(err, ErrListed) {
		t.Errorf("once more: %v", err)
	}
	for _, line := range []string{"", "bob", "id: ", "id: a\nid: b", "serial: x", "SHA256:short"} {
		if err := Revoke(file, line); err == nil || !strings.Contains(err.Error(), "cannot be revoked") {
			t.Errorf("%q: %v", line, err)
		}
	}
	text, err := os.ReadFile(file)
	if want := "# people\nid: bob\nid: alice\nserial: 7\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	krl := filepath.Join(t.TempDir(), "krl")
	if err := os.WriteFile(krl, []byte(krlMagic), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Revoke(krl, "id: bob"); err == nil || !strings.Contains(err.Error(), "key revocation list") {
		t.Errorf("a list of ssh-keygen: %v", err)
	}
	if err := Revoke(file+"-missing", "id: bob"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
