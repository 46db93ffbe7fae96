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
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/sshd/privatefile"
)

// A kind is a type of key that can be made, by the word in a file's name.
type kind struct {
	word string
	make func() (any, error)
}

var kinds = []kind{
	{"ed25519", func() (any, error) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}},
	{"ecdsa", func() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"rsa", func() (any, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
}

// Make makes a key file at path as Load does. The error wraps io/fs.ErrExist when
// there is one: no key is ever overwritten.
func Make(path string, passphrase Passphrase) error {
	name := strings.ToLower(filepath.Base(path))
	i := slices.IndexFunc(kinds, func(k kind) bool { return strings.Contains(name, k.word) })
	if i < 0 {
		return fmt.Errorf("is missing and cannot be made: its name should hold ed25519, ecdsa or rsa: %w", iofs.ErrNotExist)
	}
	key, err := privateKey(kinds[i].make())
	if err != nil {
		return err
	}
	var secret []byte
	if passphrase != nil {
		if secret, err = passphrase(path); err != nil {
			return fmt.Errorf("passphrase: %w", err)
		}
	}
	text, err := encodeOpenSSH(key, secret)
	if err != nil {
		return err
	}
	if err := privatefile.Create(path, text, 0o600); err != nil {
		return err
	}
	os.Remove(path + ".pub") // of a key that is gone
	return privatefile.Create(path+".pub", ssh.MarshalAuthorizedKey(key.Public), 0o644)
}
