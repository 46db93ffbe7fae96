package hostkey

import "golang.org/x/crypto/ssh"

// An rsaSigner signs with SHA-2 only.
type rsaSigner struct {
	ssh.MultiAlgorithmSigner
	plain ssh.AlgorithmSigner
}

// newRSASigner restricts plain, which would offer ssh-rsa too: that is SHA-1.
func newRSASigner(plain ssh.AlgorithmSigner) (ssh.Signer, error) {
	s, err := ssh.NewSignerWithAlgorithms(plain, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	return rsaSigner{s, plain}, err
}

// WithSHA1 returns the same key for clients that know nothing else.
func (s rsaSigner) WithSHA1() (ssh.Signer, error) {
	return ssh.NewSignerWithAlgorithms(s.plain, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA})
}
