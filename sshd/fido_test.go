package sshd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"math/big"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/directory"
)

// An authenticator is a FIDO key in software, as PROTOCOL.u2f of OpenSSH has
// them: it signs what the token would, and has been touched or not.
type authenticator struct {
	public   ssh.PublicKey
	sign     func(digest []byte) []byte // over the data of the token
	touched  bool
	verifies bool
	counter  uint32
}

const (
	fidoApplication = "ssh:"
	fidoTouched     = 0x01 // the flag for "user present"
	fidoVerified    = 0x04 // and for "user verified"
)

func newAuthenticator(t *testing.T, kind string) *authenticator {
	t.Helper()
	a := &authenticator{touched: true}
	var wire []byte
	switch kind {
	case ssh.KeyAlgoSKED25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		wire = ssh.Marshal(struct {
			Kind        string
			Key         []byte
			Application string
		}{kind, public, fidoApplication})
		a.sign = func(data []byte) []byte { return ed25519.Sign(private, data) }
	case ssh.KeyAlgoSKECDSA256:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		wire = ssh.Marshal(struct {
			Kind, Curve string
			Key         []byte
			Application string
		}{kind, "nistp256", point, fidoApplication})
		a.sign = func(data []byte) []byte {
			digest := sha256.Sum256(data)
			r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
			if err != nil {
				panic(err)
			}
			return ssh.Marshal(struct{ R, S *big.Int }{r, s})
		}
	}
	var err error
	if a.public, err = ssh.ParsePublicKey(wire); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authenticator) PublicKey() ssh.PublicKey { return a.public }

func (a *authenticator) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	a.counter++
	var flags byte
	if a.touched {
		flags |= fidoTouched
	}
	if a.verifies {
		flags |= fidoVerified
	}
	application, message := sha256.Sum256([]byte(fidoApplication)), sha256.Sum256(data)
	signed := slices.Concat(application[:], []byte{flags}, ssh.Marshal(struct{ Counter uint32 }{a.counter}), message[:])
	return &ssh.Signature{
		Format: a.public.Type(),
		Blob:   a.sign(signed),
		Rest: ssh.Marshal(struct {
			Flags   byte
			Counter uint32
		}{flags, a.counter}),
	}, nil
}

func TestFIDO(t *testing.T) {
	for _, kind := range []string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256} {
		tests := []struct {
			name                    string
			options                 string
			touched, verifies, want bool
		}{
			{"touched", "", true, false, true},
			{"not touched", "", false, false, false},
			{"not touched, and need not be", "no-touch-required ", false, false, true},
			{"not verified", "verify-required ", true, false, false},
			{"verified", "verify-required ", true, true, true},
			{"verified and not touched", "verify-required ", false, true, false},
		}
		for _, tt := range tests {
			t.Run(kind+" "+tt.name, func(t *testing.T) {
				a := newAuthenticator(t, kind)
				a.touched, a.verifies = tt.touched, tt.verifies
				f := start(t, func(f *fixture) {
					line := tt.options + string(ssh.MarshalAuthorizedKey(a.public))
					f.people.users["alice"].Keys, f.people.users["alice"].Notes = directory.ParseKeys("k", "", []string{line})
				})
				_, _, err := f.dial(t, "alice", ssh.PublicKeys(a))
				if tt.options == "verify-required " {
					_, patched := f.must(t, ssh.Password("secret-1")).Conn.(charged)
					tt.want = tt.want && patched
				}
				if (err == nil) != tt.want {
					t.Errorf("login = %v, want success: %t", err, tt.want)
				}
			})
		}
	}
}

// TestFIDOInCertificates checks that the touch is required unless the
// authority waives it, as in OpenSSH.
func TestFIDOInCertificates(t *testing.T) {
	for _, kind := range []string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256} {
		for _, tt := range []struct{ touched, waived, want bool }{
			{true, false, true}, {false, false, false}, {false, true, true},
		} {
			c := newCity(t)
			a := newAuthenticator(t, kind)
			a.touched, c.key = tt.touched, a
			f := c.start(t)
			_, _, err := f.dial(t, "alice", c.certify(t, c.ca, func(made *ssh.Certificate) {
				if tt.waived {
					made.Extensions = map[string]string{"no-touch-required": ""}
				}
			}))
			if (err == nil) != tt.want {
				t.Errorf("%s, touched %t, waived %t: login = %v, want success: %t", kind, tt.touched, tt.waived, err, tt.want)
			}
		}
	}
}

// TestFIDOKeysCanBeAdded by their owner.
func TestFIDOKeysCanBeAdded(t *testing.T) {
	f := start(t, withKeys)
	a := newAuthenticator(t, ssh.KeyAlgoSKED25519)
	if _, stderr, status := run1(t, f.must(t), "keys add", string(ssh.MarshalAuthorizedKey(a.public))); status != 0 {
		t.Errorf("keys add = %d, %q", status, stderr)
	}
	f.must(t, ssh.PublicKeys(a))
}
