// Package cert decides about SSH user certificates (OpenSSH's PROTOCOL.certkeys):
// is one signed by a configured authority, for this user, now, from this address,
// and not revoked? It does not know who the user is, or what the user may do.
//
// Start at Open and Authority.Check.
package cert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/sshd/check"
)

// Settings are the administrator's choices about user certificates. Without ca_keys and
// authorities they are switched off.
type Settings struct {
	// CAKeys are files with the public keys of the authorities, one a line, as
	// OpenSSH's TrustedUserCAKeys. They are read again when they change. Where
	// there are several directories, use authorities instead.
	CAKeys []string `mapstructure:"ca_keys"`

	// Authorities are files like those of ca_keys, each for the people of one
	// directory.
	Authorities []Trusted `mapstructure:"authorities"`

	// PrincipalAttributes are attributes of a user. A certificate is also for the
	// user if one of its principals is a value of such an attribute.
	PrincipalAttributes []string `mapstructure:"principal_attributes"`

	// Revoked are files that list what is revoked: key revocation lists made by
	// ssh-keygen -k, or texts with a public key, a fingerprint, "serial: 7" or
	// "id: NAME" a line. A key that is listed is not accepted with or without a
	// certificate. They are read again when they change. While one cannot be read, no
	// certificate and no key is accepted.
	Revoked []string `mapstructure:"revoked"`

	// Issue is the certificates that this server issues, by ssh HOST certify.
	Issue Issue `mapstructure:"issue"`
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{Issue: Issue{Lifetime: 10 * time.Hour, SourceAddress: fromLogin}}
}

// Trusted is authorities for the people of one directory.
type Trusted struct {
	// File with the public keys of the authorities, one a line.
	File string `mapstructure:"file"`

	// Directory is the name of the directory whose people these authorities
	// certify. For anybody else their certificates are refused. It may be left out
	// where there is only one directory.
	Directory string `mapstructure:"directory"`
}

// Enabled reports whether certificates are accepted at all.
func (s *Settings) Enabled() bool { return len(s.CAKeys) > 0 || len(s.Authorities) > 0 }

// Check reports what in s cannot be used, with the key and what would be right.
// directories are the names of those configured. Check does not read the files;
// Open does.
func (s *Settings) Check(directories ...string) []error {
	var wrong check.Mistakes
	// "bob" of one directory is not "bob" of another one.
	if len(s.CAKeys) > 0 && len(directories) > 1 {
		wrong = append(wrong, fmt.Errorf("ca_keys: there are %d directories, and an authority may certify people of one only: use authorities: [{file: %s, directory: %s}]",
			len(directories), s.CAKeys[0], directories[0]))
	}
	for i, t := range s.Authorities {
		wrong.If(t.File == "", "authorities[%d].file: missing: must be the file with the public keys, such as /etc/berth/user-ca.pub", i)
		known := slices.Contains(directories, t.Directory) || len(directories) == 0 || (t.Directory == "" && len(directories) == 1)
		wrong.If(!known, "authorities[%d].directory: %q: must be the name of a directory: %s", i, t.Directory, strings.Join(directories, ", "))
	}
	wrong.If(!s.Enabled() && len(s.PrincipalAttributes) > 0, "ca_keys: empty: it must name the files with the authorities, such as /etc/berth/user-ca.pub")
	for _, list := range []struct {
		key   string
		names []string
	}{{"ca_keys", s.CAKeys}, {"principal_attributes", s.PrincipalAttributes}, {"revoked", s.Revoked}} {
		for i, name := range list.names {
			wrong.If(name == "", "%s[%d]: empty: leave it out", list.key, i)
		}
	}
	return append(wrong, s.checkIssue()...)
}
