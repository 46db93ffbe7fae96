package hostkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/directory/rfc4716"
)

// A Key is a key pair, or a public key alone.
type Key struct {
	Private crypto.Signer // nil in a public key; *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey
	Public  ssh.PublicKey
	Comment string
}

// The errors about passphrases.
var (
	ErrEncrypted       = errors.New("is encrypted, and no passphrase is configured")
	ErrWrongPassphrase = errors.New("wrong passphrase")
)

// mostText is more than the largest RSA key takes in any format, in bytes.
const mostText = 64 << 10

// Ask returns the passphrase of an encrypted key, or of a key that will be encrypted. With
// an empty passphrase the key will not be encrypted.
type Ask func() ([]byte, error)

// Parse reads a private or public key in any of the formats, which it finds out
// by itself. ask may be nil. The comment of an encrypted OpenSSH key is not
// read. Errors wrap ErrEncrypted and ErrWrongPassphrase.
func Parse(text []byte, ask Ask) (Key, error) {
	if len(text) > mostText {
		return Key{}, fmt.Errorf("%d bytes are too many for a key", len(text))
	}
	text = bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(text, []byte(ppkMagic)):
		return parsePPK(text, ask)
	case bytes.HasPrefix(text, []byte(rfc4716.Begin)):
		pub, comment, _, err := rfc4716.Parse(rfc4716.Lines(string(text))[1:])
		return Key{Public: pub, Comment: comment}, err
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return parsePEM(text, ask)
	}
	pub, comment, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return Key{}, errors.New("no key found in any known format")
	}
	return Key{Public: pub, Comment: comment}, nil
}

func parsePEM(text []byte, ask Ask) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, errors.New("no key found: the PEM block is broken")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return publicKey(x509.ParsePKIXPublicKey(block.Bytes))
	case "RSA PUBLIC KEY":
		return publicKey(x509.ParsePKCS1PublicKey(block.Bytes))
	case "ENCRYPTED PRIVATE KEY":
		secret, err := ask.now()
		if err != nil {
			return Key{}, err
		}
		return privateKey(decryptPKCS8(block.Bytes, secret))
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		var secret []byte
		if secret, err = ask.now(); err != nil {
			return Key{}, err
		}
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(text, secret)
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		err = ErrWrongPassphrase
	}
	k, err := privateKey(key, err)
	k.Comment = opensshComment(block)
	return k, err
}

func (a Ask) now() ([]byte, error) {
	if a == nil {
		return nil, ErrEncrypted
	}
	secret, err := a()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	return secret, nil
}

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

// privateKey makes a Key of what a parser returned.
func privateKey(key any, err error) (Key, error) {
	if err != nil {
		return Key{}, err
	}
	if p, ok := key.(*ed25519.PrivateKey); ok { // as package ssh has it
		key = *p
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("keys of type %T are not supported: use ed25519, ecdsa or rsa", key)
	}
	k, err := publicKey(signer.Public(), nil)
	k.Private = signer
	return k, err
}

func publicKey(key any, err error) (Key, error) {
	if err != nil {
		return Key{}, err
	}
	pub, err := ssh.NewPublicKey(key)
	return Key{Public: pub}, err
}

// opensshComment returns the comment in an OpenSSH private key that is not
// encrypted (PROTOCOL.key of OpenSSH).
func opensshComment(block *pem.Block) string {
	body, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok {
		return ""
	}
	var file struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}
	if ssh.Unmarshal(body, &file) != nil || file.Cipher != "none" || len(file.Private) < 8 {
		return ""
	}
	// After two check numbers there are byte strings: the type, what the type
	// needs, and the comment. The padding after them, 1, 2, 3, is not one.
	var field struct {
		Value string
		Rest  []byte `ssh:"rest"`
	}
	for field.Rest = file.Private[8:]; ssh.Unmarshal(field.Rest, &field) == nil; {
	}
	return field.Value
}

// A Format is a way to write a key to a file.
type Format string

// The formats there are.
const (
	OpenSSH Format = "openssh" // what ssh-keygen makes
	PEM     Format = "pem"     // PKCS#1 for RSA, SEC 1 for ECDSA; none for ed25519, and never encrypted
	PKCS8   Format = "pkcs8"   // RFC 5958; SubjectPublicKeyInfo for public keys
	RFC4716 Format = "rfc4716" // public keys only
	PPK2    Format = "ppk2"    // PuTTY before 0.75
	PPK3    Format = "ppk3"    // PuTTY
)

// codecs is how each format writes a private key, and a public one.
var codecs = map[Format]struct {
	private func(k Key, passphrase []byte) ([]byte, error)
	public  func(k Key) ([]byte, error)
}{
	OpenSSH: {encodeOpenSSH, encodeLine},
	PEM:     {encodePEM, encodePublicPEM},
	PKCS8:   {encodePKCS8, encodePublicPKCS8},
	RFC4716: {nil, encodeRFC4716},
	PPK2:    {encodePPK2, nil},
	PPK3:    {encodePPK3, nil},
}

// Encode returns the private key in format f, encrypted unless passphrase is
// empty.
func (k Key) Encode(f Format, passphrase []byte) ([]byte, error) {
	c := codecs[f]
	switch {
	case c.private == nil:
		return nil, fmt.Errorf("format %q cannot hold a private key: use openssh, pem, pkcs8, ppk2 or ppk3", f)
	case k.Private == nil:
		return nil, errors.New("this is a public key: its private half is needed")
	}
	return c.private(k, passphrase)
}

// EncodePublic returns the public key in format f.
func (k Key) EncodePublic(f Format) ([]byte, error) {
	c := codecs[f]
	if c.public == nil {
		return nil, fmt.Errorf("format %q is not for public keys: use openssh, pem, pkcs8 or rfc4716", f)
	}
	return c.public(k)
}

func encodeOpenSSH(k Key, passphrase []byte) ([]byte, error) {
	var block *pem.Block
	var err error
	if len(passphrase) == 0 {
		block, err = ssh.MarshalPrivateKey(k.Private, k.Comment)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k.Private, k.Comment, passphrase)
	}
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

func encodeLine(k Key) ([]byte, error) {
	line := ssh.MarshalAuthorizedKey(k.Public)
	if comment := oneLine(k.Comment); comment != "" {
		line = fmt.Appendf(line[:len(line)-1], " %s\n", comment)
	}
	return line, nil
}

func encodeRFC4716(k Key) ([]byte, error) {
	lines := []string{rfc4716.Begin}
	if comment := oneLine(k.Comment); comment != "" {
		folded := wrap(`Comment: "`+comment+`"`, 71)
		lines = append(lines, strings.Join(folded, "\\\n"))
	}
	lines = append(lines, wrap(base64.StdEncoding.EncodeToString(k.Public.Marshal()), 70)...)
	return []byte(strings.Join(append(lines, rfc4716.End, ""), "\n")), nil
}

// wrap cuts a text into lines of at most width bytes.
func wrap(text string, width int) (lines []string) {
	for len(text) > width {
		lines = append(lines, text[:width])
		text = text[width:]
	}
	return append(lines, text)
}

// oneLine makes one line of a comment, which must not add lines to a file.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func encodePEM(k Key, passphrase []byte) ([]byte, error) {
	if len(passphrase) > 0 {
		return nil, errors.New("format pem would encrypt with MD5: use pkcs8 or openssh")
	}
	switch key := k.Private.(type) {
	case *rsa.PrivateKey:
		return toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		return toPEM("EC PRIVATE KEY", der, err)
	}
	return nil, fmt.Errorf("format pem cannot hold keys of type %s: use pkcs8 or openssh", k.Public.Type())
}

func encodePublicPEM(k Key) ([]byte, error) {
	pub, err := k.cryptoPublic()
	if r, ok := pub.(*rsa.PublicKey); ok {
		return toPEM("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(r), err)
	}
	return encodePublicPKCS8(k)
}

func encodePublicPKCS8(k Key) ([]byte, error) {
	pub, err := k.cryptoPublic()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	return toPEM("PUBLIC KEY", der, err)
}

func (k Key) cryptoPublic() (crypto.PublicKey, error) {
	c, ok := k.Public.(ssh.CryptoPublicKey)
	if !ok || strings.HasPrefix(k.Public.Type(), "sk-") {
		return nil, fmt.Errorf("keys of type %s exist only in SSH's own formats: use openssh or rfc4716", k.Public.Type())
	}
	return c.CryptoPublicKey(), nil
}

func toPEM(kind string, der []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), nil
}
