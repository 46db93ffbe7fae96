package hostkey

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/sshd/privatefile"
)

// Generate makes a key of type ed25519, ecdsa or rsa.
func Generate(kind string) (Key, error) {
	switch kind {
	case "ed25519":
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return privateKey(k, err)
	case "ecdsa":
		return privateKey(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	return privateKey(rsa.GenerateKey(rand.Reader, 3072))
}

// KindOf returns the type of the key that Make makes at path. The name of the file
// decides.
func KindOf(path string) (string, error) {
	name := strings.ToLower(filepath.Base(path))
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		if strings.Contains(name, kind) {
			return kind, nil
		}
	}
	return "", fmt.Errorf("is missing and cannot be made: its name should hold ed25519, ecdsa or rsa: %w", iofs.ErrNotExist)
}

// Make makes a key file at path as Load does. The error wraps io/fs.ErrExist when
// there is one: no key is ever overwritten.
func Make(path string, passphrase Ask) error {
	kind, err := KindOf(path)
	if err != nil {
		return err
	}
	key, err := Generate(kind)
	if err != nil {
		return err
	}
	var secret []byte
	if passphrase != nil {
		if secret, err = passphrase.now(); err != nil {
			return err
		}
	}
	text, err := encodeOpenSSH(key, secret)
	if err != nil {
		return err
	}
	if err := privatefile.Create(path, text, 0o600); err != nil {
		return err
	}
	os.Remove(path + ".pub") // the public half of a key that no longer exists
	return privatefile.Create(path+".pub", ssh.MarshalAuthorizedKey(key.Public), 0o644)
}
