package cert

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// away is the key of an authority in an agent that can be away.
type away struct {
	ssh.Signer
	is    bool
	asked int
}

func (a *away) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	if a.asked++; a.is {
		return nil, errors.New("no agent")
	}
	return a.Signer.Sign(rand, data)
}

// TestHostCertificatesWithoutTheirAuthority: while the authority cannot sign, clients get
// the certificates that there are until these end. Not every login waits for the authority.
func TestHostCertificatesWithoutTheirAuthority(t *testing.T) {
	signers := make([]ssh.Signer, 2)
	for i := range signers {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signers[i], err = ssh.NewSignerFromKey(key); err != nil {
			t.Fatal(err)
		}
	}
	ca := &away{Signer: signers[0]}
	a := &Authority{issuer: &issuer{Issue: Issue{HostNames: []string{"sftp"}}, key: ca}}
	start := time.Now()
	days := func(n float64) time.Time { return start.Add(time.Duration(n * 24 * float64(time.Hour))) }
	for _, tt := range []struct {
		at     time.Time
		away   bool
		asked  int // so often until then
		serial time.Time
		fails  bool
	}{
		{days(0), false, 1, days(0), false},
		{days(4), true, 2, days(0), true},
		{days(4).Add(time.Second), true, 2, days(0), false},
		{days(4).Add(2 * time.Minute), true, 3, days(0), true},
		{days(6.9), true, 4, days(0), true},
		{days(7.1), true, 5, time.Time{}, true},
		{days(8), false, 6, days(8), false},
	} {
		ca.is = tt.away
		got, err := a.HostCertificates(signers[1:], tt.at)
		if (err != nil) != tt.fails || ca.asked != tt.asked || (len(got) == 1) == tt.serial.IsZero() {
			t.Fatalf("after %v: %d certificates, %v, the authority was asked %d times; want %+v", tt.at.Sub(start), len(got), err, ca.asked, tt)
		}
		if len(got) == 1 && got[0].PublicKey().(*ssh.Certificate).Serial != uint64(tt.serial.UnixMicro()) {
			t.Errorf("after %v: not the certificate of %v", tt.at.Sub(start), tt.serial.Sub(start))
		}
	}
}

// slow is the key of an authority in an agent that hangs when a certificate is renewed.
type slow struct {
	ssh.Signer
	hangs       bool
	asked, goOn chan bool
}

func (s *slow) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	if s.hangs {
		s.asked <- true
		<-s.goOn
	}
	return s.Signer.Sign(rand, data)
}

// TestHostCertificatesWhileTheAuthorityHangs: one login waits for a new certificate, and
// the others use the old one.
func TestHostCertificatesWhileTheAuthorityHangs(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca := &slow{Signer: signer, asked: make(chan bool), goOn: make(chan bool)}
	a := &Authority{issuer: &issuer{Issue: Issue{HostNames: []string{"sftp"}}, key: ca}}
	keys, start := []ssh.Signer{signer}, time.Now()
	old, err := a.HostCertificates(keys, start)
	if err != nil {
		t.Fatal(err)
	}
	ca.hangs = true
	later := start.Add(4 * 24 * time.Hour)
	renewed := make(chan []ssh.Signer)
	go func() {
		got, err := a.HostCertificates(keys, later)
		if err != nil {
			t.Error(err)
		}
		renewed <- got
	}()
	<-ca.asked
	if got, err := a.HostCertificates(keys, later); err != nil || !slices.Equal(got, old) {
		t.Errorf("while the authority is asked: %v, %v, want the old certificate", got, err)
	}
	ca.goOn <- true
	if got := <-renewed; len(got) != 1 || got[0] == old[0] {
		t.Errorf("the login that waited got %v, want a new certificate", got)
	}
}

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
