package hostkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := writeNew(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	os.Remove(path + ".pub") // of a key that is gone
	return writeNew(path+".pub", ssh.MarshalAuthorizedKey(pub), 0o644)
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

// writeNew puts text under path as a whole or not at all, and never over a file
// that is there: two nodes may start on one shared folder at the same moment.
func writeNew(path string, text []byte, perm os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-key-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := fill(f, text, perm); err != nil {
		return err
	}
	err = os.Link(f.Name(), path)
	if err == nil || errors.Is(err, iofs.ErrExist) {
		return err
	}
	// No hard links on this file system.
	if _, err := os.Lstat(path); err == nil {
		return &iofs.PathError{Op: "make", Path: path, Err: iofs.ErrExist}
	}
	return os.Rename(f.Name(), path)
}

func fill(f *os.File, text []byte, perm os.FileMode) error {
	_, err := f.Write(text)
	return errors.Join(err, f.Chmod(perm), f.Sync(), f.Close())
}
