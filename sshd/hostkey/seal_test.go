package hostkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestSealsDiffer encrypts one key twice: salt and initialization vector must be
// new each time.
func TestSealsDiffer(t *testing.T) {
	k := samples()["ed25519"] // whose DER is whole blocks, so that all of the last one is padding
	var salts, ivs [][]byte
	for range 2 {
		text, err := k.Encode(PKCS8, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text, ask)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "PKCS#8", got, k)
		block, _ := pem.Decode(text)
		var info encryptedKeyInfo
		var params pbes2Params
		var kdf pbkdf2Params
		var iv []byte
		for _, part := range []struct {
			der []byte
			to  any
		}{{block.Bytes, &info}, {nil, &params}, {nil, &kdf}, {nil, &iv}} {
			switch part.to {
			case &params:
				part.der = info.Algorithm.Parameters.FullBytes
			case &kdf:
				part.der = params.KDF.Parameters.FullBytes
			case &iv:
				part.der = params.Cipher.Parameters.FullBytes
			}
			if _, err := asn1.Unmarshal(part.der, part.to); err != nil {
				t.Fatal(err)
			}
		}
		salts, ivs = append(salts, kdf.Salt), append(ivs, iv)
	}
	if bytes.Equal(salts[0], salts[1]) || bytes.Equal(ivs[0], ivs[1]) {
		t.Errorf("salts %x and %x, initialization vectors %x and %x: want new ones", salts[0], salts[1], ivs[0], ivs[1])
	}
	one, err := k.Encode(PPK3, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	two, err := k.Encode(PPK3, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	f, err := readPPK(one)
	g, err2 := readPPK(two)
	if err := errors.Join(err, err2); err != nil || bytes.Equal(f.kdf.salt, g.kdf.salt) {
		t.Errorf("PuTTY's salts are %x and %x, %v: want new ones", f.kdf.salt, g.kdf.salt, err)
	}
}

// TestPPKHalves puts private halves beside public ones that they do not fit.
func TestPPKHalves(t *testing.T) {
	key := samples()["rsa"].Private.(*rsa.PrivateKey)
	p, q := key.Primes[0], key.Primes[1]
	huge := new(big.Int).Lsh(big.NewInt(1), 1<<16)
	minus := new(big.Int).Neg(key.D)
	for name, half := range map[string]any{
		"huge exponent":     ppkRSA{D: huge, P: p, Q: q, QInv: p},
		"huge prime":        ppkRSA{D: key.D, P: huge, Q: q, QInv: p},
		"negative exponent": ppkRSA{D: minus, P: p, Q: q, QInv: p},
		"no prime":          ppkRSA{D: key.D, P: new(big.Int), Q: q, QInv: p},
	} {
		f := &ppk{algorithm: ssh.KeyAlgoRSA, public: samples()["rsa"].Public.Marshal(), private: ssh.Marshal(half)}
		if k, err := f.key(); !errors.Is(err, errHalves) {
			t.Errorf("%s: got %v, %v, want errHalves", name, k, err)
		}
	}
	for name, half := range map[string]any{"ed25519": ppkEd25519{Seed: make([]byte, ed25519.SeedSize)}, "ecdsa256": ppkECDSA{D: big.NewInt(1)}} {
		pub := samples()[name].Public
		f := &ppk{algorithm: pub.Type(), public: pub.Marshal(), private: ssh.Marshal(half)}
		if k, err := f.key(); !errors.Is(err, errHalves) {
			t.Errorf("%s, another key's half: got %v, %v, want errHalves", name, k, err)
		}
	}
	for name, half := range map[string]any{"ed25519": ppkEd25519{Seed: make([]byte, 31)}, "ecdsa256": ppkECDSA{D: huge}, "ecdsa521": ppkECDSA{D: new(big.Int)}} {
		pub := samples()[name].Public
		f := &ppk{algorithm: pub.Type(), public: pub.Marshal(), private: ssh.Marshal(half)}
		if k, err := f.key(); !errors.Is(err, errHalves) {
			t.Errorf("%s: got %v, %v, want errHalves", name, k, err)
		}
		f.private = f.private[:3]
		if k, err := f.key(); err == nil {
			t.Errorf("%s, cut off: got %v, want an error", name, k)
		}
	}
}

// TestBoundsOfWork has files that would take the memory or the time of the
// machine, each by one number.
func TestBoundsOfWork(t *testing.T) {
	for name, kdf := range map[string]ppkKDF{
		"memory":    {memory: mostMemory + 1, passes: 1, par: 1},
		"passes":    {memory: 1024, passes: mostWork/1024 + 1, par: 1},
		"lanes":     {memory: 1024, passes: 1, par: mostLanes + 1},
		"no memory": {passes: 1, par: 1},
		"no passes": {memory: 1024, par: 1},
		"no lanes":  {memory: 1024, passes: 1},
	} {
		kdf.flavour, kdf.salt = "Argon2id", []byte("salt")
		f := &ppk{version: 3, encryption: ppkCipher, kdf: kdf}
		if _, err := f.keys([]byte(secret)); err == nil || !strings.Contains(err.Error(), "out of bounds") {
			t.Errorf("Argon2, %s: got %v, want that it is out of bounds", name, err)
		}
	}
	identifier := func(oid asn1.ObjectIdentifier, params any) pkix.AlgorithmIdentifier {
		der, err := asn1.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: der}}
	}
	for iterations, ok := range map[int]bool{-1: false, 0: false, 1: true, mostIterations + 1: false} {
		kdf := pbkdf2Params{Salt: []byte("salt"), Iterations: iterations, PRF: pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}}
		_, _, err := pkcs8Cipher(identifier(oidPBES2, pbes2Params{
			KDF: identifier(oidPBKDF2, kdf), Cipher: identifier(oidAES256, make([]byte, 16)),
		}), []byte(secret))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "out of bounds") {
			t.Errorf("PBKDF2, %d iterations: %v", iterations, err)
		}
	}
}
