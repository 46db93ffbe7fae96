package hostkey

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"berth/sshd/privatefile"
)

// Certify returns signers, and after them each once more with its certificate
// (OpenSSH's PROTOCOL.certkeys) in one of files, as made by ssh-keygen -s CA -h.
// Clients that trust the CA need no known_hosts entry of the server; others use the
// plain key. An expired certificate is offered too, because the client decides about
// it.
func Certify(signers []ssh.Signer, files []string) ([]ssh.Signer, error) {
	all := signers[:len(signers):len(signers)]
	from := map[string]string{} // type -> file
	for _, file := range files {
		s, err := certify(signers, file)
		if err != nil {
			return nil, fmt.Errorf("host certificate %s: %w", file, err)
		}
		t := s.PublicKey().Type()
		if other, ok := from[t]; ok {
			return nil, fmt.Errorf("host certificate %s: %s is for the same key", file, other)
		}
		from[t] = file
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
