package hostkey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/ssh"

	"berth/directory/rfc4716"
)

// A PuTTY private key file, as appendix C of PuTTY's manual describes it.
const ppkMagic = "PuTTY-User-Key-File-"

// ppk is a file's contents.
type ppk struct {
	version    int
	algorithm  string
	encryption string // "none" or ppkCipher
	comment    string
	public     []byte
	private    []byte // padded, and encrypted in the file
	mac        []byte
	kdf        ppkKDF // of version 3, if encrypted
}

const ppkCipher = "aes256-cbc"

// ppkKDF is how version 3 makes keys of a passphrase.
type ppkKDF struct {
	flavour             string
	memory, passes, par uint32 // KiB, rounds, lanes
	salt                []byte
}

// A file must not be able to take the machine's memory, or hours. PuTTY itself
// takes 8 MiB and about 100 ms.
const (
	mostMemory = 256 << 10 // KiB
	mostWork   = 16 << 20  // KiB times passes
	mostLanes  = 16
)

func parsePPK(text []byte, ask Ask) (Key, error) {
	f, err := readPPK(text)
	if err != nil {
		return Key{}, fmt.Errorf("PuTTY key: %w", err)
	}
	var secret []byte
	if f.encryption != "none" {
		if secret, err = ask.now(); err != nil {
			return Key{}, err
		}
	}
	if err := f.open(secret); err != nil {
		return Key{}, err
	}
	k, err := privateKey(f.key())
	k.Comment = f.comment
	return k, err
}

// readPPK takes a file apart.
func readPPK(text []byte) (*ppk, error) {
	in := ppkLines{rest: rfc4716.Lines(string(text))}
	f := &ppk{}
	name, value := in.next()
	switch strings.TrimPrefix(name, ppkMagic) {
	case "2":
		f.version = 2
	case "3":
		f.version = 3
	default:
		return nil, fmt.Errorf("%s is not supported: only versions 2 and 3 are", name)
	}
	f.algorithm = value
	f.encryption = in.field("Encryption")
	f.comment = in.field("Comment")
	f.public = in.base64("Public-Lines")
	if f.version == 3 && f.encryption != "none" {
		f.kdf = ppkKDF{
			flavour: in.field("Key-Derivation"),
			memory:  in.number("Argon2-Memory"),
			passes:  in.number("Argon2-Passes"),
			par:     in.number("Argon2-Parallelism"),
			salt:    in.hex("Argon2-Salt"),
		}
	}
	f.private = in.base64("Private-Lines")
	f.mac = in.hex("Private-MAC")
	if in.err == nil && f.encryption != "none" && f.encryption != ppkCipher {
		in.err = fmt.Errorf("encryption %q is not supported", f.encryption)
	}
	return f, in.err
}

// ppkLines reads the headers of a file in their order. After the first error
// everything is empty.
type ppkLines struct {
	rest []string
	err  error
}

func (l *ppkLines) next() (name, value string) {
	if len(l.rest) == 0 {
		return "", ""
	}
	name, value, _ = strings.Cut(l.rest[0], ": ")
	l.rest = l.rest[1:]
	return strings.TrimSuffix(name, ":"), value
}

func (l *ppkLines) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *ppkLines) field(want string) string {
	if l.err != nil {
		return ""
	}
	name, value := l.next()
	if name != want {
		l.fail(fmt.Errorf("%s is missing", want))
	}
	return value
}

func (l *ppkLines) number(want string) uint32 {
	n, err := strconv.ParseUint(l.field(want), 10, 32)
	if err != nil {
		l.fail(fmt.Errorf("%s: %w", want, err))
	}
	return uint32(n)
}

func (l *ppkLines) hex(want string) []byte {
	b, err := hex.DecodeString(l.field(want))
	if err != nil {
		l.fail(fmt.Errorf("%s: %w", want, err))
	}
	return b
}

func (l *ppkLines) base64(want string) []byte {
	n := l.number(want)
	if l.err != nil || uint64(n) > uint64(len(l.rest)) {
		l.fail(fmt.Errorf("%s: lines are missing", want))
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(l.rest[:n], ""))
	if err != nil {
		l.fail(fmt.Errorf("%s: %w", want, err))
	}
	l.rest = l.rest[n:]
	return b
}

// ppkKeys is what a passphrase is turned into.
type ppkKeys struct {
	key, iv, mac []byte
	hash         func() hash.Hash // of the MAC
}

func (f *ppk) keys(passphrase []byte) (ppkKeys, error) {
	if f.version == 2 {
		return keysV2(passphrase), nil
	}
	if f.encryption == "none" {
		return ppkKeys{hash: sha256.New}, nil
	}
	k := f.kdf
	if k.memory == 0 || k.passes == 0 || k.par == 0 || k.memory > mostMemory || k.par > mostLanes || uint64(k.memory)*uint64(k.passes) > mostWork {
		return ppkKeys{}, fmt.Errorf("PuTTY key: Argon2 with %d KiB, %d passes and %d lanes is out of bounds", k.memory, k.passes, k.par)
	}
	derive, ok := map[string]func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte{
		"Argon2id": argon2.IDKey,
		"Argon2i":  argon2.Key,
	}[k.flavour]
	if !ok {
		return ppkKeys{}, fmt.Errorf("PuTTY key: key derivation %q is not supported: only Argon2id and Argon2i are", k.flavour)
	}
	out := derive(passphrase, k.salt, k.passes, k.memory, uint8(k.par), 80)
	return ppkKeys{key: out[:32], iv: out[32:48], mac: out[48:], hash: sha256.New}, nil
}

// keysV2 uses SHA-1 because version 2 of the format does.
func keysV2(passphrase []byte) ppkKeys {
	a := sha1.Sum(append([]byte{0, 0, 0, 0}, passphrase...))
	b := sha1.Sum(append([]byte{0, 0, 0, 1}, passphrase...))
	mac := sha1.Sum(append([]byte("putty-private-key-file-mac-key"), passphrase...))
	return ppkKeys{key: append(a[:], b[:]...)[:32], iv: make([]byte, aes.BlockSize), mac: mac[:], hash: sha1.New}
}

// open decrypts the private part and checks that nobody has changed the file.
func (f *ppk) open(passphrase []byte) error {
	keys, err := f.keys(passphrase)
	if err != nil {
		return err
	}
	if f.encryption != "none" {
		if len(f.private)%aes.BlockSize != 0 {
			return errors.New("PuTTY key: the private part is cut off")
		}
		block, err := aes.NewCipher(keys.key)
		if err != nil {
			return err
		}
		cipher.NewCBCDecrypter(block, keys.iv).CryptBlocks(f.private, f.private)
	}
	if hmac.Equal(f.mac, f.sum(keys)) {
		return nil
	}
	if f.encryption != "none" {
		return ErrWrongPassphrase
	}
	return errors.New("PuTTY key: the checksum is wrong: the file was changed")
}

// sum is the MAC over everything that matters, in the clear.
func (f *ppk) sum(keys ppkKeys) []byte {
	var data []byte
	for _, part := range [][]byte{[]byte(f.algorithm), []byte(f.encryption), []byte(f.comment), f.public, f.private} {
		data = appendBytes(data, part)
	}
	h := hmac.New(keys.hash, keys.mac)
	h.Write(data)
	return h.Sum(nil)
}

// key puts both halves together.
func (f *ppk) key() (any, error) {
	pub, err := ssh.ParsePublicKey(f.public)
	if err != nil {
		return nil, fmt.Errorf("PuTTY key: %w", err)
	}
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok || pub.Type() != f.algorithm {
		return nil, fmt.Errorf("PuTTY key: type %q is not supported", f.algorithm)
	}
	in := &wire{rest: f.private}
	var key any
	switch pub := c.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		key, err = rsaKey(pub, in)
	case *ecdsa.PublicKey:
		key, err = ecdsaKey(pub, in)
	case ed25519.PublicKey:
		key, err = ed25519Key(pub, in)
	default:
		err = fmt.Errorf("type %q is not supported", f.algorithm)
	}
	if err := errors.Join(in.err, err); err != nil {
		return nil, fmt.Errorf("PuTTY key: %w", err)
	}
	return key, nil
}

var errHalves = errors.New("the private and the public half do not belong together")

func rsaKey(pub *rsa.PublicKey, in *wire) (any, error) {
	key := &rsa.PrivateKey{PublicKey: *pub, D: in.number(), Primes: []*big.Int{in.number(), in.number()}}
	for _, n := range append(key.Primes, key.D) {
		if in.err != nil || n.BitLen() > pub.N.BitLen() { // arithmetic on huge numbers would take long
			return nil, errHalves
		}
	}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	key.Precompute()
	return key, nil
}

func ecdsaKey(pub *ecdsa.PublicKey, in *wire) (any, error) {
	size := (pub.Params().BitSize + 7) / 8
	d := in.number()
	if in.err != nil || d.BitLen() > size*8 {
		return nil, errShort
	}
	key, err := ecdsa.ParseRawPrivateKey(pub.Curve, d.FillBytes(make([]byte, size)))
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(pub) {
		return nil, errHalves
	}
	return key, nil
}

func ed25519Key(pub ed25519.PublicKey, in *wire) (any, error) {
	seed := in.bytes()
	if len(seed) != ed25519.SeedSize {
		return nil, errShort
	}
	key := ed25519.NewKeyFromSeed(seed)
	if !pub.Equal(key.Public()) {
		return nil, errHalves
	}
	return key, nil
}

func encodePPK2(k Key, passphrase []byte) ([]byte, error) { return encodePPK(k, 2, passphrase) }

func encodePPK3(k Key, passphrase []byte) ([]byte, error) { return encodePPK(k, 3, passphrase) }

func encodePPK(k Key, version int, passphrase []byte) ([]byte, error) {
	private, err := ppkPrivate(k)
	if err != nil {
		return nil, err
	}
	f := &ppk{
		version:    version,
		algorithm:  k.Public.Type(),
		encryption: "none",
		comment:    oneLine(k.Comment),
		public:     k.Public.Marshal(),
		private:    private,
	}
	if len(passphrase) > 0 {
		f.encryption = ppkCipher
		f.kdf = ppkKDF{flavour: "Argon2id", memory: 8192, passes: 21, par: 1, salt: make([]byte, 16)}
		rand.Read(f.kdf.salt)
	}
	if err := f.seal(passphrase); err != nil {
		return nil, err
	}
	return f.bytes(), nil
}

// ppkPrivate is the private half as the format wants it for each type.
func ppkPrivate(k Key) ([]byte, error) {
	switch key := k.Private.(type) {
	case *rsa.PrivateKey:
		if len(key.Primes) != 2 {
			return nil, errors.New("an RSA key of more than two primes has no PuTTY form")
		}
		p, q := key.Primes[0], key.Primes[1]
		b := appendNumber(nil, key.D)
		b = appendNumber(b, p)
		b = appendNumber(b, q)
		return appendNumber(b, new(big.Int).ModInverse(q, p)), nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("curve P-224 has no PuTTY form")
		}
		d, err := key.Bytes()
		return appendNumber(nil, new(big.Int).SetBytes(d)), err
	case ed25519.PrivateKey:
		return appendBytes(nil, key.Seed()), nil
	}
	return nil, fmt.Errorf("keys of type %s have no PuTTY form", k.Public.Type())
}

// seal pads, signs and encrypts.
func (f *ppk) seal(passphrase []byte) error {
	keys, err := f.keys(passphrase)
	if err != nil {
		return err
	}
	if f.encryption == "none" {
		f.mac = f.sum(keys)
		return nil
	}
	// The padding is not random, so that it gives nothing away that the key does
	// not.
	pad := sha1.Sum(f.private)
	if odd := len(f.private) % aes.BlockSize; odd > 0 {
		f.private = append(f.private, pad[:aes.BlockSize-odd]...)
	}
	f.mac = f.sum(keys)
	block, err := aes.NewCipher(keys.key)
	if err != nil {
		return err
	}
	cipher.NewCBCEncrypter(block, keys.iv).CryptBlocks(f.private, f.private)
	return nil
}

func (f *ppk) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d: %s\nEncryption: %s\nComment: %s\n", ppkMagic, f.version, f.algorithm, f.encryption, f.comment)
	section(&b, "Public-Lines", f.public)
	if f.version == 3 && f.encryption != "none" {
		fmt.Fprintf(&b, "Key-Derivation: %s\nArgon2-Memory: %d\nArgon2-Passes: %d\nArgon2-Parallelism: %d\nArgon2-Salt: %x\n",
			f.kdf.flavour, f.kdf.memory, f.kdf.passes, f.kdf.par, f.kdf.salt)
	}
	section(&b, "Private-Lines", f.private)
	fmt.Fprintf(&b, "Private-MAC: %x\n", f.mac)
	return b.Bytes()
}

func section(b *bytes.Buffer, name string, data []byte) {
	var text bytes.Buffer
	n := wrap(&text, data, 64)
	fmt.Fprintf(b, "%s: %d\n%s", name, n, &text)
}
