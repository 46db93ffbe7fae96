package hostkey

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestParsePublic(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		for _, f := range []Format{OpenSSH, PEM, PKCS8, RFC4716} {
			text, err := k.EncodePublic(f)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParsePublic(text); err != nil || !bytes.Equal(got.Public.Marshal(), k.Public.Marshal()) {
				t.Errorf("public %s: %v, want the key", f, err)
			}
		}
		for _, f := range []Format{PPK2, PPK3} {
			for how, pass := range passphrases {
				text, err := k.Encode(f, pass)
				if err != nil {
					t.Fatal(err)
				}
				got, err := ParsePublic(text)
				if err != nil || got.Private != nil || got.Comment != k.Comment || !bytes.Equal(got.Public.Marshal(), k.Public.Marshal()) {
					t.Errorf("%s %s: %+v, %v; want the public key", f, how, got, err)
				}
			}
		}
		for _, f := range []Format{OpenSSH, PEM, PKCS8} {
			for how, pass := range passphrases {
				if slow(f, how, name) || f == PEM && (how == "sealed" || name == "ed25519") {
					continue
				}
				text, err := k.Encode(f, pass)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := ParsePublic(text); !errors.Is(err, ErrPrivate) {
					t.Errorf("private %s %s: %+v, %v; want ErrPrivate", f, how, got, err)
				}
			}
		}
	})
	for _, text := range []string{"", "junk", "PuTTY-User-Key-File-3: x"} {
		if _, err := ParsePublic([]byte(text)); err == nil || errors.Is(err, ErrPrivate) {
			t.Errorf("%q: %v, want an error", text, err)
		}
	}
}

// ssh-keygen -r prints the same record, and one of SHA-1.
func TestSSHFP(t *testing.T) {
	for _, args := range [][]string{{"rsa", "2048"}, {"ecdsa", "256"}, {"ecdsa", "384"}, {"ecdsa", "521"}, {"ed25519", "256"}} {
		path := filepath.Join(t.TempDir(), "key")
		keygen(t, "-q", "-t", args[0], "-b", args[1], "-N", "", "-f", path)
		s, err := ReadSigner(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := SSHFP(s.PublicKey())
		if want := keygen(t, "-r", "host", "-f", path+".pub"); err != nil || !strings.Contains(want, "host IN SSHFP "+got+"\n") {
			t.Errorf("%v: got %q, %v; ssh-keygen: %s", args, got, err, want)
		}
	}
}
