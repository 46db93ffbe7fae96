package cert

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestHostCertificates: host keys get certificates that a client accepts for the names,
// which are renewed before they end, also when the clock was set back.
func TestHostCertificates(t *testing.T) {
	signer := func() ssh.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ca, key := signer(), signer()
	a := &Authority{issuer: &issuer{Issue: Issue{HostNames: []string{"sftp.corp.example", "sftp"}}, key: ca}}
	checker := ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return slices.Equal(k.Marshal(), ca.PublicKey().Marshal()) }}
	serial := func(now time.Time) uint64 {
		t.Helper()
		got, err := a.HostCertificates([]ssh.Signer{key}, now)
		if err != nil || len(got) != 1 {
			t.Fatalf("HostCertificates = %v, %v", got, err)
		}
		checker.Clock = func() time.Time { return now }
		for name, good := range map[string]bool{"sftp.corp.example:22": true, "sftp:2022": true, "evil.example:22": false} {
			if err := checker.CheckHostKey(name, nil, got[0].PublicKey()); (err == nil) != good {
				t.Errorf("a client of %s says %v", name, err)
			}
		}
		if again, err := a.HostCertificates([]ssh.Signer{key, got[0]}, now); err != nil || len(again) != 1 || again[0] != got[0] {
			t.Errorf("the same moment gives another one: %v, %v", again, err)
		}
		return got[0].PublicKey().(*ssh.Certificate).Serial
	}
	start := time.Now()
	first := serial(start)
	if serial(start.Add(3*24*time.Hour)) != first {
		t.Error("renewed after three days")
	}
	later := serial(start.Add(4 * 24 * time.Hour))
	if later == first {
		t.Error("not renewed after four days")
	}
	if serial(start.Add(-30*24*time.Hour)) == later {
		t.Error("not renewed when the clock was set back")
	}
	var none *Authority
	for _, a := range []*Authority{none, {}, {issuer: &issuer{key: ca}}} {
		if got, err := a.HostCertificates([]ssh.Signer{key}, start); got != nil || err != nil {
			t.Errorf("without names: %v, %v", got, err)
		}
	}
}
