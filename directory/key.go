package directory

import (
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Key is one public key of a user, with the options that limit it as in
// OpenSSH's authorized_keys (sshd(8)).
type Key struct {
	ssh.PublicKey
	Comment   string
	From      []string  // patterns of the from= option; empty: from anywhere
	Expires   time.Time // expiry-time=; zero: never
	NoTouch   bool      // no-touch-required
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

// ParseKeys reads the values of attribute as OpenSSH public key lines
// (options, several lines a value and CRLF allowed) or RFC 4716 blocks. A value
// that cannot be used makes a KeyNote, never an error. With a prefix such as
// "SSHKey:" only the values that begin with it, in any case, are looked at.
func ParseKeys(attribute, prefix string, values []string) ([]Key, []KeyNote) {
	panic("directory: ParseKeys: written by the directory helper")
}

// Usable reports whether k may be used from remote at now: a nil error, or what
// stands against it.
func (k Key) Usable(remote netip.Addr, now time.Time) error {
	panic("directory: Usable: written by the directory helper")
}
