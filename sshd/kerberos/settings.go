// Package kerberos accepts tickets instead of passwords. It is the server's side
// of the SSH method gssapi-with-mic (RFC 4462) with Kerberos 5 (RFC 4120, RFC
// 4121) for golang.org/x/crypto/ssh. It never talks to a KDC and reads no
// krb5.conf: a keytab is all it needs.
//
// Start at Open. A Keytab gives every connection its own Acceptor, which proves
// the client's principal. Keytab.User says which user that is.
package kerberos

import (
	"fmt"
	"slices"
	"strings"

	"berth/sshd/check"
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
	// service itself, which is possible where there is only one directory.
	Realms []Realm `mapstructure:"realms"`

	// RC4Tickets also accepts tickets under an rc4-hmac key of the keytab, for a
	// service account of Active Directory without AES keys. The session is
	// protected with AES in any case.
	RC4Tickets bool `mapstructure:"rc4_tickets"`
}

// A Realm is one whose people may log in.
type Realm struct {
	// Name of the realm, spelled as the KDC spells it: CORP.EXAMPLE.
	Name string `mapstructure:"name"`

	// User is how people of the realm log in; %u is the name before the @ of the
	// principal. Empty means %u. People of any directory but the first log in with
	// a suffix, as in %u@partner.example.
	User string `mapstructure:"user"`

	// Directory is the name of the directory that holds the people of the realm. A
	// ticket of the realm is refused for anybody else. It may be left out where
	// there is only one directory.
	Directory string `mapstructure:"directory"`
}

// Enabled reports whether Kerberos is to be used at all.
func (s *Settings) Enabled() bool { return s.Keytab != "" }

// Check reports what in s cannot be used, with the key and what would be right.
// directories are the names of those configured. Check does not read the keytab;
// Open does.
func (s *Settings) Check(directories ...string) []error {
	var wrong check.Mistakes
	// bob@CORP.EXAMPLE is not the bob of another directory.
	if s.Enabled() && len(s.Realms) == 0 && len(directories) > 1 {
		wrong = append(wrong, fmt.Errorf("realms: missing: there are %d directories, so each realm must name the directory of its people, as in [{name: CORP.EXAMPLE, directory: %s}]",
			len(directories), directories[0]))
	}
	wrong.If(!s.Enabled() && (s.Principal != "" || len(s.Realms) > 0 || s.RC4Tickets), "keytab: empty: it must name the file that holds the keys, such as /etc/berth/krb5.keytab")
	service, host, _ := strings.Cut(s.Principal, "/")
	wrong.If(s.Principal != "" && (service == "" || host == ""), "principal: %q: must be a service and a host, such as host/sftp.corp.example", s.Principal)
	seen := map[string]bool{}
	for i, r := range s.Realms {
		key := fmt.Sprintf("realms[%d]", i)
		wrong.If(r.Name == "" || strings.ContainsAny(r.Name, "@/\\ "), "%s.name: %q: must be a realm, such as CORP.EXAMPLE", key, r.Name)
		wrong.If(seen[r.Name], "%s.name: %q is in the list twice", key, r.Name)
		seen[r.Name] = true
		wrong.If(r.User != "" && (strings.Count(r.User, "%") != 1 || !strings.Contains(r.User, "%u")), "%s.user: %q: must hold %%u once, such as %%u@partner.example", key, r.User)
		wrong.If(len(directories) > 0 && !slices.Contains(directories, r.Directory) && (r.Directory != "" || len(directories) > 1), "%s.directory: %q: must be the name of a directory: %s", key, r.Directory, strings.Join(directories, ", "))
	}
	return wrong
}
