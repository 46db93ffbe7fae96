package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory/rfc4716"
)

// A Key is one public key of a user, with the options that limit it as in
// OpenSSH's authorized_keys (sshd(8)).
type Key struct {
	ssh.PublicKey
	Comment   string
	From      []string  // patterns of the from= option; empty: from anywhere
	Expires   time.Time // expiry-time=; zero: never
	NoTouch   bool      // no-touch-required
	Verified  bool      // verify-required: a FIDO key must have verified the person, by a PIN or a finger
	Attribute string    // where it was found
	Index     int       // which value of the attribute, from 0
}

// A KeyNote is a value of the key attribute that is not used, and why.
type KeyNote struct {
	Attribute   string
	Index       int
	Fingerprint string // SHA256:…, empty if the value could not be parsed
	Reason      string
}

// Bounds on what one user's entry may make the parser do.
const (
	maxKeyValue = 64 << 10 // bytes of one value; an RSA 16384 key takes 3 KiB
	maxKeyNotes = 100      // notes of one user
	minRSABits  = 2048
)

// MaxKeys is how many keys of one user are read.
const MaxKeys = 100

// ParseKeys reads the values of attribute as OpenSSH public key lines
// (options, several lines a value and CRLF allowed) or RFC 4716 blocks. A value
// that cannot be used makes a KeyNote, never an error. With a prefix such as
// "SSHKey:" only the values that begin with it, in any case, are read.
func ParseKeys(attribute, prefix string, values []string) ([]Key, []KeyNote) {
	p := keyParser{attribute: attribute}
	for i, value := range values {
		p.index = i
		if len(value) < len(prefix) || !strings.EqualFold(value[:len(prefix)], prefix) {
			continue
		}
		p.value(value[len(prefix):])
	}
	return p.keys, p.notes
}

type keyParser struct {
	attribute string
	index     int
	keys      []Key
	notes     []KeyNote
}

func (p *keyParser) value(value string) {
	if len(value) > maxKeyValue {
		p.note("", fmt.Sprintf("value of %d bytes is longer than %d", len(value), maxKeyValue))
		return
	}
	// Some tools store a C string with its NUL.
	lines := rfc4716.Lines(strings.TrimRight(value, "\x00"))
	for len(lines) > 0 && len(p.notes) < maxKeyNotes {
		line := strings.TrimSpace(lines[0])
		switch {
		case line == rfc4716.Begin:
			pub, comment, rest, err := rfc4716.Parse(lines[1:])
			if err != nil {
				p.note("", err.Error())
			} else {
				p.add(Key{PublicKey: pub, Comment: comment})
			}
			lines = rest
			continue
		case line != "" && line[0] != '#':
			p.line(line)
		}
		lines = lines[1:]
	}
}

// line reads one line of an authorized_keys file.
func (p *keyParser) line(line string) {
	pub, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		reason := "not an OpenSSH public key"
		if strings.Contains(line, "ssh-dss AAAA") {
			reason = "an ssh-dss key: DSA is not supported"
		}
		p.note("", reason)
		return
	}
	k := Key{PublicKey: pub, Comment: comment}
	for _, option := range options {
		if err := k.apply(option); err != nil {
			p.note(ssh.FingerprintSHA256(pub), err.Error())
			return
		}
	}
	p.add(k)
}

func (p *keyParser) add(k Key) {
	k.Attribute, k.Index = p.attribute, p.index
	fingerprint := ssh.FingerprintSHA256(k.PublicKey)
	if err := strong(k.PublicKey); err != nil {
		p.note(fingerprint, err.Error())
		return
	}
	if len(p.keys) == MaxKeys {
		p.note(fingerprint, fmt.Sprintf("a user may have %d keys", MaxKeys))
		return
	}
	p.keys = append(p.keys, k)
}

func (p *keyParser) note(fingerprint, reason string) {
	if len(p.notes) < maxKeyNotes {
		p.notes = append(p.notes, KeyNote{p.attribute, p.index, fingerprint, reason})
	}
}

// strong returns an error if a kind of key is too weak to be used.
func strong(pub ssh.PublicKey) error {
	if _, ok := pub.(*ssh.Certificate); ok {
		return errors.New("a certificate, not a key")
	}
	crypto, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if key, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
		return fmt.Errorf("RSA key of %d bits is shorter than %d", key.N.BitLen(), minRSABits)
	}
	return nil
}

// apply applies one option to k. Options about things that this server never offers
// (terminals, forwarding, a shell's environment) are ignored. An option that cannot
// be obeyed refuses the key.
func (k *Key) apply(option string) error {
	name, value, _ := strings.Cut(option, "=")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	value = strings.ReplaceAll(value, `\"`, `"`)
	name = strings.ToLower(name)
	switch why := refusedOptions[name]; {
	case name == "from" && len(k.From) > 0:
		return errors.New("option from= is given twice")
	case name == "from":
		k.From = strings.Split(value, ",")
		if slices.ContainsFunc(k.From, func(p string) bool { return strings.Trim(p, "! \t") == "" }) {
			return fmt.Errorf("option from=%q holds an empty pattern", value)
		}
	case name == "expiry-time":
		return k.setExpiry(value)
	case name == "no-touch-required":
		k.NoTouch = true
	case name == "verify-required":
		k.Verified = true
	case why != "":
		return errors.New(why)
	case !slices.Contains(harmlessOptions, name):
		return fmt.Errorf("unknown option %q", name)
	}
	return nil
}

// The other options of sshd(8).
var (
	refusedOptions = map[string]string{
		"command":        "a forced command cannot be run here",
		"cert-authority": "an authority for certificates, not a key",
		"principals":     "valid for certificates only",
	}
	harmlessOptions = strings.Fields(`restrict pty no-pty port-forwarding no-port-forwarding permitopen permitlisten
		agent-forwarding no-agent-forwarding x11-forwarding no-x11-forwarding user-rc no-user-rc environment tunnel`)
)

// expiryLayouts are the forms of expiry-time= by their length.
var expiryLayouts = map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}

func (k *Key) setExpiry(value string) error {
	digits, zone := value, time.Local
	if s, utc := strings.CutSuffix(strings.ToUpper(value), "Z"); utc {
		digits, zone = s, time.UTC
	}
	layout, known := expiryLayouts[len(digits)]
	t, err := time.ParseInLocation(layout, digits, zone)
	if !known || err != nil {
		return fmt.Errorf("option expiry-time=%q is not YYYYMMDD[HHMM[SS]][Z]", value)
	}
	if k.Expires.IsZero() || t.Before(k.Expires) {
		k.Expires = t
	}
	return nil
}

// Usable returns nil if k may be used from remote at now, or else the reason.
func (k Key) Usable(remote netip.Addr, now time.Time) error {
	if !k.Expires.IsZero() && !now.Before(k.Expires) {
		return fmt.Errorf("key expired at %s", k.Expires.UTC().Format(time.RFC3339))
	}
	if len(k.From) > 0 && !matchFrom(k.From, remote.Unmap().WithZone("")) {
		return fmt.Errorf("key may not be used from %s", remote)
	}
	return nil
}

// matchFrom matches as ssh_config(5) PATTERNS says: if a negated pattern matches,
// the result is false; otherwise one of the others must match. Host names never
// match, because reverse look-ups are not trusted.
func matchFrom(patterns []string, remote netip.Addr) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(strings.TrimSpace(p), "!")
		matched := matchAddr(p, remote)
		if matched && negated {
			return false
		}
		found = found || matched
	}
	return found
}

func matchAddr(pattern string, remote netip.Addr) bool {
	if !remote.IsValid() {
		return false
	}
	if prefix, err := netip.ParsePrefix(pattern); err == nil {
		return prefix.Contains(remote)
	}
	if addr, err := netip.ParseAddr(pattern); err == nil {
		return addr.Unmap() == remote
	}
	// Classes and backslashes of path.Match are plain characters in OpenSSH, and no
	// address has them.
	matched, err := path.Match(strings.ToLower(pattern), remote.String())
	return matched && err == nil && !strings.ContainsAny(pattern, `[\`)
}
