package cert

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// hostLifetime is how long a certificate of a host key is valid. After half of it there is
// a new one.
const hostLifetime = 7 * 24 * time.Hour

// askAgain is how long after a failure the authority is asked again. An agent that hangs
// must not delay each login.
const askAgain = time.Minute

// A host is the certificate of one of this server's own keys.
type host struct {
	signer ssh.Signer // nil: there is no certificate yet
	renews time.Time
}

// usable reports whether h has a certificate that is valid.
func (h *host) usable(now time.Time) bool {
	return h.signer != nil && valid(h.signer.PublicKey().(*ssh.Certificate), now) == nil
}

// HostCertificates returns keys with a certificate each, for Issue.HostNames. Clients that
// trust the authority for hosts (@cert-authority) then know this server. There are none
// without HostNames. If the authority cannot sign, it returns the certificates that are
// still valid, and each askAgain an error. Only the call that renews a certificate waits
// for the authority. The others use the old one, if it is still valid. HostCertificates is
// safe for concurrent use.
func (a *Authority) HostCertificates(keys []ssh.Signer, now time.Time) ([]ssh.Signer, error) {
	if a == nil || a.issuer == nil || len(a.issuer.HostNames) == 0 {
		return nil, nil
	}
	a.issuer.mu.Lock()
	defer a.issuer.mu.Unlock()
	if a.issuer.hosts == nil {
		a.issuer.hosts = map[string]*host{}
	}
	var certified []ssh.Signer
	var failed error
	for _, k := range keys {
		if _, is := k.PublicKey().(*ssh.Certificate); is {
			continue
		}
		name := string(k.PublicKey().Marshal())
		h := a.issuer.hosts[name]
		if h == nil {
			h = &host{}
			a.issuer.hosts[name] = h
		}
		if !now.Before(h.renews) || h.renews.Sub(now) > hostLifetime { // or the clock was set back
			h.renews = now.Add(askAgain)
			s, err := a.certifyHost(k, now, h.usable(now))
			if err == nil {
				h.signer, h.renews = s, now.Add(hostLifetime/2)
			} else {
				failed = errors.Join(failed, fmt.Errorf("certificate of the host key %s: %w", ssh.FingerprintSHA256(k.PublicKey()), err))
			}
		}
		if h.usable(now) {
			certified = append(certified, h.signer)
		}
	}
	return certified, failed
}

// certifyHost returns k with a new certificate. If others can use the old one meanwhile,
// they do not wait.
func (a *Authority) certifyHost(k ssh.Signer, now time.Time, old bool) (ssh.Signer, error) {
	if old {
		a.issuer.mu.Unlock()
		defer a.issuer.mu.Lock()
	}
	c := &ssh.Certificate{
		Key: k.PublicKey(), CertType: ssh.HostCert, KeyId: a.issuer.HostNames[0], ValidPrincipals: a.issuer.HostNames, Serial: uint64(now.UnixMicro()),
		ValidAfter: uint64(now.Add(-clockSkew).Unix()), ValidBefore: uint64(now.Add(hostLifetime).Unix()),
	}
	if err := c.SignCert(rand.Reader, a.issuer.key); err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(c, k)
}
