package directory

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// newKey returns an ed25519 key as "ssh-ed25519 AAAA…".
func newKey(t testing.TB) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return line(t, pub)
}

func line(t testing.TB, pub any) string {
	t.Helper()
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// rsaOf returns a public RSA key with a modulus of so many bits. Nobody holds
// the private half.
func rsaOf(t testing.TB, bits int) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	n := key.PublicKey.N
	n.Rsh(n, uint(2048-bits)).SetBit(n, 0, 1)
	return line(t, &key.PublicKey)
}

// dss is an old ssh-dss key in the right wire form, of a prime nobody checks.
func dss(t testing.TB) string {
	t.Helper()
	p := make([]byte, 129) // 1024 bits, positive
	p[1], p[128] = 0x80, 1
	q := make([]byte, 21)
	q[1], q[20] = 0x80, 1
	blob := ssh.Marshal(struct {
		Name       string
		P, Q, G, Y []byte
	}{"ssh-dss", p, q, p[:20], p[:20]})
	return "ssh-dss " + base64.StdEncoding.EncodeToString(blob)
}

func TestParseKeys(t *testing.T) {
	a, b := newKey(t), newKey(t)
	blob := strings.Fields(a)[1]
	ssh2 := "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"a long \\\ncomment\"\nx-other: 1\n" +
		blob[:30] + "\n" + blob[30:] + "\n---- END SSH2 PUBLIC KEY ----\n"

	tests := []struct {
		name   string
		prefix string
		values []string
		keys   int
		notes  []string // each a part of a reason, in order
	}{
		{"none", "", nil, 0, nil},
		{"plain, without a comment", "", []string{a}, 1, nil},
		{"two values", "", []string{a + " one", b + " two"}, 2, nil},
		{"several lines", "", []string{"# old\n\n" + a + " x\r\n" + b + "\r" + a + "\n"}, 3, nil},
		{"NUL at the end", "", []string{a + "\x00"}, 1, nil},
		{"RFC 4716", "", []string{ssh2}, 1, nil},
		{"RFC 4716 with CRLF, then a line", "", []string{strings.ReplaceAll(ssh2, "\n", "\r\n") + b}, 2, nil},
		{"RFC 4716 without end", "", []string{strings.TrimSuffix(ssh2, "---- END SSH2 PUBLIC KEY ----\n")}, 0, []string{"without an end"}},
		{"RFC 4716, header continued for ever", "", []string{"---- BEGIN SSH2 PUBLIC KEY ----\nA: \\\n\\\n\\"}, 0, []string{"without an end"}},
		{"RFC 4716, not base64", "", []string{"---- BEGIN SSH2 PUBLIC KEY ----\n!!\n---- END SSH2 PUBLIC KEY ----"}, 0, []string{"not base64"}},
		{"RFC 4716, no key", "", []string{"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----"}, 0, []string{"no public key"}},
		{"prefix", "SSHKey:", []string{"sshkey:" + a, "SSHKey: " + b, "X509:<I>DC=x", a}, 2, nil},
		{"garbage", "", []string{"hello", "ssh-ed25519 AAAA", "\xff\xfe", ""}, 0, []string{"not an", "not an", "not an"}},
		{"harmless options", "", []string{`restrict,pty,no-port-forwarding,environment="A=b",permitopen="h:1" ` + a}, 1, nil},
		{"honoured options", "", []string{`from="10.0.0.0/8",expiry-time="20990101",no-touch-required ` + a}, 1, nil},
		{"forced command", "", []string{`command="ls, \"x\"" ` + a, b}, 1, []string{"forced command"}},
		{"unknown option", "", []string{`sandbox="1" ` + a}, 0, []string{`unknown option "sandbox"`}},
		{"cert-authority", "", []string{"cert-authority " + a}, 0, []string{"authority"}},
		{"verify-required", "", []string{"verify-required " + a}, 1, nil},
		{"empty from", "", []string{`from="" ` + a, `from="!" ` + a, "from " + a}, 0, []string{"empty", "empty", "empty"}},
		{"bad expiry", "", []string{`expiry-time="soon" ` + a, `expiry-time="20261399" ` + a}, 0, []string{"YYYYMMDD", "YYYYMMDD"}},
		{"weak RSA", "", []string{rsaOf(t, 1024)}, 0, []string{"RSA key of 1024 bits is shorter than 2048"}},
		{"RSA", "", []string{rsaOf(t, 2048)}, 1, nil},
		{"DSA", "", []string{dss(t), `from="10.*" ` + dss(t), newKey(t)}, 1, []string{"DSA is not supported", "DSA is not supported"}},
		{"too long", "", []string{strings.Repeat("#", 1<<20), a}, 1, []string{"value of 1048576 bytes"}},
		{"too many", "", []string{strings.Repeat(a+"\n", MaxKeys+1)}, MaxKeys, []string{"may have 100 keys"}},
		{"too many notes", "", []string{strings.Repeat("x\n", 30000)}, 0, repeat("not an", maxKeyNotes)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, notes := ParseKeys("sshPublicKey", tt.prefix, tt.values)
			if len(keys) != tt.keys || len(notes) != len(tt.notes) {
				t.Fatalf("got %d keys, notes %v; want %d keys, notes %q", len(keys), notes, tt.keys, tt.notes)
			}
			for i, note := range notes {
				if !strings.Contains(note.Reason, tt.notes[i]) || note.Attribute != "sshPublicKey" {
					t.Errorf("note %d: got %+v, want a reason with %q", i, note, tt.notes[i])
				}
			}
		})
	}
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func TestKeyFields(t *testing.T) {
	a := newKey(t)
	keys, notes := ParseKeys("k", "", []string{"junk", `FROM="10.1.*,!10.1.9.9",expiry-time="20300102030405Z",no-touch-required ` + a + " alice@desk top"})
	if len(keys) != 1 || len(notes) != 1 {
		t.Fatalf("got %d keys, %d notes, want 1 and 1", len(keys), len(notes))
	}
	got := fmt.Sprint(keys[0].Comment, keys[0].From, keys[0].Expires, keys[0].NoTouch, keys[0].Verified, keys[0].Attribute, keys[0].Index)
	want := fmt.Sprint("alice@desk top", []string{"10.1.*", "!10.1.9.9"}, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), true, false, "k", 1)
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if notes[0].Index != 0 || notes[0].Fingerprint != "" {
		t.Errorf("got note %+v, want index 0 and no fingerprint", notes[0])
	}
	weak := rsaOf(t, 1536)
	pub, _, _, _, _ := ssh.ParseAuthorizedKey([]byte(weak))
	_, notes = ParseKeys("k", "", []string{weak})
	if len(notes) != 1 || notes[0].Fingerprint != ssh.FingerprintSHA256(pub) {
		t.Errorf("got %+v, want the fingerprint %s", notes, ssh.FingerprintSHA256(pub))
	}
}

func TestCertificateIsNoKey(t *testing.T) {
	pub, private, _ := ed25519.GenerateKey(rand.Reader)
	key, _ := ssh.NewPublicKey(pub)
	signer, _ := ssh.NewSignerFromKey(private)
	cert := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	keys, notes := ParseKeys("k", "", []string{string(ssh.MarshalAuthorizedKey(cert))})
	if len(keys) != 0 || len(notes) != 1 {
		t.Errorf("got %d keys, notes %v, want only a note", len(keys), notes)
	}
}

func TestUsable(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		from    string
		expires time.Time
		remote  string
		want    bool
	}{
		{"", time.Time{}, "192.0.2.1", true},
		{"", now.Add(time.Second), "192.0.2.1", true},
		{"", now, "192.0.2.1", false},
		{"10.0.0.0/8", time.Time{}, "10.2.3.4", true},
		{"10.0.0.0/8", time.Time{}, "11.2.3.4", false},
		{"10.0.0.0/8", time.Time{}, "::ffff:10.2.3.4", true},
		{"10.0.0.0/8,!10.2.3.4", time.Time{}, "10.2.3.4", false},
		{"!10.2.3.4,10.0.0.0/8", time.Time{}, "10.2.3.4", false},
		{"!10.2.3.4", time.Time{}, "10.2.3.5", false}, // nothing positive matched
		{"192.0.2.*", time.Time{}, "192.0.2.77", true},
		{"192.0.2.?", time.Time{}, "192.0.2.77", false},
		{"*", time.Time{}, "2001:db8::1", true},
		{"2001:DB8::/32", time.Time{}, "2001:db8::1", true},
		{"2001:DB8:*", time.Time{}, "2001:db8::1", true},
		{"fe80::1", time.Time{}, "fe80::1%eth0", true},
		{"*.corp.example", time.Time{}, "192.0.2.1", false},
		{"192.0.2.1", time.Time{}, "192.0.2.1", true},
		{"192.0.*.*", time.Time{}, "192.0.2.77", true},
		{"192.0.*.7", time.Time{}, "192.0.2.77", false},
		{"192.0.*7", time.Time{}, "192.0.2.77", true},
		{"192.0.2.7[0-9]", time.Time{}, "192.0.2.77", false}, // no classes in OpenSSH
		{`192.0.2.7\7`, time.Time{}, "192.0.2.77", false},
		{"192.0.2.[", time.Time{}, "192.0.2.77", false},
	}
	for _, tt := range tests {
		k := Key{Expires: tt.expires}
		if tt.from != "" {
			k.From = strings.Split(tt.from, ",")
		}
		if err := k.Usable(netip.MustParseAddr(tt.remote), now); (err == nil) != tt.want {
			t.Errorf("from %q, expires %v: Usable(%s) = %v, want usable: %t", tt.from, tt.expires, tt.remote, err, tt.want)
		}
	}
	limited := Key{From: []string{"*"}}
	if err := limited.Usable(netip.Addr{}, now); err == nil {
		t.Error("a key with from= is usable from an unknown address, want an error")
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(newKey(f), "")
	f.Add(`from="1.2.3.4,*",expiry-time="20260101" `+newKey(f), "SSHKey:")
	f.Add("---- BEGIN SSH2 PUBLIC KEY ----\nComment: \\\n\nAAAA\n---- END SSH2 PUBLIC KEY ----", "")
	f.Fuzz(func(t *testing.T, value, prefix string) {
		keys, notes := ParseKeys("a", prefix, []string{value})
		if len(keys) > MaxKeys || len(notes) > maxKeyNotes {
			t.Errorf("got %d keys and %d notes, want at most %d and %d", len(keys), len(notes), MaxKeys, maxKeyNotes)
		}
		for _, k := range keys {
			if k.PublicKey == nil {
				t.Error("got a key without a public key")
			}
			_ = k.Usable(netip.MustParseAddr("192.0.2.1"), time.Unix(0, 0))
		}
	})
}

// TestDSA sees that a key nobody can log in with is not taken for a new one.
func TestDSA(t *testing.T) {
	if _, err := OneKey(dss(t)); !errors.Is(err, ErrKeyUnusable) {
		t.Errorf("OneKey = %v, want ErrKeyUnusable", err)
	}
}

// TestSeveralExpiries has the earliest of several ends of a key count, wherever
// it is.
func TestSeveralExpiries(t *testing.T) {
	want := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, options := range []string{
		`expiry-time="20300102Z",expiry-time="20310102Z"`,
		`expiry-time="20310102Z",expiry-time="20300102Z"`,
		`expiry-time="20310102Z",expiry-time="20300102Z",expiry-time="20320102Z"`,
	} {
		keys, notes := ParseKeys("k", "", []string{options + " " + newKey(t)})
		if len(keys) != 1 || !keys[0].Expires.Equal(want) {
			t.Errorf("%s: %v, %v; want one key until %v", options, keys, notes, want)
		}
	}
}
