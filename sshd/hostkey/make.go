package hostkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/privatefile"
)

// kinds are the keys that can be made, by the word in a file's name.
var kinds = []struct {
	word string
	make func() (crypto.Signer, error)
}{
	{"ed25519", func() (crypto.Signer, error) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}},
	{"ecdsa", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"rsa", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
}

// Make makes a key file at path as Load does. The error wraps
// io/fs.ErrExist when there is one: no key is ever overwritten.
func Make(path string, passphrase Passphrase) error {
	key, err := generate(filepath.Base(path))
	if err != nil {
		return err
	}
	block, err := seal(key, path, passphrase)
	if err != nil {
		return err
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := privatefile.Create(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	os.Remove(path + ".pub") // of a key that is gone
	return privatefile.Create(path+".pub", ssh.MarshalAuthorizedKey(pub), 0o644)
}

func generate(name string) (crypto.Signer, error) {
	for _, k := range kinds {
		if strings.Contains(strings.ToLower(name), k.word) {
			return k.make()
		}
	}
	return nil, fmt.Errorf("is missing and cannot be made: its name should hold ed25519, ecdsa or rsa: %w", iofs.ErrNotExist)
}

func seal(key crypto.Signer, path string, passphrase Passphrase) (*pem.Block, error) {
	var secret []byte
	if passphrase != nil {
		var err error
		if secret, err = passphrase(path); err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
	}
	if len(secret) == 0 {
		return ssh.MarshalPrivateKey(key, "")
	}
	return ssh.MarshalPrivateKeyWithPassphrase(key, "", secret)
}
