package ldap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/directory/ldap"
	"berth/test/peers"
)

// certificateSettings have the certificate of the service account in place of its
// password.
func certificateSettings(t *testing.T, p *peers.Peer) ldap.Settings {
	s := settings(p)
	s.BindDN, s.BindPassword = "", ""
	s.Bind = ldap.Bind{Certificate: filepath.Join(t.TempDir(), "svc.pem"), Key: filepath.Join(t.TempDir(), "svc.key")}
	for to, from := range map[string]string{s.Bind.Certificate: "svc.pem", s.Bind.Key: "svc.key"} {
		put(t, to, filepath.Join(p.Dir, "tls", from))
	}
	return s
}

// put copies a file.
func put(t *testing.T, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCertificateOpenLDAP runs the whole suite with a certificate of the service
// account.
func TestCertificateOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	openLDAPSuite(p, open(t, certificateSettings(t, p))).Run(t)
}

// TestCertificateChanges has files that change while the client is open.
func TestCertificateChanges(t *testing.T) {
	p, other := peers.OpenLDAP(t), peers.OpenLDAP(t)
	for _, url := range []string{p.LDAPS, p.LDAP} {
		s := certificateSettings(t, p)
		s.URLs, s.StartTLS = []string{url}, strings.HasPrefix(url, "ldap:")
		c := open(t, s)
		for _, tt := range []struct {
			name, cert, key, want string
		}{
			{"as it was", p.Dir, p.Dir, "ok: server " + url + ": bound as the certificate "},
			{"another key, which does not fit", p.Dir, other.Dir, "ok: server " + url},
			{"another pair, whose authority the server does not know", other.Dir, other.Dir, "bad: server " + url + ": "},
			{"as it was again", p.Dir, p.Dir, "ok: server " + url},
		} {
			put(t, s.Bind.Certificate, filepath.Join(tt.cert, "tls/svc.pem"))
			put(t, s.Bind.Key, filepath.Join(tt.key, "tls/svc.key"))
			c := c
			if strings.HasPrefix(tt.name, "as it was") {
				c = open(t, s) // a refusal is kept for some seconds
			}
			if text := reportText(c.Report(t.Context(), nil)); !strings.Contains(text, tt.want) {
				t.Errorf("%s: the report has no %q:\n%s", tt.name, tt.want, text)
			}
		}
	}
}

// TestPasswordFileChanges: a file that is broken just now does not end the searches.
func TestPasswordFileChanges(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindPassword, s.BindPasswordFile = "", filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(s.BindPasswordFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(p.BindPassword + "\n")
	c := open(t, s)
	for _, tt := range []struct{ name, text, want string }{
		{"right", p.BindPassword + "\nmore", "ok: server "},
		{"empty", "", "ok: server "},
		{"with a mark", "\xff\xfex", "ok: server "},
		{"wrong", "wrong\n", "bad: server "},
	} {
		write(tt.text)
		if text := reportText(c.Report(t.Context(), nil)); !strings.Contains(text, tt.want) {
			t.Errorf("%s: the report has no %q:\n%s", tt.name, tt.want, text)
		}
	}
}

// TestCertificateDS389 is EXTERNAL with 389 DS, which finds the entry by the subject of
// the certificate.
func TestCertificateDS389(t *testing.T) {
	p := peers.DS389(t)
	c := open(t, certificateSettings(t, p))
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil || len(u.Groups) == 0 {
		t.Fatalf("Lookup = %v, %v, want alice", u, err)
	}
	if text := reportText(c.Report(t.Context(), nil)); !strings.Contains(text, "ok: key change: the certificate ") {
		t.Errorf("the report does not know what the account may write:\n%s", text)
	}
}
