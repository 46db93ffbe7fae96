package sshd

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event"
	"berth/sshd/state"
)

// A city has an authority that certifies keys.
type city struct {
	ca      ssh.Signer
	key     ssh.Signer
	revoked string // file
	trusted string // file
}

func newCity(t *testing.T) *city {
	dir := t.TempDir()
	c := &city{ca: newSigner(t), key: newSigner(t), revoked: filepath.Join(dir, "revoked"), trusted: filepath.Join(dir, "ca.pub")}
	c.write(t, c.trusted, string(ssh.MarshalAuthorizedKey(c.ca.PublicKey())))
	c.write(t, c.revoked, "")
	return c
}

func (c *city) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a server that trusts the authority.
func (c *city) start(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	a, err := cert.Open(cert.Settings{CAKeys: []string{c.trusted}, Revoked: []string{c.revoked}, PrincipalAttributes: []string{"Mail"}})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, append(change, func(f *fixture) {
		f.Gate.Certificates = a
		f.people.users["alice"].Keys = nil
		f.people.users["alice"].Attrs = map[string][]string{"mail": {"alice@corp.example"}}
	})...)
}

// certify makes a certificate for alice, which change may alter before it is
// signed by ca.
func (c *city) certify(t *testing.T, ca ssh.Signer, change ...func(*ssh.Certificate)) ssh.AuthMethod {
	t.Helper()
	made := &ssh.Certificate{
		Key: c.key.PublicKey(), Serial: 7, CertType: ssh.UserCert, KeyId: "alice@laptop", ValidPrincipals: []string{"alice"},
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	for _, alter := range change {
		alter(made)
	}
	// SignCert refuses a certificate without principals.
	made.SignatureKey = ca.PublicKey()
	unsigned := made.Marshal()
	var err error
	if made.Signature, err = ca.Sign(rand.Reader, unsigned[:len(unsigned)-4]); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(made, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.PublicKeys(s)
}

func option(name, value string) func(*ssh.Certificate) {
	return func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{name: value} }
}

func TestCertificates(t *testing.T) {
	c := newCity(t)
	tests := []struct {
		name   string
		user   string
		ca     ssh.Signer
		change func(*ssh.Certificate)
		state  directory.Status
		want   string // reason of the refusal, "" for a login
		told   string
	}{
		{name: "hers"},
		{name: "another spelling of the login", user: "ALICE"},
		{name: "made out to an attribute", change: func(c *ssh.Certificate) { c.ValidPrincipals = []string{"alice@corp.example"} }},
		{name: "from here", change: option("source-address", "127.0.0.0/8")},
		{name: "for a service", change: option("force-command", "internal-sftp")},
		{name: "no principals", change: func(c *ssh.Certificate) { c.ValidPrincipals = nil }, want: "certificate_principal"},
		{name: "somebody else's", change: func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob"} }, want: "certificate_principal"},
		{name: "another authority", ca: newSigner(t), want: "certificate_authority"},
		{name: "host", change: func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, want: "certificate_type"},
		{name: "expired", change: func(c *ssh.Certificate) { c.ValidBefore = 1 }, want: "certificate_expired"},
		{name: "from elsewhere", change: option("source-address", "192.0.2.0/24"), want: "certificate_source"},
		{name: "for a command", change: option("force-command", "/bin/sh"), want: "certificate_option"},
		{name: "for a service with words", change: option("force-command", "internal-sftp -R"), want: "certificate_option"},
		{name: "option", change: option("no-such-option", ""), want: "certificate_option"},
		{name: "must be verified, and is no FIDO key", change: option("verify-required", ""), want: "key_not_accepted"},
		{name: "nobody", user: "zoe", want: "unknown_user"},
		{name: "disabled", state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := c.start(t)
			if tt.state != 0 {
				f.people.set("alice", tt.state)
			}
			if tt.user == "" {
				tt.user = "alice"
			}
			if tt.ca == nil {
				tt.ca = c.ca
			}
			if tt.change == nil {
				tt.change = func(*ssh.Certificate) {}
			}
			_, banner, err := f.dial(t, tt.user, c.certify(t, tt.ca, tt.change))
			if (err == nil) != (tt.want == "") || !strings.Contains(banner, tt.told) || (tt.told == "" && banner != "") {
				t.Fatalf("login = %v, told %q, want reason %q and %q", err, banner, tt.want, tt.told)
			}
			if err != nil {
				f.hangUp()
				if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{tt.want}) {
					t.Errorf("reasons = %q, want %q", got, tt.want)
				}
				return
			}
			e := f.events.last(event.LoginAccepted)
			if e.Method != "publickey" || e.User != "alice" || e.Fields["certificate"] != "alice@laptop" || e.Fields["certificate_serial"] != "7" ||
				e.Fields["certificate_authority"] != ssh.FingerprintSHA256(c.ca.PublicKey()) {
				t.Errorf("event = %+v", e)
			}
		})
	}
}

// last returns the last event of a type.
func (r *recorder) last(t event.Type) event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(r.events) {
		if e.Type == t {
			return e
		}
	}
	return event.Event{}
}

// TestCertificateOfAnothersKey sees that a certificate alone proves nothing.
func TestCertificateOfAnothersKey(t *testing.T) {
	c := newCity(t)
	f := c.start(t)
	mine := newSigner(t)
	made := &ssh.Certificate{Key: c.key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity}
	if err := made.SignCert(rand.Reader, c.ca); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(thief{mine, made})); err == nil {
		t.Error("logged in with a key that is not the certificate's")
	}
}

// A thief shows a certificate and signs with another key.
type thief struct {
	ssh.Signer
	stolen ssh.PublicKey
}

func (t thief) PublicKey() ssh.PublicKey { return t.stolen }

func TestNoAuthorityNoCertificates(t *testing.T) {
	c := newCity(t)
	f := start(t)
	if _, _, err := f.dial(t, "alice", c.certify(t, c.ca)); err == nil {
		t.Error("logged in, and no authority is configured")
	}
	f.hangUp()
	if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{"key_not_accepted"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestForceCommand(t *testing.T) {
	c := newCity(t)
	f := c.start(t)
	client := f.must(t, c.certify(t, c.ca, option("force-command", "whoami")))
	if out, _, status := run1(t, client, "whoami", ""); status != 0 || !strings.Contains(out, "alice") {
		t.Errorf("whoami = %d: %s", status, out)
	}
	for _, command := range []string{"quota", "passwd", "scp -t x"} {
		if _, told, status := run1(t, client, command, ""); status != 1 || !strings.Contains(told, "Your certificate is not for") {
			t.Errorf("%s = %d: %s", command, status, told)
		}
	}
	if got := f.events.last(event.ServiceRefused); got.Reason != event.NotInCertificate {
		t.Errorf("event = %+v", got)
	}
	// It holds on after the rules were looked at again.
	f.Reconsider(t.Context())
	if _, _, status := run1(t, client, "quota", ""); status != 1 {
		t.Errorf("quota = %d after a look at the rules", status)
	}
}

// TestForceCommandAndPassword sees that a certificate binds as one of several
// factors, too.
func TestForceCommandAndPassword(t *testing.T) {
	c := newCity(t)
	f := c.start(t, func(f *fixture) {
		f.change(func(p *policy.Policy) { p.Require = [][]string{{"publickey", "password"}} })
	})
	client := f.must(t, c.certify(t, c.ca, option("force-command", "whoami")), ssh.Password("secret-1"))
	if _, _, status := run1(t, client, "quota", ""); status != 1 {
		t.Errorf("quota = %d", status)
	}
	if e := f.events.last(event.LoginAccepted); e.Fields["certificate"] != "alice@laptop" {
		t.Errorf("event = %+v", e)
	}
}

func TestRevokedCertificateEndsSession(t *testing.T) {
	for name, revoke := range map[string]func(*city){
		"certificate_revoked":   func(c *city) { c.write(t, c.revoked, "serial: 7\n") },
		"certificate_authority": func(c *city) { c.write(t, c.trusted, string(ssh.MarshalAuthorizedKey(newSigner(t).PublicKey()))+"\n") },
	} {
		c := newCity(t)
		f := c.start(t)
		client := f.must(t, c.certify(t, c.ca))
		f.Reconsider(t.Context())
		if _, _, status := run1(t, client, "whoami", ""); status != 0 {
			t.Fatal("the session ended too early")
		}
		revoke(c)
		f.people.down = true // the lists are files: no directory is needed to read them
		f.Reconsider(t.Context())
		client.Wait()
		f.hangUp()
		if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{name}) {
			t.Errorf("reasons = %q, want %q", got, name)
		}
	}
}

// TestRevokedKey: a key that is revoked is of no use without a certificate either, to log in
// or in an open session, with an authority or without. Other keys are as good as before.
func TestRevokedKey(t *testing.T) {
	for _, authority := range []bool{true, false} {
		c := newCity(t)
		s := cert.Settings{Revoked: []string{c.revoked}}
		if authority {
			s.CAKeys = []string{c.trusted}
		}
		a, err := cert.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		kept := &penalized{Store: state.NewMemory(state.DefaultSettings())}
		f := start(t, func(f *fixture) {
			f.Gate.Certificates, f.Gate.State = a, kept
			f.people.users["alice"].Keys = append(f.people.users["alice"].Keys, directory.Key{PublicKey: c.key.PublicKey()})
			f.change(func(p *policy.Policy) { p.Services = append(p.Services, "keys") })
		})
		client := f.must(t, ssh.PublicKeys(c.key))
		run1(t, client, "whoami", "")
		c.write(t, c.revoked, ssh.FingerprintSHA256(c.key.PublicKey())+"\n")
		f.people.down = true
		f.Reconsider(t.Context())
		client.Wait()
		f.hangUp()
		f.people.down = false
		if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"key_revoked"}) {
			t.Errorf("authority %t: reasons = %q", authority, got)
		}
		if _, _, err := f.dial(t, "alice", ssh.PublicKeys(c.key)); err == nil {
			t.Errorf("authority %t: a revoked key logs in", authority)
		}
		f.hangUp()
		if e := f.events.last(event.LoginRejected); !slices.Contains(f.events.reasons(event.LoginRejected), "key_revoked") || len(kept.kinds) != 1 {
			t.Errorf("authority %t: event %+v, penalties %v", authority, e, kept.kinds)
		}
		other := f.must(t, ssh.PublicKeys(f.key))
		if _, told, status := run1(t, other, "keys add", publicLine(c.key)+"\n"); status == 0 || !strings.Contains(told, "This key has been revoked.") {
			t.Errorf("authority %t: keys add = %d, %q", authority, status, told)
		}
		c.write(t, c.revoked, "nonsense\n")
		if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
			t.Errorf("authority %t: a key is accepted that may be revoked", authority)
		}
		if got := f.events.last(event.LoginRejected).Reason; got != event.CertificatesUnreadable {
			t.Errorf("authority %t: reason %q", authority, got)
		}
		f.Reconsider(t.Context())
		if _, _, status := run1(t, other, "whoami", ""); status != 0 {
			t.Errorf("authority %t: the open session ended", authority)
		}
	}
}

// TestUnreadableRevocationsHideNothing: an open session ends for any other reason although
// the list of revoked certificates cannot be read.
func TestUnreadableRevocationsHideNothing(t *testing.T) {
	for reason, happens := range map[string]func(f *fixture, revoke func()){
		"account_disabled": func(f *fixture, _ func()) {
			f.people.mu.Lock()
			defer f.people.mu.Unlock()
			f.people.users["alice"].State.Status = directory.StatusDisabled
		},
		"no_rule": func(_ *fixture, revoke func()) { revoke() },
	} {
		c := newCity(t)
		f := c.start(t)
		revoke := f.revocable()
		client := f.must(t, c.certify(t, c.ca))
		run1(t, client, "whoami", "")
		c.write(t, c.revoked, "nonsense\n")
		happens(f, revoke)
		f.Reconsider(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- client.Wait() }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the session goes on", reason)
		}
		f.hangUp()
		if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{reason}) {
			t.Errorf("reasons = %q, want %q", got, reason)
		}
	}
}

// TestUnreadableRevocations keeps people out, without a penalty, and leaves in who is in.
func TestUnreadableRevocations(t *testing.T) {
	c := newCity(t)
	kept := &penalized{Store: state.NewMemory(state.DefaultSettings())}
	f := c.start(t, func(f *fixture) { f.Gate.State = kept })
	client := f.must(t, c.certify(t, c.ca))
	c.write(t, c.revoked, "nonsense\n")
	f.Reconsider(t.Context())
	if _, _, status := run1(t, client, "whoami", ""); status != 0 {
		t.Error("the session ended")
	}
	if _, _, err := f.dial(t, "alice", c.certify(t, c.ca)); err == nil {
		t.Error("logged in, and nobody can say who is revoked")
	}
	if got := f.events.last(event.LoginRejected).Reason; got != event.CertificatesUnreadable {
		t.Errorf("reason = %q", got)
	}
	client.Close()
	f.hangUp()
	if len(kept.kinds) > 0 {
		t.Errorf("penalties %q, want none", kept.kinds)
	}
}
