package hostkey

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// algorithmNumbers are those of SSHFP records (RFC 4255, 6594 and 7479).
var algorithmNumbers = map[string]int{
	ssh.KeyAlgoRSA: 1, ssh.KeyAlgoECDSA256: 3, ssh.KeyAlgoECDSA384: 3, ssh.KeyAlgoECDSA521: 3, ssh.KeyAlgoED25519: 4,
}

// SSHFP returns the data of the DNS record by which clients can check a host key
// (VerifyHostKeyDNS in OpenSSH): algorithm, kind of fingerprint (2: SHA-256), fingerprint.
func SSHFP(k ssh.PublicKey) (string, error) {
	n, ok := algorithmNumbers[k.Type()]
	if !ok {
		return "", fmt.Errorf("there are no SSHFP records for keys of type %s", k.Type())
	}
	return fmt.Sprintf("%d 2 %x", n, sha256.Sum256(k.Marshal())), nil
}
