package hostkey

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// ErrPrivate means that a text is a private key where a public one is wanted.
var ErrPrivate = errors.New("is a private key: the public one is needed")

// ParsePublic reads a public key in any of the formats. A private key of PuTTY is
// accepted too, because people do not find the public one in PuTTY: its public
// half needs no passphrase. Any other private key is refused with ErrPrivate.
func ParsePublic(text []byte) (Key, error) {
	text = bytes.TrimSpace(text)
	if len(text) <= mostText && bytes.HasPrefix(text, []byte(ppkMagic)) {
		f, err := readPPK(text)
		if err != nil {
			return Key{}, fmt.Errorf("PuTTY key: %w", err)
		}
		pub, err := ssh.ParsePublicKey(f.public)
		return Key{Public: pub, Comment: f.comment}, err
	}
	k, err := Parse(text, nil)
	if errors.Is(err, ErrEncrypted) || k.Private != nil {
		return Key{}, ErrPrivate
	}
	return k, err
}
