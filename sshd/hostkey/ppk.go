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

// ppkKDF is how version 3 derives keys from a passphrase.
type ppkKDF struct {
	flavour             string
	memory, passes, par uint32 // KiB, rounds, lanes
	salt                []byte
}

// Bounds for the parameters in a file, because the memory and the time of the
// machine are limited. PuTTY itself uses 8 MiB and about 100 ms.
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
	if err != nil {
		return Key{}, fmt.Errorf("PuTTY key: %w", err)
	}
	k.Comment = f.comment
	return k, nil
}

// readPPK reads the lines "Name: value" of a file. A name that ends in -Lines has
// as many lines of base64 below it.
func readPPK(text []byte) (*ppk, error) {
	fields := map[string]string{}
	for lines := rfc4716.Lines(string(text)); len(lines) > 0; {
		name, value, _ := strings.Cut(lines[0], ": ")
		name, lines = strings.TrimSuffix(name, ":"), lines[1:]
		if version, ok := strings.CutPrefix(name, ppkMagic); ok {
			fields["version"], name = version, "algorithm"
		}
		if strings.HasSuffix(name, "-Lines") {
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil || n > uint64(len(lines)) {
				return nil, fmt.Errorf("%s: lines are missing", name)
			}
			value, lines = strings.Join(lines[:n], ""), lines[n:]
		}
		fields[name] = value
	}
	if v := fields["version"]; v != "2" && v != "3" {
		return nil, fmt.Errorf("%s%s is not supported: only versions 2 and 3 are", ppkMagic, v)
	}
	var wrong []error
	field := func(name string) string {
		value, ok := fields[name]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s is missing", name))
		}
		return value
	}
	number := func(name string) uint32 {
		n, err := strconv.ParseUint(field(name), 10, 32)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
		return uint32(n)
	}
	decoded := func(name string, decode func(string) ([]byte, error)) []byte {
		b, err := decode(field(name))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
		return b
	}
	f := &ppk{
		version:    int(fields["version"][0] - '0'),
		algorithm:  field("algorithm"),
		encryption: field("Encryption"),
		comment:    field("Comment"),
		public:     decoded("Public-Lines", base64.StdEncoding.DecodeString),
		private:    decoded("Private-Lines", base64.StdEncoding.DecodeString),
		mac:        decoded("Private-MAC", hex.DecodeString),
	}
	if f.version == 3 && f.encryption != "none" {
		f.kdf = ppkKDF{
			flavour: field("Key-Derivation"),
			memory:  number("Argon2-Memory"),
			passes:  number("Argon2-Passes"),
			par:     number("Argon2-Parallelism"),
			salt:    decoded("Argon2-Salt", hex.DecodeString),
		}
	}
	if f.encryption != "none" && f.encryption != ppkCipher {
		wrong = append(wrong, fmt.Errorf("encryption %q is not supported", f.encryption))
	}
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return f, nil
}

// ppkKeys are derived from a passphrase.
type ppkKeys struct {
	key, iv, mac []byte
	hash         func() hash.Hash // of the MAC
}

func (f *ppk) keys(passphrase []byte) (ppkKeys, error) {
	if f.version == 2 { // the format uses SHA-1
		a := sha1.Sum(append([]byte{0, 0, 0, 0}, passphrase...))
		b := sha1.Sum(append([]byte{0, 0, 0, 1}, passphrase...))
		mac := sha1.Sum(append([]byte("putty-private-key-file-mac-key"), passphrase...))
		return ppkKeys{key: append(a[:], b[:]...)[:32], iv: make([]byte, aes.BlockSize), mac: mac[:], hash: sha1.New}, nil
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

// open decrypts the private part and checks that nobody has changed the file.
func (f *ppk) open(passphrase []byte) error {
	keys, err := f.keys(passphrase)
	if err != nil {
		return err
	}
	if err := f.crypt(keys, cipher.NewCBCDecrypter); err != nil {
		return err
	}
	switch {
	case hmac.Equal(f.mac, f.sum(keys)):
		return nil
	case f.encryption != "none":
		return ErrWrongPassphrase
	}
	return errors.New("PuTTY key: the checksum is wrong: the file was changed")
}

// crypt encrypts or decrypts the private part in place, if it is to be encrypted.
func (f *ppk) crypt(keys ppkKeys, mode func(cipher.Block, []byte) cipher.BlockMode) error {
	if f.encryption == "none" {
		return nil
	}
	if len(f.private)%aes.BlockSize != 0 {
		return errors.New("PuTTY key: the private part is cut off")
	}
	block, err := aes.NewCipher(keys.key)
	if err != nil {
		return err
	}
	mode(block, keys.iv).CryptBlocks(f.private, f.private)
	return nil
}

// sum is the MAC over everything that matters, with the private part decrypted.
func (f *ppk) sum(keys ppkKeys) []byte {
	h := hmac.New(keys.hash, keys.mac)
	h.Write(ssh.Marshal(struct {
		Algorithm, Encryption, Comment string
		Public, Private                []byte
	}{f.algorithm, f.encryption, f.comment, f.public, f.private}))
	return h.Sum(nil)
}

// The private halves, as the format has them. Padding may follow.
type (
	ppkRSA struct {
		D, P, Q, QInv *big.Int
		Rest          []byte `ssh:"rest"`
	}
	ppkECDSA struct {
		D    *big.Int
		Rest []byte `ssh:"rest"`
	}
	ppkEd25519 struct {
		Seed []byte
		Rest []byte `ssh:"rest"`
	}
)

var errHalves = errors.New("the private and the public half do not belong together")

// key puts both halves together.
func (f *ppk) key() (any, error) {
	pub, err := ssh.ParsePublicKey(f.public)
	if err != nil {
		return nil, err
	}
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok || pub.Type() != f.algorithm {
		return nil, fmt.Errorf("type %q is not supported", f.algorithm)
	}
	switch pub := c.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		var half ppkRSA
		if err := ssh.Unmarshal(f.private, &half); err != nil {
			return nil, err
		}
		for _, n := range []*big.Int{half.D, half.P, half.Q} {
			if n.Sign() <= 0 || n.BitLen() > pub.N.BitLen() { // arithmetic on huge numbers would take long
				return nil, errHalves
			}
		}
		key := &rsa.PrivateKey{PublicKey: *pub, D: half.D, Primes: []*big.Int{half.P, half.Q}}
		if err := key.Validate(); err != nil {
			return nil, err
		}
		key.Precompute()
		return key, nil
	case *ecdsa.PublicKey:
		var half ppkECDSA
		if err := ssh.Unmarshal(f.private, &half); err != nil {
			return nil, err
		}
		size := (pub.Params().BitSize + 7) / 8
		if half.D.Sign() <= 0 || half.D.BitLen() > size*8 {
			return nil, errHalves
		}
		key, err := ecdsa.ParseRawPrivateKey(pub.Curve, half.D.FillBytes(make([]byte, size)))
		if err != nil || !key.PublicKey.Equal(pub) {
			return nil, errHalves
		}
		return key, nil
	case ed25519.PublicKey:
		var half ppkEd25519
		if err := ssh.Unmarshal(f.private, &half); err != nil {
			return nil, err
		}
		if len(half.Seed) != ed25519.SeedSize {
			return nil, errHalves
		}
		key := ed25519.NewKeyFromSeed(half.Seed)
		if !pub.Equal(key.Public()) {
			return nil, errHalves
		}
		return key, nil
	}
	return nil, fmt.Errorf("type %q is not supported", f.algorithm)
}

func encodePPK2(k Key, passphrase []byte) ([]byte, error) { return encodePPK(k, 2, passphrase) }
func encodePPK3(k Key, passphrase []byte) ([]byte, error) { return encodePPK(k, 3, passphrase) }

func encodePPK(k Key, version int, passphrase []byte) ([]byte, error) {
	f := &ppk{
		version:    version,
		algorithm:  k.Public.Type(),
		encryption: "none",
		comment:    oneLine(k.Comment),
		public:     k.Public.Marshal(),
	}
	switch key := k.Private.(type) {
	case *rsa.PrivateKey:
		if len(key.Primes) != 2 {
			return nil, errors.New("an RSA key of more than two primes has no PuTTY form")
		}
		p, q := key.Primes[0], key.Primes[1]
		f.private = ssh.Marshal(ppkRSA{D: key.D, P: p, Q: q, QInv: new(big.Int).ModInverse(q, p)})
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil || key.Curve == elliptic.P224() {
			return nil, errors.New("a key of this curve has no PuTTY form")
		}
		f.private = ssh.Marshal(ppkECDSA{D: new(big.Int).SetBytes(d)})
	case ed25519.PrivateKey:
		f.private = ssh.Marshal(ppkEd25519{Seed: key.Seed()})
	default:
		return nil, fmt.Errorf("keys of type %s have no PuTTY form", k.Public.Type())
	}
	if len(passphrase) > 0 {
		f.encryption = ppkCipher
		f.kdf = ppkKDF{flavour: "Argon2id", memory: 8192, passes: 21, par: 1, salt: make([]byte, 16)}
		rand.Read(f.kdf.salt)
		pad := sha1.Sum(f.private) // as PuTTY does: not random, so the padding hides nothing
		if odd := len(f.private) % aes.BlockSize; odd > 0 {
			f.private = append(f.private, pad[:aes.BlockSize-odd]...)
		}
	}
	keys, err := f.keys(passphrase)
	if err != nil {
		return nil, err
	}
	f.mac = f.sum(keys)
	if err := f.crypt(keys, cipher.NewCBCEncrypter); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d: %s\nEncryption: %s\nComment: %s\n", ppkMagic, f.version, f.algorithm, f.encryption, f.comment)
	public, private := wrap(base64.StdEncoding.EncodeToString(f.public), 64), wrap(base64.StdEncoding.EncodeToString(f.private), 64)
	fmt.Fprintf(&b, "Public-Lines: %d\n%s\n", len(public), strings.Join(public, "\n"))
	if f.version == 3 && f.encryption != "none" {
		fmt.Fprintf(&b, "Key-Derivation: %s\nArgon2-Memory: %d\nArgon2-Passes: %d\nArgon2-Parallelism: %d\nArgon2-Salt: %x\n",
			f.kdf.flavour, f.kdf.memory, f.kdf.passes, f.kdf.par, f.kdf.salt)
	}
	fmt.Fprintf(&b, "Private-Lines: %d\n%s\nPrivate-MAC: %x\n", len(private), strings.Join(private, "\n"), f.mac)
	return b.Bytes(), nil
}
