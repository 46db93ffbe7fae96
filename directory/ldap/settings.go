package ldap

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Settings says where a directory is and how it is read. Only URLs and Base, or
// Domain, are needed; Kind fills in the rest, and every field can be set by hand.
type Settings struct {
	// Name of this directory in events, rules and other settings. Default: the
	// kind.
	Name string `mapstructure:"name"`

	// Kind of server, which decides the defaults in the table below:
	// active_directory (also Samba), openldap, freeipa, 389ds, generic or
	// embedded.
	Kind string `mapstructure:"kind"`

	// URLs of servers with the same content, in order of preference:
	// ldaps://host[:port], or ldap://host[:port] together with start_tls. The
	// others are used while the first does not answer.
	URLs []string `mapstructure:"urls"`

	// Domain is where DNS names the servers (RFC 2782), such as corp.example. They
	// are used after those in urls: by ldaps://, or on the port that DNS names with
	// start_tls. On Active Directory those in the site of this host come first.
	// A server outside the domain is used only with ca_file. See
	// docs/admin-guide.md.
	Domain string `mapstructure:"domain"`

	// GlobalCatalog finds the people of all domains of an Active Directory forest, by its
	// global catalogue (ports 3268 and 3269). Domain is then the one of the service account.
	// People and groups of other domains are called NAME@DOMAIN. See docs/admin-guide.md.
	GlobalCatalog bool `mapstructure:"global_catalog"`

	// ForeignGroups is the name of another directory, for a forest that trusts this one.
	// Its domain-local groups that hold people or groups of this directory, as foreign
	// security principals, count for them. They are called GROUP@DOMAIN.
	ForeignGroups string `mapstructure:"foreign_groups"`

	// Resolver is the address of a name server, such as 10.0.0.53 or
	// 10.0.0.53:5353, that is asked for the servers and their addresses. Default:
	// the name servers of the system.
	Resolver string `mapstructure:"resolver"`

	// StartTLS encrypts ldap:// connections before anything is sent (RFC 4511,
	// section 4.14).
	StartTLS bool `mapstructure:"start_tls"`

	// CAFile is a PEM file of the authorities that sign the servers' certificates.
	// New content applies to the next connection. Only its owner, root or the user
	// of the server, may change it. Default: the authorities of the system.
	CAFile string `mapstructure:"ca_file"`

	// ServerName is the name that the servers' certificates must contain. Default:
	// the host of the URL.
	ServerName string `mapstructure:"server_name"`

	// Insecure allows ldap:// without start_tls: passwords then cross the network
	// in the clear. Certificates are verified all the same where TLS is used.
	Insecure bool `mapstructure:"insecure"`

	// Base is the DN under which users are searched. Default: that of domain, such
	// as dc=corp,dc=example.
	Base string `mapstructure:"base"`

	// GroupBase is the DN under which groups are searched. Default: the domain
	// (the dc= parts) of base, or base itself if it has none.
	GroupBase string `mapstructure:"group_base"`

	// BindDN is the service account that searches: a DN, or on Active Directory
	// also name@domain. Default: anonymous.
	BindDN string `mapstructure:"bind_dn"`

	// BindPassword of the service account. Better: bind_password_file.
	BindPassword string `mapstructure:"bind_password"`

	// BindPasswordFile holds the password of the service account in its first
	// line. It is read for every new connection, so it can be changed while the
	// server runs. It must belong to root or the user of the server, and only its
	// owner and its group may read it.
	BindPasswordFile string `mapstructure:"bind_password_file"`

	// Bind is how the service account proves itself without a password, in place of
	// bind_dn.
	Bind Bind `mapstructure:"bind"`

	// BindAs is for sites without a service account: the name to bind as, with
	// %u for what the user typed, such as "%u@corp.example" or
	// "uid=%u,ou=people,dc=corp,dc=example". The user's own connection reads the
	// entry. So only logins with a password are possible, and open sessions do not
	// end when an account is disabled.
	BindAs string `mapstructure:"bind_as"`

	// UserFilter selects the entries that are users, such as
	// "(objectClass=person)"; the login attributes are added to it. A filter that
	// contains %u, the typed name, is used as it is.
	UserFilter string `mapstructure:"user_filter"`

	// LoginAttributes are the attributes that a typed name may match, such as uid
	// and mail. Each needs an index in the directory.
	LoginAttributes []string `mapstructure:"login_attributes"`

	// Domains are the names that users may type before a backslash, as in
	// CORP\alice. The short name of an Active Directory domain need not be listed.
	Domains []string `mapstructure:"domains"`

	// NameAttribute holds the user's one login name.
	NameAttribute string `mapstructure:"name_attribute"`

	// IDAttribute holds an id that stays the same when a user is renamed. Users without
	// it cannot log in.
	IDAttribute string `mapstructure:"id_attribute"`

	// KeyAttribute holds SSH public keys; "none" switches key logins off.
	KeyAttribute string `mapstructure:"key_attribute"`

	// KeyPrefix is the beginning of those values of key_attribute that are keys,
	// such as "SSHKey:" in altSecurityIdentities.
	KeyPrefix string `mapstructure:"key_prefix"`

	// TOTPAttribute holds secrets of one-time codes (RFC 6238), in base32 or as
	// otpauth:// URIs. Only the service account should be able to read it.
	// Default: none.
	TOTPAttribute string `mapstructure:"totp_attribute"`

	// Attributes are further attributes of the user that rules need, for
	// %{attribute}.
	Attributes []string `mapstructure:"attributes"`

	// GroupWalk is how groups are found: token_groups (Active Directory),
	// member_of (the user's memberOf holds nested ones too), or walk (search for
	// the groups that hold the user, then those that hold these).
	GroupWalk string `mapstructure:"group_walk"`

	// GroupNameAttribute holds the plain name of a group.
	GroupNameAttribute string `mapstructure:"group_name_attribute"`

	// MemberAttributes of a group hold DNs of members.
	MemberAttributes []string `mapstructure:"member_attributes"`

	// MemberUIDAttribute of a group holds login names of members; "none" if not
	// used.
	MemberUIDAttribute string `mapstructure:"member_uid_attribute"`

	// StateRequired are attributes that every user has. If one cannot be read, the
	// state of the account is unknown and the login is refused.
	StateRequired []string `mapstructure:"state_required"`

	// UnreadableState says whether a user whose account state cannot be read may
	// log in: refuse or allow. The parts of the state that can be read still count.
	UnreadableState string `mapstructure:"unreadable_state"`

	// UIDAttribute holds the number of the user on a disk, for folders with owner:
	// person.
	UIDAttribute string `mapstructure:"uid_attribute"`

	// GIDAttribute holds the number of the user's primary group, and of a group.
	GIDAttribute string `mapstructure:"gid_attribute"`

	// IDMapping says where these numbers come from: attributes, or sid for an Active
	// Directory without them. They are then the ones that SSSD makes of the SIDs with
	// its defaults.
	IDMapping string `mapstructure:"id_mapping"`

	// MinUID is the smallest number of a user that is accepted for folders with
	// owner: person. Smaller ones belong to the system. 0 permits all but root.
	MinUID int `mapstructure:"min_uid"`

	// PasswordPolicy is the DN of the default password policy entry (OpenLDAP),
	// for users without one of their own. Default: the only pwdPolicy entry
	// below group_base, or the one with cn=default; otherwise the strictest of
	// all policies applies.
	PasswordPolicy string `mapstructure:"password_policy"`

	// PasswordChange is how a password is changed: rfc3062 (extended operation),
	// unicode_pwd (Active Directory) or none.
	PasswordChange string `mapstructure:"password_change"`

	// KeyChange says who adds and removes SSH keys when a user calls "ssh HOST keys
	// add" or "keys remove": service (the service account, which must be allowed to
	// write key_attribute, and objectClass where entries lack key_class) or none.
	// A rule must also list the service "keys".
	KeyChange string `mapstructure:"key_change"`

	// KeyClass is the auxiliary object class that an entry needs to hold keys. It
	// is added together with the first key; "none" if there is no such class.
	KeyClass string `mapstructure:"key_class"`

	// MaxKeys is how many keys an entry may hold for a user to add one more.
	MaxKeys int `mapstructure:"max_keys"`

	// WarnDays is how many days before a password expires its user is warned.
	WarnDays int `mapstructure:"warn_days"`

	// ConnectTimeout bounds dialling, TLS and the bind of the service account
	// together.
	ConnectTimeout time.Duration `mapstructure:"connect_timeout"`

	// RequestTimeout bounds each request.
	RequestTimeout time.Duration `mapstructure:"request_timeout"`

	// ProbeEvery is how often a failed server is tried until it answers again.
	ProbeEvery time.Duration `mapstructure:"probe_every"`

	// PoolSize is how many connections searches may use at once.
	PoolSize int `mapstructure:"pool_size"`

	// Cache is how long a user, or the groups that contain a group, are used again
	// after they were read; 0 asks the server each time.
	Cache time.Duration `mapstructure:"cache"`

	// Outage says what works while no server answers.
	Outage Outage `mapstructure:"outage"`

	// Shield prevents wrong passwords here from locking accounts in the directory.
	Shield Shield `mapstructure:"shield"`

	// Suffixes are the domains of this directory's users when there are several
	// directories: "corp" makes it the owner of alice@corp and CORP\alice.
	Suffixes []string `mapstructure:"suffixes"`

	// LDIF is the file with the people, for the kind embedded only.
	LDIF string `mapstructure:"ldif"`
}

// Bind is how the service account proves itself without a password: by a Kerberos
// ticket (RFC 4752) or by a certificate (RFC 4422, appendix A).
type Bind struct {
	// Keytab holds the keys of the service account. Tickets are renewed before they
	// end, and a new keytab applies at once. The KDCs are those that DNS names
	// (_kerberos._tcp). Inside TLS, tickets are bound to the server's certificate. It
	// must belong to root or the user of the server, and only its owner and its
	// group may read it.
	Keytab string `mapstructure:"keytab"`

	// Principal is the account in the keytab, such as svc-berth@CORP.EXAMPLE or
	// HOST$@CORP.EXAMPLE. Default: the account of the machine, or else the first in
	// the keytab.
	Principal string `mapstructure:"principal"`

	// Seal encrypts the connections of the service account by Kerberos, on port 389,
	// in place of TLS. Samba before 4.21 refuses tickets inside TLS. Users' binds still
	// use TLS.
	Seal bool `mapstructure:"seal"`

	// Certificate is a PEM file with the certificate of the service account, for the
	// mechanism EXTERNAL (OpenLDAP, 389 DS).
	Certificate string `mapstructure:"certificate"`

	// Key is the PEM file with the private key of certificate. It must belong to root
	// or the user of the server, and only its owner and its group may read it. New
	// content of both files applies to the next connection.
	Key string `mapstructure:"key"`
}

// Outage says what works while no server answers.
type Outage struct {
	// Keep is how long a user can log in with a key after the last look-up that a
	// server answered, such as 4h; 0 refuses such logins.
	Keep time.Duration `mapstructure:"keep"`
}

// Shield prevents wrong passwords here from locking accounts in the directory.
type Shield struct {
	// Threshold is the number of wrong passwords after which the directory locks an
	// account; the shield allows one less. 0 reads it from the directory, or
	// assumes 3 if that cannot be read; -1 switches the shield off.
	Threshold int `mapstructure:"threshold"`

	// Window is how long the directory remembers a wrong password. 0 reads it
	// from the directory.
	Window time.Duration `mapstructure:"window"`
}

// Ways of finding groups and of changing a password.
const (
	walkTokenGroups = "token_groups"
	walkMemberOf    = "member_of"
	walkMembers     = "walk"

	changeRFC3062    = "rfc3062"
	changeUnicodePwd = "unicode_pwd"

	keyChangeService = "service"

	mapSID = "sid"

	none = "none"
)

// common are the defaults that all kinds share.
var common = Settings{
	Kind:               "generic",
	LoginAttributes:    []string{"uid"},
	NameAttribute:      "uid",
	IDAttribute:        "entryUUID",
	KeyAttribute:       "sshPublicKey",
	GroupWalk:          walkMembers,
	GroupNameAttribute: "cn",
	MemberAttributes:   []string{"member", "uniqueMember"},
	MemberUIDAttribute: "memberUid",
	UserFilter:         "(|(objectClass=person)(objectClass=posixAccount))",
	UnreadableState:    "refuse",
	UIDAttribute:       "uidNumber",
	GIDAttribute:       "gidNumber",
	IDMapping:          "attributes",
	MinUID:             1000,
	PasswordChange:     changeRFC3062,
	KeyChange:          none,
	KeyClass:           "ldapPublicKey",
	MaxKeys:            20,
	WarnDays:           14,
	ConnectTimeout:     5 * time.Second,
	RequestTimeout:     5 * time.Second,
	ProbeEvery:         2 * time.Second,
	PoolSize:           8,
}

// DefaultSettings returns the defaults that do not depend on the kind; those
// that do are filled in by Open.
func DefaultSettings() Settings {
	return Settings{
		MinUID:         common.MinUID,
		MaxKeys:        common.MaxKeys,
		WarnDays:       common.WarnDays,
		ConnectTimeout: common.ConnectTimeout,
		RequestTimeout: common.RequestTimeout,
		ProbeEvery:     common.ProbeEvery,
		PoolSize:       common.PoolSize,
		Cache:          15 * time.Second,
	}
}

// Complete returns s with every empty field filled in from its kind.
func (s Settings) Complete() Settings {
	s.Kind = cmp.Or(s.Kind, common.Kind)
	if s.KeyAttribute == "" {
		// The prefix belongs to the default attribute. Others contain only keys.
		s.KeyPrefix = cmp.Or(s.KeyPrefix, kinds[s.Kind].defaults.KeyPrefix)
	}
	for _, d := range []Settings{kinds[s.Kind].defaults, common} {
		d.KeyPrefix, d.WarnDays, d.MinUID = "", 0, 0 // 0 is a choice, for which DefaultSettings has the default
		set, def := reflect.ValueOf(&s).Elem(), reflect.ValueOf(d)
		for i := range set.NumField() {
			if f := set.Field(i); f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
				f.Set(def.Field(i))
			}
		}
	}
	s.Name = cmp.Or(s.Name, s.Kind)
	if s.Base == "" && s.Domain != "" {
		s.Base = "dc=" + strings.ReplaceAll(s.Domain, ".", ",dc=")
	}
	s.GroupBase = cmp.Or(s.GroupBase, domainOf(s.Base))
	return s
}

// Check returns every mistake in s, joined, or nil. Each mistake has the key, the
// value and what would be right. Check reads the files that s names, and asks no
// server.
func (s Settings) Check() error {
	var bad mistakes
	if _, ok := kinds[s.Kind]; s.Kind != "" && !ok {
		bad.add("kind", "%q: must be one of %s", s.Kind, strings.Join(Kinds(), ", "))
		return errors.Join(bad...) // the other checks depend on the kind
	}
	base := s.Base + s.GroupBase
	s = s.Complete()
	if s.GlobalCatalog {
		s.checkForest(base, &bad)
	}
	s.checkServers(&bad)
	bad.addIf(s.Base == "", "base", "missing: must be the DN under which users are found, such as dc=corp,dc=example")
	for key, dn := range map[string]string{"base": s.Base, "group_base": s.GroupBase, "password_policy": s.PasswordPolicy} {
		_, err := directory.ParseDN(dn)
		bad.addIf(err != nil, key, "%q: must be a DN such as dc=corp,dc=example", dn)
	}
	s.checkAccount(&bad)
	s.checkBind(&bad)
	_, err := ldap.CompileFilter(strings.ReplaceAll(s.UserFilter, "%u", "name"))
	bad.addIf(err != nil, "user_filter", "%q: must be an LDAP filter such as (objectClass=person): %w", s.UserFilter, err)
	bad.addIf(!attributeName.MatchString(s.KeyClass), "key_class", "%q: must be the name of an object class", s.KeyClass)
	for key, names := range s.attributeNames() {
		for _, name := range names {
			switch {
			case !attributeName.MatchString(name):
				bad.add(key, "%q: must be the name of an attribute", name)
			case secret[strings.ToLower(name)]:
				bad.add(key, "%q: must not be an attribute that holds passwords", name)
			case key != "totp_attribute" && strings.EqualFold(name, s.TOTPAttribute):
				bad.add(key, "%q: holds secrets of one-time codes (totp_attribute), which must not be shown", name)
			}
		}
	}
	for _, c := range []struct {
		key, value string
		allowed    []string
	}{
		{"group_walk", s.GroupWalk, []string{walkTokenGroups, walkMemberOf, walkMembers}},
		{"id_mapping", s.IDMapping, []string{common.IDMapping, mapSID}},
		{"unreadable_state", s.UnreadableState, []string{"refuse", "allow"}},
		{"password_change", s.PasswordChange, []string{changeRFC3062, changeUnicodePwd, none}},
		{"key_change", s.KeyChange, []string{keyChangeService, none}},
	} {
		bad.addIf(!slices.Contains(c.allowed, c.value), c.key, "%q: must be one of %s", c.value, strings.Join(c.allowed, ", "))
	}
	bad.addIf(s.IDMapping == mapSID && s.GroupWalk != walkTokenGroups, "id_mapping", "%q: is for Active Directory, with group_walk: token_groups", s.IDMapping)
	switch {
	case s.KeyChange != keyChangeService:
	case s.KeyAttribute == none:
		bad.add("key_change", "%q: needs a key_attribute to write to", s.KeyChange)
	case s.account() == "" && s.Kind != "embedded":
		bad.add("key_change", "%q: needs a service account: bind_dn or bind", s.KeyChange)
	}
	for key, v := range map[string]time.Duration{
		"cache": s.Cache, "outage.keep": s.Outage.Keep, "shield.window": s.Shield.Window,
		"connect_timeout": s.ConnectTimeout, "request_timeout": s.RequestTimeout, "probe_every": s.ProbeEvery,
	} {
		bad.addIf(v < 0, key, "%v: must not be negative", v)
	}
	bad.addIf(s.PoolSize < 1 || s.PoolSize > 1000, "pool_size", "%d: must be 1 to 1000", s.PoolSize)
	bad.addIf(s.MaxKeys < 1 || s.MaxKeys > directory.MaxKeys, "max_keys", "%d: must be 1 to %d", s.MaxKeys, directory.MaxKeys)
	bad.addIf(s.MinUID < 0, "min_uid", "%d: must not be negative", s.MinUID)
	bad.addIf(s.WarnDays < 0, "warn_days", "%d: must not be negative", s.WarnDays)
	bad.addIf(s.Shield.Threshold < -1, "shield.threshold", "%d: must be -1 (off), 0 (as the directory says) or a number", s.Shield.Threshold)
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(bad...)
}

// mistakes are what is wrong with settings.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	*m = append(*m, fmt.Errorf(key+": "+format, args...))
}

func (m *mistakes) addIf(wrong bool, key, format string, args ...any) {
	if wrong {
		m.add(key, format, args...)
	}
}

// checkForest reports which settings cannot be used together with global_catalog. base is
// the base and the group_base as written in the configuration.
func (s Settings) checkForest(base string, bad *mistakes) {
	const key = "global_catalog"
	_, err := directory.ParseDN(s.BindDN)
	bad.addIf(s.Kind != "active_directory", key, "is for the kind active_directory")
	bad.addIf(s.Domain == "", key, "needs domain, the one of the service account: DNS names the servers of all domains")
	bad.addIf(len(s.URLs) > 0, key, "must not be set together with urls: DNS names the servers")
	bad.addIf(base != "", key, "must not be set together with base or group_base: people and groups of the whole forest count; user_filter selects people")
	bad.addIf(s.account() == "", key, "needs a service account: bind or bind_dn")
	bad.addIf(s.BindDN != "" && err == nil, key, "needs a bind_dn that every domain knows, such as berth@%s: a DN is known in its own domain only", s.Domain)
	bad.addIf(strings.Contains(s.UserFilter, "%u"), key, "needs a user_filter without %%u")
	bad.addIf(s.GroupWalk != walkTokenGroups, key, "needs group_walk: token_groups")
}

// checkServers reports mistakes in where the servers are.
func (s Settings) checkServers(bad *mistakes) {
	bad.addIf(len(s.URLs) == 0 && s.Domain == "" && s.Kind != "embedded", "urls", "missing: must name at least one server, such as ldaps://dc1.corp.example; or set domain")
	bad.addIf(s.Domain != "" && !domainName.MatchString(s.Domain), "domain", "%q: must be the name of a domain in DNS, such as corp.example", s.Domain)
	_, addrErr := netip.ParseAddr(s.Resolver)
	_, portErr := netip.ParseAddrPort(s.Resolver)
	bad.addIf(s.Resolver != "" && addrErr != nil && portErr != nil, "resolver", "%q: must be the IP address of a name server, such as 10.0.0.53 or 10.0.0.53:5353", s.Resolver)
	for _, raw := range s.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Hostname() == "" || (u.Scheme != "ldap" && u.Scheme != "ldaps"):
			bad.add("urls", "%q: must be ldaps://host[:port] or ldap://host[:port]", raw)
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "":
			bad.add("urls", "%q: must hold a host and a port only; base, filter and bind_dn have keys of their own", raw)
		case u.Scheme == "ldaps" && s.StartTLS:
			bad.add("urls", "%q: start_tls is for ldap:// only, ldaps:// is encrypted from the start", raw)
		case u.Scheme == "ldap" && !s.StartTLS && !s.Insecure:
			bad.add("urls", "%q: would send passwords in the clear: use ldaps:// or start_tls: true (if neither is possible, insecure: true)", raw)
		}
	}
	_, err := s.authorities().Current()
	bad.addIf(s.CAFile != "" && err != nil, "ca_file", "%s: %w", s.CAFile, err)
}

// checkAccount reports mistakes in bind_dn, its password and bind_as.
func (s Settings) checkAccount(bad *mistakes) {
	bad.addIf(s.BindPassword != "" && s.BindPasswordFile != "", "bind_password", "must not be set together with bind_password_file")
	bad.addIf(s.account() != "" && s.BindAs != "", "bind_as", "%q: is for sites without a service account; must not be set together with bind_dn or bind", s.BindAs)
	bad.addIf(s.BindAs != "" && !strings.Contains(s.BindAs, "%u"), "bind_as", `%q: must hold %%u for the name of the user, as in "%%u@corp.example"`, s.BindAs)
	if s.BindDN == "" {
		return
	}
	_, err := directory.ParseDN(s.BindDN)
	switch byDN := slices.Contains([]string{"openldap", "389ds", "freeipa"}, s.Kind); {
	case err != nil && byDN:
		bad.add("bind_dn", "%q: must be a DN, such as cn=berth,ou=services,dc=corp,dc=example", s.BindDN)
	case err != nil && !strings.ContainsAny(s.BindDN, `@\`):
		bad.add("bind_dn", `%q: must be a DN, name@domain or DOMAIN\name`, s.BindDN)
	}
	password, err := s.BindPassword, error(nil)
	if s.BindPasswordFile != "" {
		password, err = s.passwordFile().Current()
	}
	bad.addIf(err != nil, "bind_password_file", "%s: %w", s.BindPasswordFile, err)
	bad.addIf(err == nil && password == "", "bind_password", "missing for bind_dn %q: must be set here or in bind_password_file", s.BindDN)
}

// attributeName is RFC 4512, section 2.5: a name or an OID.
var attributeName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)$`)

// domainName is RFC 1123, section 2.1, with the underscore that Windows allows. A
// number at the end would be an IP address.
var domainName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// attributeNames returns the settings that name attributes.
func (s Settings) attributeNames() map[string][]string {
	return map[string][]string{
		"name_attribute":       {s.NameAttribute},
		"id_attribute":         {s.IDAttribute},
		"key_attribute":        {s.KeyAttribute},
		"totp_attribute":       {cmp.Or(s.TOTPAttribute, none)},
		"uid_attribute":        {s.UIDAttribute},
		"gid_attribute":        {s.GIDAttribute},
		"group_name_attribute": {s.GroupNameAttribute},
		"member_uid_attribute": {s.MemberUIDAttribute},
		"login_attributes":     s.LoginAttributes,
		"member_attributes":    s.MemberAttributes,
		"attributes":           s.Attributes,
		"state_required":       s.StateRequired,
	}
}

// memberAttributes returns the attributes of a group that hold members.
func (s Settings) memberAttributes() []string {
	all := append(slices.Clone(s.MemberAttributes), s.MemberUIDAttribute)
	return slices.DeleteFunc(all, func(a string) bool { return a == none })
}

// secret attributes are never read.
var secret = map[string]bool{"userpassword": true, "unicodepwd": true, "sambantpassword": true, "krbprincipalkey": true, "ipanthash": true}

// domainOf returns the dc= parts at the end of dn, or dn if there are none.
func domainOf(dn string) string {
	domain := directory.DN{}
	for d := directory.DNOf(dn); !d.IsZero(); d = d.Parent() {
		switch dc := strings.HasPrefix(d.Key(), "dc="); {
		case !dc:
			domain = directory.DN{}
		case domain.IsZero():
			domain = d
		}
	}
	return cmp.Or(domain.String(), dn)
}
