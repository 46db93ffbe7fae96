package ldap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/directory"
	"berth/directory/ldap"
)

// TestExpiredCertificate meets a server whose certificate was good yesterday,
// and one whose will be good tomorrow.
func TestExpiredCertificate(t *testing.T) {
	day := 24 * time.Hour
	for name, from := range map[string]time.Duration{"yesterday": -2 * day, "tomorrow": day} {
		t.Run(name, func(t *testing.T) {
			url, ca := tlsServer(t, time.Now().Add(from))
			s := fakeSettings(url)
			s.CAFile = ca
			c := open(t, s)
			if err := c.Ping(t.Context()); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), "expired or is not yet valid") {
				t.Errorf("Ping = %v, want that the certificate is not valid now", err)
			}
			findings := c.Report(t.Context(), nil)
			if len(findings) == 0 || findings[0].Level != ldap.Bad || !strings.Contains(findings[0].Detail, "expired or is not yet valid") {
				t.Errorf("Report = %v, want a bad certificate first", findings)
			}
		})
	}
}

// TestCertificateEnds: metrics know when certificates end, once a server has shown its own.
func TestCertificateEnds(t *testing.T) {
	from := time.Now().Add(-time.Hour).Truncate(time.Second)
	url, ca := tlsServer(t, from)
	s := fakeSettings(url)
	s.CAFile = ca
	c := open(t, s)
	if got := c.Traffic()[0].Certificate; !got.IsZero() {
		t.Errorf("before any connection the certificate ends at %v", got)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("a server that says nothing answers")
	}
	want := from.Add(24 * time.Hour)
	if got := c.Traffic()[0].Certificate; !got.Equal(want) {
		t.Errorf("the certificate of the server ends at %v, want %v", got, want)
	}
	if got := c.CAEnd(); !got.Equal(want) {
		t.Errorf("the first certificate of the CA file ends at %v, want %v", got, want)
	}
}

// TestNewAuthorities has a CA file that is changed while the client is open.
func TestNewAuthorities(t *testing.T) {
	url, right := tlsServer(t, time.Now().Add(-time.Hour))
	_, wrong := tlsServer(t, time.Now().Add(-time.Hour))
	s := fakeSettings(url)
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	put := func(from string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err != nil {
			text = []byte(from)
		}
		if err := os.WriteFile(s.CAFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(wrong)
	c := open(t, s)
	for _, tt := range []struct {
		name, content string
		unknown       bool
	}{
		{"of another server", wrong, true},
		{"of this server", right, false},
		{"no certificate, so the last one counts", "nothing", false},
		{"of another server again", wrong, true},
	} {
		put(tt.content)
		if findings := c.Report(t.Context(), nil); strings.Contains(fmt.Sprint(findings), "ca_file must hold") != tt.unknown {
			t.Errorf("%s: %v, want an unknown authority: %t", tt.name, findings, tt.unknown)
		}
	}
}

// tlsServer accepts TLS with a certificate that is good for a day, and says
// nothing.
func tlsServer(t *testing.T, from time.Time) (url, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = nc.Read(make([]byte, 1)) // the handshake fails here
			_ = nc.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "ldaps://" + l.Addr().String(), caFile
}

// All mistakes are reported at once, each with its key and what would be
// right.
func ExampleOpen() {
	_, err := ldap.Open(ldap.Settings{
		Kind:   "openldap",
		URLs:   []string{"ldap://ldap.corp.example"},
		Base:   "dc=corp,dc=example",
		BindDN: "cn=berth,dc=corp,dc=example",
	}, nil)
	fmt.Println(err)
	// Output:
	// bind_password: missing for bind_dn "cn=berth,dc=corp,dc=example": must be set here or in bind_password_file
	// urls: "ldap://ldap.corp.example": would send passwords in the clear: use ldaps:// or start_tls: true (if neither is possible, insecure: true)
}
