package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// sshsig is what "ssh-keygen -Y sign" makes, without its armour: section 1 of
// OpenSSH's PROTOCOL.sshsig.
type sshsig struct {
	Version                   uint32
	PublicKey                 []byte
	Namespace, Reserved, Hash string
	Signature                 []byte
}

const (
	sealMagic = "SSHSIG"
	sealSpace = "berth-events" // the namespace: signatures of other things prove nothing here
)

// sealed is what is signed for a text: section 2 of PROTOCOL.sshsig.
func sealed(namespace string, text []byte) []byte {
	hash := sha256.Sum256(text)
	return append([]byte(sealMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{namespace, "", "sha256", hash[:]})...)
}

// Seal returns the signature of text that "ssh-keygen -Y sign -n namespace" makes, in
// binary: section 1 of OpenSSH's PROTOCOL.sshsig.
func Seal(key ssh.Signer, namespace string, text []byte) ([]byte, error) {
	var sig *ssh.Signature
	var err error
	if m, ok := key.(ssh.MultiAlgorithmSigner); ok { // Sign would use SHA-1 with RSA
		sig, err = m.SignWithAlgorithm(rand.Reader, sealed(namespace, text), m.Algorithms()[0])
	} else {
		sig, err = key.Sign(rand.Reader, sealed(namespace, text))
	}
	if err != nil {
		return nil, err
	}
	s := sshsig{1, key.PublicKey().Marshal(), namespace, "", "sha256", ssh.Marshal(sig)}
	return append([]byte(sealMagic), ssh.Marshal(s)...), nil
}

// unseal returns whose signature of text blob is.
func unseal(blob, text []byte) (ssh.PublicKey, error) {
	var s sshsig
	var sig ssh.Signature
	rest, ok := bytes.CutPrefix(blob, []byte(sealMagic))
	if !ok {
		return nil, errors.New("the signature is none of ssh-keygen's format")
	}
	err := ssh.Unmarshal(rest, &s)
	if err == nil {
		err = ssh.Unmarshal(s.Signature, &sig)
	}
	if err != nil {
		return nil, fmt.Errorf("the signature cannot be read: %w", err)
	}
	key, err := ssh.ParsePublicKey(s.PublicKey)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the key of the signature cannot be read: %w", err)
	case s.Version != 1 || s.Namespace != sealSpace || s.Hash != "sha256" || sig.Format == ssh.KeyAlgoRSA:
		return nil, fmt.Errorf("the signature is of another kind: version %d, namespace %q, %s, %s", s.Version, s.Namespace, s.Hash, sig.Format)
	}
	return key, key.Verify(sealed(sealSpace, text), &sig)
}
