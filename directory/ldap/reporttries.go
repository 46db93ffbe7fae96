package ldap

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// advice says how to repair the cause of err, if that is known.
func advice(s *server, err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	why := ""
	switch ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET); {
	case errors.As(err, &authority):
		why = "ca_file must hold the certificate of the authority that signed that of the server"
	case errors.As(err, &host) && s.found:
		why = fmt.Sprintf("the certificate is for %s: give the server one for the name that DNS has", strings.Join(host.Certificate.DNSNames, ", "))
	case errors.As(err, &host):
		why = fmt.Sprintf("the certificate is for %s: write that name in urls, or set server_name", strings.Join(host.Certificate.DNSNames, ", "))
	case s.ldaps && (ended || errors.As(err, &record)):
		why = "the port does not speak TLS: write ldap:// and start_tls: true, or the port for ldaps, which is 636"
	case !s.ldaps && (ended || !answered(err) && strings.Contains(err.Error(), "EOF")): // go-ldap flattens it
		why = "the server ended the connection: if the port is one for TLS, write ldaps://"
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultStrongAuthRequired):
		why = "the server wants TLS: write ldaps://, or start_tls: true"
	case errors.Is(err, directory.ErrBadPassword):
		why = "bind_dn or its password is wrong, or the account is locked and the server does not say so"
	case errors.Is(err, directory.ErrLocked), errors.Is(err, directory.ErrDisabled), errors.Is(err, directory.ErrExpired), errors.Is(err, directory.ErrOutsideHours), errors.Is(err, directory.ErrWorkstation):
		why = "the password may be right, but the account of bind_dn is locked, disabled or expired: an administrator must change that"
	case errors.Is(err, directory.ErrPasswordExpired), errors.Is(err, directory.ErrMustChange):
		why = "give the account of bind_dn a new password, and one that does not expire"
	default:
		return ""
	}
	return "; " + why
}

// cure says how to remove the cause of err if that is a limit of the server.
func (r *reporter) cure(err error) string {
	if !ldap.IsErrorAnyOf(err, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultUnwillingToPerform) {
		return ""
	}
	s := r.c.settings
	limit := "raise the limits of the service account"
	switch s.Kind {
	case "389ds", "freeipa":
		limit = fmt.Sprintf("set nsLookThroughLimit, nsSizeLimit and nsTimeLimit in the entry of %s", s.account())
	case "openldap":
		limit = fmt.Sprintf("add limits dn.exact=%q size=unlimited time=unlimited", s.account())
	}
	indexed := strings.Join(slices.Concat(s.LoginAttributes, s.memberAttributes()), ", ")
	return fmt.Sprintf("; have the server index %s for equality, or %s", indexed, limit)
}

// slowLookup is how long a look-up takes if the server lacks an index.
const slowLookup = time.Second

// login looks people up as a login does: one of the entries, and a name that does
// not exist, because a server without an index reads all entries for that.
func (r *reporter) login(ctx context.Context, entries []entry) {
	names := []string{"nobody-" + strings.ToLower(rand.Text()[:8])}
	for _, e := range entries {
		if name := r.c.loginName(e); name != "" {
			names = append(names, name)
			break
		}
	}
	for i, name := range names {
		what := "look-up of " + name
		start := time.Now()
		_, err := r.c.Lookup(ctx, name)
		switch took := time.Since(start); {
		case i == 0 && errors.Is(err, directory.ErrNoUser):
		case i > 0 && errors.Is(err, directory.ErrNoUser):
			r.add(Bad, what, "%s is the name of this user (name_attribute), but login_attributes do not find it: add %s to login_attributes", name, r.c.settings.NameAttribute)
		case err != nil:
			r.add(Bad, what, "%v%s: logins are refused until then", err, r.cure(err))
		case took > slowLookup:
			r.add(Warning, what, "takes %v: have the server index %s for equality", took.Round(time.Millisecond), strings.Join(r.c.settings.LoginAttributes, ", "))
		case i > 0:
			r.add(OK, what, "works as for a login, in %v", took.Round(time.Millisecond))
		}
	}
}

// writes reports whether the service account may write what the settings need: keys,
// and passwords that have expired. e is a user.
func (r *reporter) writes(ctx context.Context, e entry) {
	s := r.c.settings
	keys, expired := s.KeyChange == keyChangeService, ""
	if s.PasswordChange == changeRFC3062 {
		expired = expiredChange[s.Kind]
	}
	if s.Kind == "embedded" || s.account() == "" || !keys && expired == "" {
		return
	}
	cn, err := r.c.pool.connect(ctx, r.c.asService())
	if err != nil {
		r.add(Bad, "service account", err.Error())
		return
	}
	defer cn.close()
	account := s.account()
	subject := account
	if s.Kind != "active_directory" {
		subject, err = r.c.accountDN(ctx)
	}
	var ask writeCheck
	if err == nil {
		ask, err = r.c.writeCheck(ctx, cn, subject, e)
	}
	if err != nil {
		r.add(Note, "service account", "could not check what %s may write: %v", account, err)
		return
	}
	if keys {
		var missing []string
		may, err := ask(ctx, e, s.KeyAttribute, "")
		if !may {
			missing = append(missing, s.KeyAttribute)
		}
		if may = s.KeyClass == none || contains(e.all("objectClass"), s.KeyClass); !may && err == nil {
			may, err = ask(ctx, e, "objectClass", s.KeyClass)
		}
		if !may {
			missing = append(missing, "objectClass")
		}
		switch {
		case err != nil:
			r.add(Note, "key change", "could not check whether %s may write %s: %v", account, s.KeyAttribute, err)
		case len(missing) > 0:
			r.add(Bad, "key change", "%s may not write %s of %q, but key_change is service: give it that right, or set key_change: none", account, strings.Join(missing, " and "), e.dn)
		default:
			r.add(OK, "key change", "%s may write %s: whoever has its password can give any user a key", account, s.KeyAttribute)
		}
	}
	if expired == "" {
		return
	}
	switch may, err := ask(ctx, e, "userPassword", ""); {
	case err != nil:
		r.add(Note, "expired passwords", "could not check whether %s may change them: %v", account, err)
	case may:
		r.add(OK, "expired passwords", "%s may change them for users who know the old one", s.BindDN)
	default:
		r.add(Warning, "expired passwords", "users cannot change them here: the server refuses their binds, and %s may not write userPassword: %s", account, expired)
	}
}

// Names returns all users with nothing but their names, DNs and ids.
func (c *Client) Names(ctx context.Context) ([]*directory.User, error) {
	if c.settings.BindAs != "" {
		return nil, directory.ErrNotListed
	}
	domains, err := c.domains(ctx)
	if err != nil {
		return nil, err
	}
	var users []*directory.User
	for _, d := range domains {
		entries, err := all(ctx, d.search, d.settings.Base, d.anyUser(), d.settings.NameAttribute, d.settings.IDAttribute)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := d.loginName(e); name != "" {
				users = append(users, &directory.User{Identity: d.identity(e), Name: name, DN: e.dn})
			}
		}
	}
	return users, nil
}

// describedNames finds the names in the description of an attribute (RFC 4512,
// section 4.1.2).
var describedNames = regexp.MustCompile(`\bNAME\s+(?:'([^']+)'|\(([^)]*)\))`)

// schema reports attributes of the settings that the server does not know.
func (r *reporter) schema(ctx context.Context) {
	s := r.c.settings
	root, _, err := read(ctx, r.c.search, "", "subschemaSubentry")
	if err != nil || root.first("subschemaSubentry") == "" {
		return
	}
	schema, _, err := read(ctx, r.c.search, root.first("subschemaSubentry"), "attributeTypes")
	known := map[string]string{}
	for _, description := range schema.all("attributeTypes") {
		for _, m := range describedNames.FindAllStringSubmatch(description, -1) {
			for name := range strings.FieldsSeq(strings.ReplaceAll(m[1]+m[2], "'", " ")) {
				known[strings.ToLower(name)] = name
			}
		}
	}
	if err != nil || len(known) == 0 {
		r.add(Note, "schema", "cannot be read, so misspelt attributes are not noticed")
		return
	}
	usual := kinds[s.Kind].defaults
	named := s.attributeNames()
	for _, key := range slices.Sorted(maps.Keys(named)) {
		what := key
		if key == "attributes" {
			what += ", or %{…} in rules"
		}
		for _, name := range named[key] {
			if name == none || known[strings.ToLower(name)] != "" || strings.Contains(name, ".") {
				continue
			}
			if name == cmp.Or(usual.KeyAttribute, common.KeyAttribute) && key == "key_attribute" {
				r.add(Warning, key, "the server has no attribute %s, so there are no logins with keys: add its schema, or set key_attribute: none", name)
				continue
			}
			hint := ""
			if close := closest(name, known); close != "" {
				hint = ": do you mean " + close + "?"
			}
			r.add(Bad, what, "the server has no attribute %s%s", name, hint)
		}
	}
}

// closest returns the known name that differs from name in one or two letters.
func closest(name string, known map[string]string) string {
	best, at := "", 3
	for _, lower := range slices.Sorted(maps.Keys(known)) {
		if d := slips(strings.ToLower(name), lower, at); d < at {
			best, at = known[lower], d
		}
	}
	return best
}

// slips returns how many letters must be added, removed or replaced to turn a into
// b, at most the number most.
func slips(a, b string, most int) int {
	switch {
	case a == "" || b == "" || most == 0:
		return min(len(a)+len(b), most)
	case a[0] == b[0]:
		return slips(a[1:], b[1:], most)
	}
	return min(most, 1+min(slips(a[1:], b, most-1), slips(a, b[1:], most-1), slips(a[1:], b[1:], most-1)))
}

// readable reports whether the service account may read the attributes of account
// state.
func (r *reporter) readable(ctx context.Context, e entry) {
	const what = "account state"
	if !r.c.mayHide() {
		return
	}
	hidden, err := r.c.hiddenNow(ctx, e.dn)
	if err != nil {
		r.add(Bad, what, err.Error())
		return
	}
	if len(hidden) > 0 {
		r.add(Bad, what, "%s of %q cannot be read: allow the service account to read it; until then nobody may log in, unless unreadable_state is allow",
			strings.Join(hidden, ", "), e.dn)
	}
	open := slices.DeleteFunc(r.c.stateAttributes(), func(a string) bool { return slices.Contains(hidden, a) })
	r.add(OK, what, "%s can be read", strings.Join(open, ", "))
}

// lockouts reports, for each password policy of a user, after how many wrong
// passwords an account is locked, and whether the shield stops before.
func (r *reporter) lockouts(ctx context.Context, entries []entry) {
	const what = "lock-out"
	c := r.c
	shield := c.settings.Shield.Threshold
	if shield < 0 {
		r.add(Warning, what, "the shield is off (shield.threshold: %d): guesses here can lock accounts", shield)
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		policy := e.first(psoAttribute) + e.first("pwdPolicySubentry")
		if seen[foldDN(policy)] {
			continue
		}
		seen[foldDN(policy)] = true
		whose := "the default policy"
		if policy != "" {
			whose = policy
		}
		n, window, err := c.Lockout(ctx, &directory.User{Name: c.loginName(e), DN: e.dn})
		switch {
		case err != nil && shield == 0:
			r.add(Warning, what, "%v: allow the service account to read it, or set shield.threshold; until then the shield assumes %d", err, directory.AssumedThreshold)
		case err != nil:
			r.add(Note, what, "%v: shield.threshold says %d", err, shield)
		case n > 0 && shield > n:
			r.add(Bad, what, "%d wrong passwords lock an account (%s), but shield.threshold says %d: leave it out", n, whose, shield)
		case n == 0:
			r.add(OK, what, "wrong passwords lock no account (%s)", whose)
		default:
			within := ""
			if window > 0 {
				within = fmt.Sprintf(" in %v", window)
			}
			r.add(OK, what, "%d wrong passwords%s lock an account (%s); the shield stops before", n, within, whose)
		}
	}
}
