package hostkey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// Encrypted PKCS#8: RFC 5958 section 3 with PBES2 and PBKDF2 of RFC 8018
// appendix A, which is what OpenSSL and ssh-keygen write.
type encryptedKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct{ KDF, Cipher pkix.AlgorithmIdentifier }

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// pbkdf2Hashes are the HMACs by object identifier; none means SHA-1.
var pbkdf2Hashes = map[string]func() hash.Hash{
	"":                    sha1.New,
	"1.2.840.113549.2.7":  sha1.New,
	oidSHA256.String():    sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// pkcs8Ciphers are block ciphers in CBC mode by object identifier.
var pkcs8Ciphers = map[string]struct {
	keySize int // bytes
	make    func(key []byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	oidAES256.String():        {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

const (
	pkcs8Iterations = 600_000    // what OWASP asks for with SHA-256
	mostIterations  = 10_000_000 // a file must not take minutes
)

// decryptPKCS8 returns the private key in der.
func decryptPKCS8(der, passphrase []byte) (any, error) {
	var info encryptedKeyInfo
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errors.New("encrypted PKCS#8 key: not well formed")
	}
	block, iv, err := pkcs8Cipher(info.Algorithm, passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypted PKCS#8 key: %w", err)
	}
	data := info.Data
	size := block.BlockSize()
	if len(data) == 0 || len(data)%size != 0 {
		return nil, errors.New("encrypted PKCS#8 key: cut off")
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(data, data)
	pad := int(data[len(data)-1])
	if pad == 0 || pad > size {
		return nil, ErrWrongPassphrase
	}
	key, err := x509.ParsePKCS8PrivateKey(data[:len(data)-pad])
	if err != nil { // padding can be right by chance
		return nil, ErrWrongPassphrase
	}
	return key, nil
}

// pkcs8Cipher returns the cipher that an algorithm describes, with its key.
func pkcs8Cipher(a pkix.AlgorithmIdentifier, passphrase []byte) (block cipher.Block, iv []byte, err error) {
	var params pbes2Params
	var kdf pbkdf2Params
	if !a.Algorithm.Equal(oidPBES2) {
		return nil, nil, fmt.Errorf("scheme %v is not supported: only PBES2 is", a.Algorithm)
	}
	if _, err := asn1.Unmarshal(a.Parameters.FullBytes, &params); err != nil {
		return nil, nil, err
	}
	if !params.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, nil, fmt.Errorf("key derivation %v is not supported: only PBKDF2 is", params.KDF.Algorithm)
	}
	if _, err := asn1.Unmarshal(params.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, nil, err
	}
	if _, err := asn1.Unmarshal(params.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, nil, err
	}
	h, ok := pbkdf2Hashes[kdf.PRF.Algorithm.String()]
	c, known := pkcs8Ciphers[params.Cipher.Algorithm.String()]
	if !ok || !known {
		return nil, nil, fmt.Errorf("hash %v with cipher %v is not supported", kdf.PRF.Algorithm, params.Cipher.Algorithm)
	}
	if kdf.Iterations < 1 || kdf.Iterations > mostIterations {
		return nil, nil, fmt.Errorf("%d iterations are out of bounds", kdf.Iterations)
	}
	key, err := pbkdf2.Key(h, string(passphrase), kdf.Salt, kdf.Iterations, c.keySize)
	if err != nil {
		return nil, nil, err
	}
	if block, err = c.make(key); err != nil {
		return nil, nil, err
	}
	if len(iv) != block.BlockSize() {
		return nil, nil, errors.New("the initialization vector has a wrong length")
	}
	return block, iv, nil
}

func encodePKCS8(k Key, passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil || len(passphrase) == 0 {
		return toPEM("PRIVATE KEY", der, err)
	}
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	key, err := pbkdf2.Key(sha256.New, string(passphrase), salt, pkcs8Iterations, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	der = append(der, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(der, der)
	type algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters any
	}
	prf := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	der, err = asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{algorithm{oidPBES2, []algorithm{
		{oidPBKDF2, pbkdf2Params{Salt: salt, Iterations: pkcs8Iterations, PRF: prf}},
		{oidAES256, iv},
	}}, der})
	return toPEM("ENCRYPTED PRIVATE KEY", der, err)
}
