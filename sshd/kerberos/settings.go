// Package kerberos lets tickets stand in for passwords: it is the server's side
// of the SSH method gssapi-with-mic (RFC 4462) with Kerberos 5 (RFC 4120, RFC
// 4121) for golang.org/x/crypto/ssh. It never talks to a KDC and reads no
// krb5.conf: a keytab is all it needs.
//
// Start at Open. A Keytab gives every connection its own Acceptor, which proves
// who the client is, and says which user that is by User.
package kerberos

import (
	"errors"
	"fmt"
	"strings"
)

// Settings are the administrator's choices about Kerberos. The zero value
// switches it off.
type Settings struct {
	// Keytab is the file that holds the keys of this service, as made by ktadd,
	// ktpass or samba-tool. It is read again whenever it changes.
	Keytab string `mapstructure:"keytab"`

	// Principal is the service that tickets must be for, with or without its
	// realm: host/sftp.corp.example. Empty means every host/ of the keytab.
	Principal string `mapstructure:"principal"`

	// Realms are those whose people may log in. Empty means the realm of the
	// service itself.
	Realms []Realm `mapstructure:"realms"`

	// RC4Tickets also takes tickets under an rc4-hmac key of the keytab, for a
	// service account in an Active Directory that was never told of AES. The
	// session is protected with AES all the same.
	RC4Tickets bool `mapstructure:"rc4_tickets"`
}

// A Realm is one whose people may log in.
type Realm struct {
	// Name of the realm, spelled as the KDC spells it: CORP.EXAMPLE.
	Name string `mapstructure:"name"`

	// User is what its people are called in the directory; %u is the name
	// before the @ of the principal. Empty means %u. Names of a second realm are
	// better told apart, as in %u@partner.example, or its alice is our alice.
	User string `mapstructure:"user"`
}

// Enabled reports whether Kerberos is to be used at all.
func (s *Settings) Enabled() bool { return s.Keytab != "" }

// Check reports what in s cannot be used, with the key and what would be right.
// It does not look at the keytab; Open does.
func (s *Settings) Check() []error {
	var errs []error
	if !s.Enabled() && (s.Principal != "" || len(s.Realms) > 0 || s.RC4Tickets) {
		errs = append(errs, errors.New("keytab: empty: it must name the file that holds the keys, such as /etc/berth/krb5.keytab"))
	}
	if service, host, ok := strings.Cut(s.Principal, "/"); s.Principal != "" && (!ok || service == "" || host == "") {
		errs = append(errs, fmt.Errorf("principal: %q: must be a service and a host, such as host/sftp.corp.example", s.Principal))
	}
	seen := map[string]bool{}
	for i, r := range s.Realms {
		key := fmt.Sprintf("realms[%d]", i)
		if r.Name == "" || strings.ContainsAny(r.Name, "@/\\ ") {
			errs = append(errs, fmt.Errorf("%s.name: %q: must be a realm, such as CORP.EXAMPLE", key, r.Name))
		}
		if seen[r.Name] {
			errs = append(errs, fmt.Errorf("%s.name: %q stands there twice", key, r.Name))
		}
		seen[r.Name] = true
		if r.User != "" && (strings.Count(r.User, "%") != 1 || !strings.Contains(r.User, "%u")) {
			errs = append(errs, fmt.Errorf("%s.user: %q: must hold %%u once, such as %%u@partner.example", key, r.User))
		}
	}
	return errs
}
