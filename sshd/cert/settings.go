// Package cert decides on SSH user certificates (OpenSSH's PROTOCOL.certkeys): is
// one signed by a configured authority, for this user, now, from here, and not
// revoked. Who the user is, and what they may do, is for others.
//
// Start at Open and Authority.Check.
package cert

import (
	"errors"
	"fmt"
)

// Settings are the administrator's choices about user certificates. The zero
// value switches them off.
type Settings struct {
	// CAKeys are files with the public keys of the authorities, one a line, as
	// OpenSSH's TrustedUserCAKeys. They are read again when they change.
	CAKeys []string `mapstructure:"ca_keys"`

	// PrincipalAttributes are attributes of a user whose values may stand among
	// the principals of a certificate in the place of the user's name.
	PrincipalAttributes []string `mapstructure:"principal_attributes"`

	// Revoked are files that say what is revoked: key revocation lists made by
	// ssh-keygen -k, or texts with a public key, a fingerprint, "serial: 7" or
	// "id: NAME" a line. They are read again when they change; while one cannot be
	// read, no certificate is taken.
	Revoked []string `mapstructure:"revoked"`
}

// Enabled reports whether certificates are taken at all.
func (s *Settings) Enabled() bool { return len(s.CAKeys) > 0 }

// Check reports what in s cannot be used, with the key and what would be right.
// It does not look at the files; Open does.
func (s *Settings) Check() []error {
	var errs []error
	if !s.Enabled() && (len(s.Revoked) > 0 || len(s.PrincipalAttributes) > 0) {
		errs = append(errs, errors.New("ca_keys: empty: it must name the files with the authorities, such as /etc/berth/user-ca.pub"))
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"ca_keys", s.CAKeys}, {"principal_attributes", s.PrincipalAttributes}, {"revoked", s.Revoked}} {
		for i, name := range list.names {
			if name == "" {
				errs = append(errs, fmt.Errorf("%s[%d]: empty: leave it out", list.key, i))
			}
		}
	}
	return errs
}
