package login

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/sshd/early"
)

// TestDefaultsHaveNothingWeak: what Legacy switches on is off without it.
func TestDefaultsHaveNothingWeak(t *testing.T) {
	s := DefaultSettings()
	s.Ciphers = (&Gate{Settings: s}).ciphers(early.Hello{})
	for _, name := range slices.Concat(s.Ciphers, s.KeyExchanges, s.MACs, s.KeyAlgorithms) {
		if slices.Contains(legacyNames(), name) || strings.Contains(name, "sha1") {
			t.Errorf("%s is offered by default", name)
		}
	}
	if s.KeyExchanges[0] != ssh.KeyExchangeMLKEM768X25519 {
		t.Errorf("first key exchange is %s, want the post-quantum one", s.KeyExchanges[0])
	}
}

func TestLegacyChecks(t *testing.T) {
	s := DefaultSettings()
	s.Legacy = []Legacy{{Algorithms: legacyNames()}}
	if errs := s.Check(); len(errs) > 0 {
		t.Errorf("all there are: %v", errs)
	}
	if got := s.Warnings(); len(got) != len(legacyNames()) {
		t.Errorf("%d warnings for %d algorithms: %q", len(got), len(legacyNames()), got)
	}
	s.MACs = []string{ssh.HMACSHA1}
	s.Legacy = []Legacy{{}, {Algorithms: []string{"rot13", ssh.CipherAES128GCM}}}
	got := errors.Join(s.Check()...).Error()
	for _, want := range []string{
		`macs: "hmac-sha1" is weak`, "legacy[0].algorithms: empty", `legacy[1].algorithms: "rot13" is not one of the old`, `legacy[1].algorithms: "aes128-gcm@openssh.com" is not one of the old`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestLegacyNetworks(t *testing.T) {
	s := &Gate{Settings: Settings{Legacy: []Legacy{
		{Algorithms: []string{"a"}, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")}},
		{Algorithms: []string{"b"}},
	}}}
	for remote, want := range map[string]string{
		"192.0.2.7": "a b", "::ffff:192.0.2.7": "a b", "fe80::1%eth0": "a b", "192.0.3.1": "b", "2001:db8::1": "b",
	} {
		if got := strings.Join(s.legacy(netip.MustParseAddr(remote)), " "); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
	if got := s.legacy(netip.Addr{}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("unknown address: got %q, want b", got)
	}
}

// TestWeaken adds nothing for clients that know better, and leaves the settings
// alone: they belong to all connections.
func TestWeaken(t *testing.T) {
	strong := append(make([]string, 0, 8), ssh.CipherAES128GCM, ssh.CipherAES256CTR)
	old, new := []string{ssh.InsecureCipherAES128CBC, "3des-cbc"}, []string{ssh.InsecureCipherAES128CBC, ssh.CipherAES256CTR}
	tests := []struct {
		name    string
		in, out []string
		want    int
	}{
		{"old client", old, old, 3},
		{"new client", new, new, 2},
		{"new in one direction", new, old, 3},
		{"silent client", nil, nil, 3},
	}
	for _, tt := range tests {
		cfg := &ssh.ServerConfig{Config: ssh.Config{Ciphers: strong}}
		weaken(cfg, []string{ssh.InsecureCipherAES128CBC}, early.Hello{CiphersIn: tt.in, CiphersOut: tt.out})
		if len(cfg.Ciphers) != tt.want {
			t.Errorf("%s: got %q, want %d", tt.name, cfg.Ciphers, tt.want)
		}
		weaken(&ssh.ServerConfig{Config: ssh.Config{Ciphers: strong}}, []string{ssh.InsecureCipherRC4}, early.Hello{})
		if slices.Contains(cfg.Ciphers, ssh.InsecureCipherRC4) {
			t.Errorf("%s: got another connection's", tt.name)
		}
	}
}
