// Package hostkey loads the server's host keys, makes those that are missing,
// and converts SSH keys between file formats.
//
// Start at Load for a server, at Parse and Key for conversion.
package hostkey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/sshd/privatefile"
)

// minRSA is the smallest RSA modulus, in bits, that a host key may have.
const minRSA = 2048

// order is the order of host keys by type. The library prefers host keys in the order in
// which they were added.
var order = []string{
	ssh.KeyAlgoED25519,
	ssh.KeyAlgoECDSA256,
	ssh.KeyAlgoECDSA384,
	ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSA,
}

// Load returns the signers of the key files at paths, ed25519 first, RSA last.
// A missing file is made, with mode 0600. Its base name contains its type (…ed25519…,
// …ecdsa…, …rsa…). Its public half is in path+".pub". If passphrase returns one, the
// file is encrypted with it. A file that others may read is refused. Keys of one type
// keep their order. RSA keys sign with SHA-2 only. The files may be in any format that
// Parse reads.
//
// A path that ends in .pub is that of a public key; the agent must hold the
// private half, and signs.
//
// passphrase may be nil. It is asked for a file that is encrypted or missing.
func Load(paths []string, passphrase Ask, agent Agent) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	for _, path := range paths {
		var s ssh.Signer
		var err error
		if strings.HasSuffix(path, ".pub") {
			s, err = agent.load(path)
		} else if s, err = load(path, passphrase); errors.Is(err, iofs.ErrNotExist) {
			if err = Make(path, passphrase); err == nil || errors.Is(err, iofs.ErrExist) {
				s, err = load(path, passphrase) // also if another process has made the file meanwhile
			}
		}
		if err != nil {
			return nil, fmt.Errorf("host key %s: %w", path, err)
		}
		signers = append(signers, s)
	}
	slices.SortStableFunc(signers, func(a, b ssh.Signer) int { return rank(a) - rank(b) })
	return signers, nil
}

func rank(s ssh.Signer) int { return slices.Index(order, s.PublicKey().Type()) }

func load(path string, passphrase Ask) (ssh.Signer, error) {
	s, err := ReadSigner(path, passphrase)
	if err != nil {
		return nil, err
	}
	return signer(s.(ssh.AlgorithmSigner))
}

// ReadSigner returns the private key in the file at path, which only its owner
// may be able to read, in any of the formats. passphrase may be nil.
func ReadSigner(path string, passphrase Ask) (ssh.Signer, error) {
	text, err := privatefile.Read(path, privatefile.OwnerReads, mostText)
	if err != nil {
		return nil, err
	}
	k, err := Parse(text, passphrase)
	if err != nil {
		return nil, err
	}
	if k.Private == nil {
		return nil, errors.New("is a public key: its private half is needed")
	}
	return ssh.NewSignerFromSigner(k.Private)
}

// OpenSigner returns the private key in the file at path, as ReadSigner does. A path that
// ends in .pub is that of a public key, as for Load: the agent signs.
func OpenSigner(path string, agent Agent) (ssh.Signer, error) {
	if strings.HasSuffix(path, ".pub") {
		return agent.load(path)
	}
	return ReadSigner(path, nil)
}

// signer refuses keys that are too weak for a server.
func signer(s ssh.AlgorithmSigner) (ssh.Signer, error) {
	if rank(s) < 0 {
		return nil, fmt.Errorf("keys of type %s cannot be host keys: use ed25519, ecdsa or rsa", s.PublicKey().Type())
	}
	if s.PublicKey().Type() != ssh.KeyAlgoRSA {
		return s, nil
	}
	if n := bits(s.PublicKey()); n < minRSA {
		return nil, fmt.Errorf("RSA key of %d bits: at least %d are needed", n, minRSA)
	}
	// Without this, s would also offer ssh-rsa, which signs with SHA-1.
	algorithms := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	sha2, err := ssh.NewSignerWithAlgorithms(s, algorithms[:2])
	all, err2 := ssh.NewSignerWithAlgorithms(s, algorithms)
	return rsaSigner{sha2, all}, errors.Join(err, err2)
}

// An rsaSigner signs with SHA-2 only.
type rsaSigner struct {
	ssh.MultiAlgorithmSigner
	all ssh.Signer
}

// Sign signs with SHA-512. That of the library would use SHA-1.
func (s rsaSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, ssh.KeyAlgoRSASHA512)
}

// WithSHA1 returns the same key for clients that know only ssh-rsa.
func (s rsaSigner) WithSHA1() ssh.Signer { return s.all }

// PassphraseFile reads the passphrase of all keys from the first line of one file,
// such as a systemd credential.
func PassphraseFile(file string) Ask {
	return func() ([]byte, error) {
		line, err := privatefile.FirstLine(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return []byte(line), nil
	}
}

// Certify returns signers, and after them each once more with its certificate
// (OpenSSH's PROTOCOL.certkeys) in one of files, as made by ssh-keygen -s CA -h.
// Clients that trust the CA need no known_hosts entry of the server; others use the
// plain key. An expired certificate is offered too, because the client decides about
// it.
func Certify(signers []ssh.Signer, files []string) ([]ssh.Signer, error) {
	all := signers[:len(signers):len(signers)]
	from := map[string]string{} // key -> file
	for _, file := range files {
		s, err := certify(signers, file)
		if err != nil {
			return nil, fmt.Errorf("host certificate %s: %w", file, err)
		}
		key := string(s.PublicKey().(*ssh.Certificate).Key.Marshal())
		if other, ok := from[key]; ok {
			return nil, fmt.Errorf("host certificate %s: %s is for the same key", file, other)
		}
		from[key] = file
		all = append(all, s)
	}
	return all, nil
}

func certify(signers []ssh.Signer, file string) (ssh.Signer, error) {
	text, err := privatefile.Read(file, privatefile.AllRead, mostText)
	if err != nil {
		return nil, err
	}
	k, err := Parse(text, nil)
	if err != nil {
		return nil, err
	}
	cert, ok := k.Public.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("is a key, not a certificate")
	}
	if cert.CertType != ssh.HostCert {
		return nil, errors.New("is not a host certificate: ssh-keygen -h makes one")
	}
	blob := cert.Key.Marshal()
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), blob) {
			return ssh.NewCertSigner(cert, s)
		}
	}
	return nil, fmt.Errorf("is for the key %s, which is none of the host keys", ssh.FingerprintSHA256(cert.Key))
}
