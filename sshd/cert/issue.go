package cert

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/check"
)

// Issue are the administrator's choices about certificates that this server issues.
type Issue struct {
	// CAKey is the file with the private key of one of the authorities. If it ends in
	// .pub it has the public key, and host_key_agent holds the private one. Empty means
	// that no certificates are issued.
	CAKey string `mapstructure:"ca_key"`

	// Lifetime is how long a certificate is valid.
	Lifetime time.Duration `mapstructure:"lifetime"`

	// SourceAddress is from where a certificate can be used: login is the address of
	// the login in which it was issued, any is any.
	SourceAddress string `mapstructure:"source_address"`

	// HostNames are the names of this server, as clients write them. The host keys then
	// get certificates for these names, by the same authority, for a week. They are
	// renewed while the server runs. Empty means none.
	HostNames []string `mapstructure:"host_names"`
}

// The values of Issue.SourceAddress.
const (
	fromLogin = "login"
	fromAny   = "any"
)

// maxLifetime is the longest that a certificate may be valid. Longer ones are better
// made by an authority that is not on a server.
const maxLifetime = 31 * 24 * time.Hour

func (s *Settings) checkIssue() []error {
	var wrong check.Mistakes
	i := s.Issue
	for n, name := range i.HostNames {
		wrong.If(name == "" || strings.ContainsAny(name, " ,*?!:"), "issue.host_names[%d]: %q: must be the name of a host, such as sftp.corp.example, without a port", n, name)
	}
	if i.CAKey == "" {
		wrong.If(len(i.HostNames) > 0, "issue.host_names: needs issue.ca_key, which signs the certificates")
		return wrong
	}
	wrong.If(!s.Enabled(), "issue.ca_key: no certificate is accepted: ca_keys or authorities must have its public key")
	wrong.If(i.Lifetime < time.Minute || i.Lifetime > maxLifetime, "issue.lifetime: %v: must be from 1m to %v, such as 10h", i.Lifetime, maxLifetime)
	wrong.If(i.SourceAddress != fromLogin && i.SourceAddress != fromAny, "issue.source_address: %q: must be login or any", i.SourceAddress)
	return wrong
}

// An issuer signs certificates.
type issuer struct {
	Issue
	key ssh.Signer

	mu    sync.Mutex
	hosts map[string]*host // by the key, marshalled
}

// IssueWith lets the authority issue certificates as s says, signed by key. It is called
// before the first use. The authority must trust key for the people of one directory.
func (a *Authority) IssueWith(s Issue, key ssh.Signer) error {
	people, err := a.certifiedBy(key.PublicKey())
	switch {
	case err != nil:
		return err
	case len(people) == 0:
		return fmt.Errorf("the key %s is not that of an authority: ca_keys or authorities must have its public key", ssh.FingerprintSHA256(key.PublicKey()))
	case len(people) > 1:
		return fmt.Errorf("the key %s is trusted for people of %s: must be one directory, or bob of one could log in as bob of another", ssh.FingerprintSHA256(key.PublicKey()), strings.Join(people, " and "))
	}
	a.issuer = &issuer{Issue: s, key: key}
	return nil
}

// certifiedBy returns the directories for whose people key is trusted.
func (a *Authority) certifiedBy(key ssh.PublicKey) (people []string, err error) {
	for _, f := range a.trusted {
		keys, err := current(f.File)
		if err != nil {
			return nil, err
		}
		if keys[string(key.Marshal())] != nil && !slices.Contains(people, f.directory) {
			people = append(people, f.directory)
		}
	}
	return people, nil
}

// Issues reports whether the authority issues certificates.
func (a *Authority) Issues() bool { return a.issuer != nil }

// clockSkew is how much earlier than now a certificate is valid, for servers whose clock
// is behind.
const clockSkew = time.Minute

// Certify returns a certificate of key for p, who has logged in from remote. It has no
// extensions, because files need none. Its id is the name of p, by which it can be
// revoked. Serial numbers are the time in microseconds: they grow, and need no memory.
// Errors wrap ErrAuthority, ErrWeak, ErrType, ErrRevoked or ErrUnreadable.
func (a *Authority) Certify(key ssh.PublicKey, p Person, remote netip.Addr, now time.Time) (*ssh.Certificate, error) {
	if _, certified := key.(*ssh.Certificate); certified {
		return nil, fmt.Errorf("%w: a key is needed, and this is a certificate", ErrType)
	}
	if err := strong(key); err != nil {
		return nil, err
	}
	people, err := a.certifiedBy(a.issuer.key.PublicKey())
	if err != nil {
		return nil, err
	}
	if !slices.Equal(people, []string{p.Directory}) { // the files may have changed
		return nil, fmt.Errorf("%w: it certifies people of %q, and must certify those of %q only", ErrAuthority, people, p.Directory)
	}
	c := &ssh.Certificate{
		Key: key, CertType: ssh.UserCert, KeyId: p.Name, ValidPrincipals: []string{p.Name}, Serial: uint64(now.UnixMicro()),
		ValidAfter: uint64(now.Add(-clockSkew).Unix()), ValidBefore: uint64(now.Add(a.issuer.Lifetime).Unix()),
		Permissions: ssh.Permissions{CriticalOptions: map[string]string{}},
	}
	if a.issuer.SourceAddress == fromLogin {
		c.CriticalOptions[sourceAddress] = remote.Unmap().WithZone("").String()
	}
	if err := c.SignCert(rand.Reader, a.issuer.key); err != nil {
		return nil, err
	}
	return c, a.revokes(c)
}
