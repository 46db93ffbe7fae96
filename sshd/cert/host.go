package cert

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// hostLifetime is how long a certificate of a host key is valid. After half of it there is
// a new one.
const hostLifetime = 7 * 24 * time.Hour

// hosts are the certificates of this server's own keys that the issuer has signed.
type hosts struct {
	mu     sync.Mutex
	of     map[string]ssh.Signer // by the key, marshalled
	renews time.Time
}

// HostCertificates returns keys with a certificate each, for Issue.HostNames. Clients that
// trust the authority for hosts (@cert-authority) then know this server. There are none
// without HostNames. It is safe for concurrent use.
func (a *Authority) HostCertificates(keys []ssh.Signer, now time.Time) ([]ssh.Signer, error) {
	if a == nil || a.issuer == nil || len(a.issuer.HostNames) == 0 {
		return nil, nil
	}
	h := &a.issuer.hosts
	h.mu.Lock()
	defer h.mu.Unlock()
	if !now.Before(h.renews) || h.renews.Sub(now) > hostLifetime { // or the clock was set back
		h.of, h.renews = map[string]ssh.Signer{}, now.Add(hostLifetime/2)
	}
	var certified []ssh.Signer
	for _, k := range keys {
		if _, is := k.PublicKey().(*ssh.Certificate); is {
			continue
		}
		name := string(k.PublicKey().Marshal())
		if h.of[name] == nil {
			s, err := a.certifyHost(k, now)
			if err != nil {
				return certified, fmt.Errorf("certificate of the host key %s: %w", ssh.FingerprintSHA256(k.PublicKey()), err)
			}
			h.of[name] = s
		}
		certified = append(certified, h.of[name])
	}
	return certified, nil
}

func (a *Authority) certifyHost(k ssh.Signer, now time.Time) (ssh.Signer, error) {
	c := &ssh.Certificate{
		Key: k.PublicKey(), CertType: ssh.HostCert, KeyId: a.issuer.HostNames[0], ValidPrincipals: a.issuer.HostNames, Serial: uint64(now.UnixMicro()),
		ValidAfter: uint64(now.Add(-clockSkew).Unix()), ValidBefore: uint64(now.Add(hostLifetime).Unix()),
	}
	if err := c.SignCert(rand.Reader, a.issuer.key); err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(c, k)
}
