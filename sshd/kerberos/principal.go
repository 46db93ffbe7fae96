package kerberos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape keeps separators inside a component apart from those between them, as
// krb5_unparse_name does.
var escape = strings.NewReplacer(`\`, `\\`, `/`, `\/`, `@`, `\@`)

// principal writes a name and its realm as alice@CORP.EXAMPLE.
func principal(components []string, realm string) string {
	escaped := make([]string, len(components))
	for i, c := range components {
		escaped[i] = escape.Replace(c)
	}
	return strings.Join(escaped, "/") + "@" + realm
}

// User returns the login name for a principal that an Acceptor proved, alice for
// alice@CORP.EXAMPLE, and the name of the directory that holds that person. The
// caller must compare both with the user who logs in: an alice of another
// directory is another person. Realms that are not accepted are refused, and so
// are principals with an instance: alice/admin and host/… are not alice.
func (k *Keytab) User(principal string) (name, directory string, err error) {
	at := strings.LastIndexByte(principal, '@')
	if at < 0 {
		return "", "", fmt.Errorf("%w: %.200q has no realm", ErrNotAPerson, principal)
	}
	name, realm := principal[:at], principal[at+1:]
	realms := k.realms()
	i := slices.IndexFunc(realms, func(r Realm) bool { return r.Name == realm })
	if i < 0 {
		var accepted []string
		for _, r := range realms {
			accepted = append(accepted, r.Name)
		}
		return "", "", fmt.Errorf("%w: %.200q is not of %s", ErrForeignRealm, principal, list(accepted))
	}
	if name == "" || strings.ContainsAny(name, `/@\`) || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", "", fmt.Errorf("%w: %.200q", ErrNotAPerson, principal)
	}
	r := realms[i]
	return strings.Replace(cmp.Or(r.User, "%u"), "%u", name, 1), cmp.Or(r.Directory, k.only), nil
}

// realms are those whose people may log in.
func (k *Keytab) realms() []Realm {
	if len(k.settings.Realms) > 0 {
		return k.settings.Realms
	}
	var own []Realm
	for _, key := range k.current() {
		if r := (Realm{Name: key.realm}); !slices.Contains(own, r) {
			own = append(own, r)
		}
	}
	return own
}
