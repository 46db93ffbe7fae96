package cert

import (
	"cmp"
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

	"berth/sshd/privatefile"
)

// An Authority knows whose certificates are trusted. It is safe for concurrent
// use.
type Authority struct {
	trusted []trusted
	revoked []*privatefile.File[*revocations]
	attrs   []string // in lower case
	issuer  *issuer  // nil: it issues no certificates
}

// trusted are the keys of one file, and the directory whose people they certify.
type trusted struct {
	*privatefile.File[keySet]
	directory string
}

// A Person is somebody who logs in with a certificate.
type Person struct {
	Directory string              // name of the directory that holds the person
	Name      string              // in the directory's spelling
	Attrs     map[string][]string // by name in lower case
}

// A Grant is what a certificate allows, and what events report about it.
type Grant struct {
	ID        string // the key id, as the authority chose it
	Serial    uint64
	Authority string    // fingerprint of the key that signed
	Until     time.Time // when it expires; zero: never
	Command   string    // of force-command, the only one that may run; empty: any
}

// maxFile bounds what is read of a file, in bytes. A revocation list takes eight
// for a serial number, or less.
const maxFile = 16 << 20

// Open reads the files of s; directories are the names of those configured. A file that
// cannot be used is an error. If a file becomes unusable later, no certificate is
// accepted until it can be used again, and with one of Revoked no key.
func Open(s Settings, directories ...string) (*Authority, error) {
	if err := errors.Join(s.Check(directories...)...); err != nil {
		return nil, err
	}
	a := &Authority{}
	for _, name := range s.PrincipalAttributes {
		a.attrs = append(a.attrs, strings.ToLower(name))
	}
	only := ""
	if len(directories) == 1 {
		only = directories[0]
	}
	all := slices.Clone(s.Authorities)
	for _, path := range s.CAKeys {
		all = append(all, Trusted{File: path})
	}
	var errs []error
	for _, t := range all {
		f := &privatefile.File[keySet]{Path: t.File, Forbidden: privatefile.AllRead, Most: maxFile, Parse: parseAuthorities}
		_, err := current(f)
		errs = append(errs, err)
		a.trusted = append(a.trusted, trusted{f, cmp.Or(t.Directory, only)})
	}
	for _, path := range s.Revoked {
		f := &privatefile.File[*revocations]{Path: path, Forbidden: privatefile.AllRead, Most: maxFile, Parse: parseRevocations}
		_, err := current(f)
		errs = append(errs, err)
		a.revoked = append(a.revoked, f)
	}
	return a, errors.Join(errs...)
}

// current returns what a file holds now. Errors wrap ErrUnreadable.
func current[T any](f *privatefile.File[T]) (T, error) {
	value, err := f.Current()
	if err != nil {
		return value, fmt.Errorf("%w: %s: %w", ErrUnreadable, f.Path, err)
	}
	return value, nil
}

// Check returns nil if p may log in with cert from remote at the time now. It
// does not prove that the client holds the key; the SSH library does. The caller
// must run no other command than the one of the grant. Errors wrap one of those
// of this package.
func (a *Authority) Check(cert *ssh.Certificate, p Person, remote netip.Addr, now time.Time) (Grant, error) {
	if cert.CertType != ssh.UserCert {
		return Grant{}, ErrType
	}
	if err := a.trusts(cert.SignatureKey, p.Directory); err != nil {
		return Grant{}, err
	}
	// Nothing in the certificate is true before its signature is verified.
	if err := signed(cert); err != nil {
		return Grant{}, err
	}
	if err := a.revokes(cert); err != nil {
		return Grant{}, err
	}
	if err := valid(cert, now); err != nil {
		return Grant{}, err
	}
	principals := []string{p.Name}
	for _, attr := range a.attrs {
		principals = append(principals, p.Attrs[attr]...)
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

// A Listed is one authority.
type Listed struct{ File, Directory, Fingerprint string }

// List returns the authorities that are trusted now.
func (a *Authority) List() ([]Listed, error) {
	var all []Listed
	for _, f := range a.trusted {
		keys, err := current(f.File)
		if err != nil {
			return nil, err
		}
		for _, blob := range slices.Sorted(maps.Keys(keys)) {
			all = append(all, Listed{f.Path, f.directory, ssh.FingerprintSHA256(keys[blob])})
		}
	}
	return all, nil
}

// Trusts returns nil if cert, which Check accepted before for somebody of that
// directory, is still signed by one of the authorities and not revoked. If a file cannot
// be read, the others still decide.
func (a *Authority) Trusts(cert *ssh.Certificate, directory string) error {
	trusted, revoked := a.trusts(cert.SignatureKey, directory), a.revokes(cert)
	if errors.Is(trusted, ErrUnreadable) && errors.Is(revoked, ErrRevoked) {
		return revoked
	}
	return cmp.Or(trusted, revoked)
}

// revokes returns an error if cert, its key or the key of its authority has been revoked.
func (a *Authority) revokes(cert *ssh.Certificate) error {
	return a.listed(ErrRevoked, func(r *revocations) string { return r.of(cert) })
}

// Revokes returns nil if key, in the wire format, may be used without a certificate. Errors
// wrap ErrKeyRevoked, or ErrUndecided if a file cannot be read and no other one has the key.
func (a *Authority) Revokes(key []byte) error {
	if a == nil {
		return nil
	}
	return a.listed(ErrKeyRevoked, func(r *revocations) string {
		if r.hasKey(key) {
			return "it"
		}
		return ""
	})
}

// listed returns an error that wraps revoked if one of the lists has what find looks for,
// or ErrUndecided if a list cannot be read and no other one has it.
func (a *Authority) listed(revoked error, find func(*revocations) string) error {
	var undecided error
	for _, f := range a.revoked {
		r, err := current(f)
		if err != nil {
			undecided = fmt.Errorf("%w: %w", ErrUndecided, err)
			continue
		}
		if what := find(r); what != "" {
			return fmt.Errorf("%w: %s is in %s", revoked, what, f.Path)
		}
	}
	return undecided
}

// trusts returns nil if key is that of an authority for people of a directory.
func (a *Authority) trusts(key ssh.PublicKey, directory string) error {
	blob, other := key.Marshal(), ""
	for _, f := range a.trusted {
		keys, err := current(f.File)
		if err != nil {
			return err
		}
		if keys[string(blob)] == nil {
			continue
		}
		if f.directory == directory {
			return nil
		}
		other = fmt.Sprintf(" certifies people of %q, not of %q", f.directory, directory)
	}
	return fmt.Errorf("%w: %s%s", ErrAuthority, ssh.FingerprintSHA256(key), other)
}

// signed verifies the signature of the authority. The library's checker also checks
// validity and options, but its errors do not say which of them is wrong. So it gets a
// time and options that it accepts, and the functions valid and options check those.
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
		return fmt.Errorf("%w: valid from %s", ErrNotYetValid, date(cert.ValidAfter))
	}
	if unix >= cert.ValidBefore {
		return fmt.Errorf("%w: at %s", ErrExpired, date(cert.ValidBefore))
	}
	return nil
}

func date(unix uint64) string {
	return time.Unix(int64(min(unix, math.MaxInt64)), 0).UTC().Format(time.RFC3339)
}

// Critical options that are supported (PROTOCOL.certkeys). A certificate with any
// other is refused. The caller of Check enforces verify-required.
const (
	verifyRequired = "verify-required"
	sourceAddress  = "source-address"
	forceCommand   = "force-command"
)

func options(critical map[string]string, remote netip.Addr) error {
	for name := range critical {
		if name != sourceAddress && name != forceCommand && name != verifyRequired {
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
		addr, err := netip.ParseAddr(network)
		p := netip.PrefixFrom(addr, addr.BitLen())
		if err != nil {
			p, err = netip.ParsePrefix(network)
		}
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

// minRSA is the smallest RSA modulus in bits that is accepted.
const minRSA = 2048

func strong(key ssh.PublicKey) error {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
		return fmt.Errorf("%w: an RSA key of %d bits, %d are needed", ErrWeak, r.N.BitLen(), minRSA)
	}
	return nil
}

// Why a certificate is not accepted. Errors of Check wrap one of these.
var (
	ErrType        = errors.New("not a user certificate")
	ErrAuthority   = errors.New("signed by an unknown authority")
	ErrSignature   = errors.New("the signature of the authority is not valid")
	ErrWeak        = errors.New("too weak")
	ErrRevoked     = errors.New("revoked")
	ErrKeyRevoked  = errors.New("key revoked") // of a key without a certificate
	ErrNotYetValid = errors.New("not valid yet")
	ErrExpired     = errors.New("expired")
	ErrPrincipal   = errors.New("not for this user")
	ErrSource      = errors.New("not from this address")
	ErrOption      = errors.New("has a critical option that is not supported or not valid")

	// ErrUnreadable means that a file of the settings cannot be used, so it is not known
	// what is trusted or revoked.
	ErrUnreadable = errors.New("keys of authorities or revocations cannot be read")

	// ErrUndecided is an ErrUnreadable about a certificate that an authority has signed, or
	// about a key: only whether it is revoked is not known.
	ErrUndecided = errors.New("not known whether it is revoked")
)
