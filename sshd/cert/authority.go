package cert

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// An Authority knows whose certificates are trusted. It is safe for concurrent
// use.
type Authority struct {
	trusted []*file[keySet]
	revoked []*file[*revocations]
	attrs   []string // in lower case
}

// A Grant is what a certificate says of a login that it allows.
type Grant struct {
	ID        string // the key id, as the authority chose it
	Serial    uint64
	Authority string    // fingerprint of the key that signed
	Until     time.Time // when it expires; zero: never
	Command   string    // the only one it is for, from force-command; empty: any
}

// Open reads the files of s. One that cannot be used is an error now, and later
// a reason to take no certificate until it can be.
func Open(s Settings) (*Authority, error) {
	a := &Authority{}
	for _, name := range s.PrincipalAttributes {
		a.attrs = append(a.attrs, strings.ToLower(name))
	}
	var errs []error
	for _, path := range s.CAKeys {
		f := &file[keySet]{path: path, parse: parseAuthorities}
		_, err := f.current()
		a.trusted, errs = append(a.trusted, f), append(errs, err)
	}
	for _, path := range s.Revoked {
		f := &file[*revocations]{path: path, parse: parseRevocations}
		_, err := f.current()
		a.revoked, errs = append(a.revoked, f), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return a, nil
}

// Principals returns what a certificate of a user may be made out to, where
// attrs are the user's attributes by name in lower case.
func (a *Authority) Principals(name string, attrs map[string][]string) []string {
	all := []string{name}
	for _, attr := range a.attrs {
		all = append(all, attrs[attr]...)
	}
	return all
}

// Check returns nil if somebody who is called one of principals may log in with
// cert from remote at the time now. It does not prove that the client holds the
// key; the SSH library does. The caller has to see that no other command than
// that of the grant is run. Errors wrap one of those of this package.
func (a *Authority) Check(cert *ssh.Certificate, principals []string, remote netip.Addr, now time.Time) (Grant, error) {
	if cert.CertType != ssh.UserCert {
		return Grant{}, ErrType
	}
	if err := a.trusts(cert.SignatureKey); err != nil {
		return Grant{}, err
	}
	// What follows is true only if the authority said it.
	if err := signed(cert); err != nil {
		return Grant{}, err
	}
	if err := a.revokes(cert); err != nil {
		return Grant{}, err
	}
	if err := valid(cert, now); err != nil {
		return Grant{}, err
	}
	if !slices.ContainsFunc(cert.ValidPrincipals, func(p string) bool { return p != "" && slices.Contains(principals, p) }) {
		return Grant{}, fmt.Errorf("%w: its principals are %q", ErrPrincipal, cert.ValidPrincipals)
	}
	if err := options(cert.CriticalOptions, remote); err != nil {
		return Grant{}, err
	}
	g := Grant{
		ID: cert.KeyId, Serial: cert.Serial, Authority: ssh.FingerprintSHA256(cert.SignatureKey),
		Command: cert.CriticalOptions[forceCommand],
	}
	if cert.ValidBefore != ssh.CertTimeInfinity {
		g.Until = time.Unix(int64(cert.ValidBefore), 0)
	}
	return g, nil
}

// Trusts returns nil if cert, which Check has let pass before, is still signed by
// one of the authorities and not revoked.
func (a *Authority) Trusts(cert *ssh.Certificate) error {
	if err := a.trusts(cert.SignatureKey); err != nil {
		return err
	}
	return a.revokes(cert)
}

// revokes returns an error if cert, its key or the key of its authority has been
// revoked, or if that cannot be told.
func (a *Authority) revokes(cert *ssh.Certificate) error {
	for _, f := range a.revoked {
		r, err := f.current()
		if err != nil {
			return err
		}
		if why := r.of(cert); why != "" {
			return fmt.Errorf("%w: %s stands in %s", ErrRevoked, why, f.path)
		}
	}
	return nil
}

// trusts returns nil if key is that of an authority.
func (a *Authority) trusts(key ssh.PublicKey) error {
	blob := key.Marshal()
	for _, f := range a.trusted {
		keys, err := f.current()
		if err != nil {
			return err
		}
		if keys[string(blob)] {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrAuthority, ssh.FingerprintSHA256(key))
}

// signed verifies the signature of the authority. The library's checker also
// looks at validity and options, but its errors do not tell what is wrong, so it
// is made to see nothing there; valid and options do that.
func signed(cert *ssh.Certificate) error {
	if err := strong(cert.Key); err != nil {
		return err
	}
	if cert.Signature == nil {
		return ErrSignature
	}
	if f := cert.Signature.Format; f == ssh.KeyAlgoRSA {
		return fmt.Errorf("%w: signed with %s, which is SHA-1", ErrWeak, f)
	}
	if cert.ValidAfter > math.MaxInt64 || cert.ValidAfter >= cert.ValidBefore {
		return fmt.Errorf("%w: it was never valid", ErrExpired)
	}
	named := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return p != "" })
	if named < 0 { // the library refuses such a certificate, too
		return fmt.Errorf("%w: it has no principals", ErrPrincipal)
	}
	checker := ssh.CertChecker{
		SupportedCriticalOptions: slices.Collect(maps.Keys(cert.CriticalOptions)),
		Clock:                    func() time.Time { return time.Unix(int64(cert.ValidAfter), 0) },
	}
	if err := checker.CheckCert(cert.ValidPrincipals[named], cert); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

func valid(cert *ssh.Certificate, now time.Time) error {
	unix := uint64(max(now.Unix(), 0))
	if unix < cert.ValidAfter {
		return fmt.Errorf("%w: it will be at %s", ErrNotYetValid, date(cert.ValidAfter))
	}
	if unix >= cert.ValidBefore {
		return fmt.Errorf("%w: at %s", ErrExpired, date(cert.ValidBefore))
	}
	return nil
}

func date(unix uint64) string {
	return time.Unix(int64(min(unix, math.MaxInt64)), 0).UTC().Format(time.RFC3339)
}

// Critical options that are kept (PROTOCOL.certkeys). Any other, such as
// verify-required, refuses the certificate.
const (
	sourceAddress = "source-address"
	forceCommand  = "force-command"
)

func options(critical map[string]string, remote netip.Addr) error {
	for name := range critical {
		if name != sourceAddress && name != forceCommand {
			return fmt.Errorf("%w: %q", ErrOption, name)
		}
	}
	if command, ok := critical[forceCommand]; ok && command == "" {
		return fmt.Errorf("%w: %s is empty", ErrOption, forceCommand)
	}
	networks, ok := critical[sourceAddress]
	if !ok {
		return nil
	}
	inside := false
	for network := range strings.SplitSeq(networks, ",") {
		p, err := prefix(network)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrOption, sourceAddress, err)
		}
		inside = inside || p.Contains(remote.Unmap().WithZone(""))
	}
	if !inside {
		return fmt.Errorf("%w: only from %s", ErrSource, networks)
	}
	return nil
}

// prefix reads a network or a single address.
func prefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}

// minRSA is the smallest RSA modulus in bits that is taken.
const minRSA = 2048

func strong(key ssh.PublicKey) error {
	//lint:ignore SA1019 the constant is named in order to refuse it
	if key.Type() == ssh.InsecureKeyAlgoDSA {
		return fmt.Errorf("%w: a key of type %s", ErrWeak, key.Type())
	}
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
		return fmt.Errorf("%w: an RSA key of %d bits, %d are needed", ErrWeak, r.N.BitLen(), minRSA)
	}
	return nil
}
