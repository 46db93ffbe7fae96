package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Level says how bad a Finding is.
type Level int

// The levels of a Finding.
const (
	OK      Level = iota // as it should be
	Warning              // works, but needs attention
	Bad                  // does not work, or lets in people who should be refused
	Note                 // could not be checked
)

func (l Level) String() string { return [...]string{"ok", "warning", "bad", "note"}[l] }

// A Finding is one result of Report.
type Finding struct {
	Level  Level
	What   string // "certificate of ldaps://dc1"
	Detail string // "31 days left"
}

// Bounds on what Report warns of.
const (
	soonDays = 30
	maxSkew  = 30 * time.Second
	sample   = 1000 // entries counted, not more
)

// Report tries everything that logins need and returns what it found. It tries each
// server with its certificate and clock, whether the servers are replicas of each
// other, the service account, the base, the users and groups and which attributes of them can be read, what the service account may
// write, and a look-up as for a login. groups are the names that rules use; strict
// are those of them in rules that deny or require something. Groups that cannot be
// seen are reported. Report changes nothing and does not bind as a user.
func (c *Client) Report(ctx context.Context, groups []string, strict ...string) []Finding {
	r := reporter{c: c}
	servers, err := c.pool.listed(ctx)
	r.domain(err)
	for _, s := range servers {
		r.server(ctx, s)
	}
	if !r.reached {
		return r.findings
	}
	if c.settings.BindAs != "" {
		r.add(Warning, "service account", "none: only logins by password are possible, and no more can be tried here")
		return r.findings
	}
	names := []string{c.settings.Base}
	if dn, err := c.accountDN(ctx); err == nil && directory.DNOf(dn).Within(directory.DNOf(c.settings.Base)) {
		names = append(names, dn)
	}
	r.replicas(ctx, names...)
	if err := c.Ping(ctx); err != nil {
		right := r.cure(err)
		if right == "" && len(r.contexts) > 0 {
			right = fmt.Sprintf("; the server has %s: base must be one of these or below", strings.Join(r.contexts, " and "))
		}
		r.add(Bad, "base "+c.settings.Base, "%v%s", err, right)
		return r.findings
	}
	r.add(OK, "base "+c.settings.Base, "can be read")
	r.schema(ctx)
	r.users(ctx)
	r.groups(ctx, groups, strict)
	r.policies(ctx)
	if c.forest != nil {
		r.findings = append(r.findings, c.forest.report(ctx)...)
	}
	return r.findings
}

type reporter struct {
	c        *Client
	findings []Finding
	reached  bool     // a server has accepted the bind of the service account
	contexts []string // of the last server, below which it has entries
}

func (r *reporter) add(l Level, what, format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	r.findings = append(r.findings, Finding{l, what, format})
}

// domain reports what DNS says about the servers; err is why it could not be asked.
func (r *reporter) domain(err error) {
	p := r.c.pool
	if p.locator == nil {
		return
	}
	what := "domain " + r.c.settings.Domain
	if err != nil {
		r.add(Bad, what, err.Error())
		return
	}
	p.mu.Lock()
	last := p.locator.last
	p.mu.Unlock()
	in := ""
	if last.site != "" {
		in = fmt.Sprintf(", %d of them in the site %s of this host", last.near, last.site)
	}
	r.add(OK, what, "servers in DNS (%s): %d%s; asked again after %v", p.locator.serviceName(""), len(last.urls), in, last.valid)
	for _, note := range last.notes {
		r.add(Warning, what, note)
	}
}

// server connects to one server, whatever its health.
func (r *reporter) server(ctx context.Context, s *server) {
	pool, limit := r.c.pool, r.c.settings.ConnectTimeout
	user, err := pool.connectTo(ctx, s, limit, asNobody())
	var cn *conn
	start := time.Now()
	if err == nil {
		r.certificate(s, user.tls)
		user.close()
		if cn, err = pool.connectTo(ctx, s, limit, r.c.asService()); err == nil {
			defer cn.close()
		}
		if password, _ := r.c.bindPassword(); strings.TrimSpace(password) != password {
			r.add(Warning, "service account", "its password begins or ends with a blank, which is part of the password: remove the blank if it is not meant to be there")
		}
	}
	if err != nil {
		r.add(Bad, "server "+s.url, "%v%s", err, advice(s, err))
		return
	}
	r.reached = true
	bound := "anonymous"
	if account := r.c.settings.account(); account != "" {
		bound = "bound as " + account
	}
	r.add(OK, "server "+s.url, "%s in %v", bound, time.Since(start).Round(time.Millisecond))
	r.root(ctx, s, cn)
}

// certificate reports how long the chain is valid. The connection has verified that
// it is valid now.
func (r *reporter) certificate(s *server, state *tls.ConnectionState) {
	what := "certificate of " + s.url
	switch {
	case r.c.settings.Kind == "embedded": // in this process
		return
	case state == nil:
		r.add(Warning, "server "+s.url, "connection is not encrypted: passwords cross the network in the clear")
		return
	}
	var names []string
	var end time.Time
	for _, cert := range state.VerifiedChains[0] {
		names = append(names, cert.Subject.String())
		end = directory.Earlier(end, cert.NotAfter)
	}
	days := int(end.Sub(r.c.now()).Hours() / 24)
	level := OK
	if days < soonDays {
		level = Warning
	}
	r.add(level, what, "%s; %d days left, until %s; %s", strings.Join(names, " < "), days, end.UTC().Format(time.DateOnly), tls.VersionName(state.Version))
}

// changeWays are the values in the root DSE of servers that support each way of
// changing a password.
var changeWays = map[string]struct{ attribute, value string }{
	changeRFC3062:    {"supportedExtension", passwordModifyName},
	changeUnicodePwd: {"supportedCapabilities", capabilityAD},
}

// A brand is an attribute in the root DSE that shows the kind of a server. The
// settings may also name one of the kinds in others, which read the same attributes
// of its accounts.
type brand struct {
	kind, attribute, value string
	others                 []string
}

// brands are tried in this order.
var brands = []brand{
	{"active_directory", "supportedCapabilities", capabilityAD, nil},
	{"freeipa", "ipaTopologyPluginVersion", "", nil},
	{"389ds", "vendorName", "389 Project", []string{"freeipa", "generic"}},
	{"openldap", "objectClass", "OpenLDAProotDSE", []string{"generic"}},
}

// rootAttributes are those that show the brand.
var rootAttributes = []string{"supportedCapabilities", "objectClass", "vendorName", "ipaTopologyPluginVersion"}

// brandOf returns the brand of a server by its root DSE.
func brandOf(root entry) (b brand, known bool) {
	for _, b := range brands {
		if root.has(b.attribute) && (b.value == "" || contains(root.all(b.attribute), b.value)) {
			return b, true
		}
	}
	return brand{}, false
}

func (r *reporter) root(ctx context.Context, s *server, cn *conn) {
	root, _, err := read(ctx, r.c.searchOn(cn), "", slices.Concat(rootAttributes, controllerAttributes, []string{"supportedExtension", "namingContexts"})...)
	if err != nil {
		r.add(Bad, "server "+s.url, err.Error())
		return
	}
	r.contexts = root.all("namingContexts")
	// With another kind logins would mostly work, but account state would be read from
	// attributes that the server lacks.
	kind := r.c.settings.Kind
	if b, known := brandOf(root); known && kind != b.kind && !slices.Contains(b.others, kind) {
		r.add(Bad, "server "+s.url, "is %[1]s, but kind is %[2]s: must be %[1]s, or disabled, locked and expired accounts can log in with keys", b.kind, kind)
	}
	r.controller(s, root)
	if way, ok := changeWays[r.c.settings.PasswordChange]; ok {
		what := "password change on " + s.url
		switch listed := contains(root.all(way.attribute), way.value); {
		case !listed:
			r.add(Bad, what, "password_change is %s, but the server does not list %s", r.c.settings.PasswordChange, way.value)
		case !cn.private() && r.c.settings.PasswordChange == changeUnicodePwd:
			r.add(Bad, what, "needs ldaps:// or start_tls")
		default:
			r.add(OK, what, "possible by %s", r.c.settings.PasswordChange)
		}
	} else {
		r.add(OK, "password change on "+s.url, "switched off: password_change is none")
	}
	if r.c.settings.Kind == "embedded" {
		return // its clock is ours
	}
	now, err := r.serverTime(ctx, cn)
	if err != nil {
		r.add(Note, "clock of "+s.url, "%v", err)
		return
	}
	r.clock(s, now)
}

// controllerAttributes are those in the root DSE that show the site and the
// functional levels of a domain controller.
var controllerAttributes = []string{"serverName", "domainControllerFunctionality", "domainFunctionality", "forestFunctionality"}

// levels are the functional levels of Active Directory ([MS-ADTS] 3.1.1.3.2.25).
var levels = map[string]string{
	"0": "2000", "1": "2003 interim", "2": "2003", "3": "2008", "4": "2008 R2", "5": "2012", "6": "2012 R2", "7": "2016", "10": "2025",
}

// controller reports where a domain controller is and what it can do.
func (r *reporter) controller(s *server, root entry) {
	if !root.has("serverName") {
		return
	}
	// CN=DC1,CN=Servers,CN=Berlin,CN=Sites,CN=Configuration,…
	site := directory.DNOf(root.first("serverName")).Parent().Parent()
	level := func(of string) string {
		value := root.first(of + "Functionality")
		return cmp.Or(levels[value], value, "unknown")
	}
	r.add(OK, "controller "+s.url, "site %s; functional level %s, of the domain %s, of the forest %s",
		cmp.Or(ownName(site, "cn"), "unknown"), level("domainController"), level("domain"), level("forest"))
}

// clocks are where servers show the time: Active Directory, 389 DS, OpenLDAP
// with its monitor.
var clocks = []struct{ dn, attribute string }{
	{"", "currentTime"},
	{"cn=monitor", "currentTime"},
	{"cn=Current,cn=Time,cn=Monitor", "monitorTimestamp"},
}

func (r *reporter) serverTime(ctx context.Context, cn *conn) (time.Time, error) {
	for _, at := range clocks {
		e, found, err := read(ctx, r.c.searchOn(cn), at.dn, at.attribute)
		if err == nil && found && e.has(at.attribute) {
			return directory.ParseTime(e.first(at.attribute))
		}
	}
	return time.Time{}, errors.New("the server does not show the time (OpenLDAP shows it in its monitor database)")
}

func contains(values []string, value string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, value) })
}

func (r *reporter) clock(s *server, now time.Time) {
	skew := r.c.now().Sub(now).Round(time.Second).Abs()
	what := "clock of " + s.url
	if skew > maxSkew {
		r.add(Warning, what, "differs by %v from here: ends of accounts and passwords are compared with the clock here", skew)
		return
	}
	r.add(OK, what, "differs by %v from here", skew)
}

// users reads up to sample users as a look-up would.
func (r *reporter) users(ctx context.Context) {
	c := r.c
	filter := c.anyUser()
	entries, more, err := upTo(ctx, c.search, c.settings.Base, filter, sample, append(c.userAttributes(), psoAttribute, "objectClass")...)
	if err != nil {
		r.add(Bad, "users", "%v%s", err, r.cure(err))
		r.login(ctx, nil)
		return
	}
	r.login(ctx, entries)
	if len(entries) == 0 {
		r.add(Bad, "users", "none below %q match %s", c.settings.Base, filter)
		return
	}
	r.writes(ctx, entries[0])
	r.add(OK, "users", "%s found", count(len(entries), more))
	r.attribute(entries, "login name", c.settings.NameAttribute, Bad)
	r.attribute(entries, "stable id", c.settings.IDAttribute, Bad)
	for _, name := range c.settings.StateRequired {
		r.attribute(entries, "account state", name, Bad)
	}
	if c.kind.ppolicy {
		r.attribute(entries, "account state", "pwdChangedTime", Warning)
	}
	r.readable(ctx, entries[0])
	r.lockouts(ctx, entries)
	for _, name := range c.settings.Attributes {
		r.attribute(entries, "attribute for rules", name, Warning)
	}
	if c.settings.TOTPAttribute != "" {
		r.attribute(entries, "one-time codes", c.settings.TOTPAttribute, Warning)
	}
	if c.settings.KeyAttribute == none {
		return
	}
	r.attribute(entries, "keys", c.settings.KeyAttribute, Warning)
	var keys, skipped int
	first := ""
	for _, e := range entries {
		k, notes := directory.ParseKeys(c.settings.KeyAttribute, c.settings.KeyPrefix, e.all(c.settings.KeyAttribute))
		if first == "" && len(notes) > 0 {
			first = fmt.Sprintf("%s[%d] of %q: %s", notes[0].Attribute, notes[0].Index, e.dn, notes[0].Reason)
		}
		keys, skipped = keys+len(k), skipped+len(notes)
	}
	if skipped > 0 {
		r.add(Warning, "keys", "%d can be used, %d cannot; the first of these is %s", keys, skipped, first)
		return
	}
	r.add(OK, "keys", "%d can be used", keys)
}

func count(n int, more bool) string {
	if more {
		return fmt.Sprintf("more than %d", n)
	}
	return fmt.Sprint(n)
}

// attribute reports how many entries have an attribute. If none has it, the service
// account mostly may not read it.
func (r *reporter) attribute(entries []entry, what, name string, worst Level) {
	n := 0
	for _, e := range entries {
		if e.has(name) {
			n++
		}
	}
	if n == 0 {
		r.add(worst, what, "no user has %s, or the service account may not read it", name)
		return
	}
	r.add(OK, what, "%s of %d of %d users can be read", name, n, len(entries))
}

// groups counts the groups, and searches for the groups that rules name.
func (r *reporter) groups(ctx context.Context, named, strict []string) {
	c := r.c
	entries, more, err := upTo(ctx, c.search, c.settings.GroupBase, "(|"+anyLike(c.settings.memberAttributes(), "*")+")", sample, c.settings.GroupNameAttribute)
	switch {
	case err != nil:
		r.add(Bad, "groups", "%v%s", err, r.cure(err))
	case len(entries) == 0:
		r.add(Warning, "groups", "none with members below %q", c.settings.GroupBase)
	default:
		r.add(OK, "groups", "%s with members found", count(len(entries), more))
	}
	for _, name := range named {
		in, plain := c.homeOfGroup(ctx, name)
		found, err := in.groupsCalled(ctx, in.search, plain, 2)
		switch {
		case err != nil:
			r.add(Bad, "group "+name, "%v%s", err, r.cure(err))
		case len(found) == 0 && slices.Contains(strict, name) && !strings.Contains(name, "*"):
			r.add(Bad, "group "+name, "a rule denies or requires something for its members, but the service account sees no such group: the rule would apply to nobody")
		case len(found) == 0:
			r.add(Warning, "group "+name, "is named in a rule, but there is no such group")
		case len(found) > 1 && !strings.Contains(name, "*"):
			r.add(Warning, "group "+name, "is named in a rule and means more than one group, such as %s and %s: name the DN of the right one", found[0], found[1])
		}
		if len(found) == 0 || !slices.Contains(strict, name) {
			continue
		}
		if hidden, err := in.hiddenMembers(ctx, found[0]); err != nil || len(hidden) > 0 {
			r.add(Bad, "group "+name, "a rule denies or requires something for its members, but the service account may not read %s: the rule would apply to nobody", cmp.Or(strings.Join(hidden, ", "), fmt.Sprint(err)))
		}
	}
}

// groupsCalled returns the DNs of up to limit groups with a DN, SID or plain name. A
// name may contain * as in rules.
func (c *Client) groupsCalled(ctx context.Context, search searchFunc, name string, limit int) ([]string, error) {
	if dn, err := directory.ParseDN(name); err == nil && !dn.Parent().IsZero() && !strings.Contains(name, "*") {
		if _, found, err := read(ctx, search, name, "1.1"); !found {
			return nil, err
		}
		return []string{name}, nil
	}
	value := strings.ReplaceAll(ldap.EscapeFilter(name), `\2a`, "*")
	groups := "(objectClass=group)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup)" + anyLike(c.settings.memberAttributes(), "*")
	filter := fmt.Sprintf("(&(|%s)(|(cn=%s)(%s=%s)))", groups, value, c.settings.GroupNameAttribute, value)
	if strings.HasPrefix(name, "S-1-") {
		filter = "(objectSid=" + ldap.EscapeFilter(name) + ")"
	}
	entries, _, err := upTo(ctx, search, c.settings.GroupBase, filter, limit, "1.1")
	dns := make([]string, len(entries))
	for i, e := range entries {
		dns[i] = e.dn
	}
	return dns, err
}

// policies reports the default password policy.
func (r *reporter) policies(ctx context.Context) {
	if !r.c.kind.ppolicy {
		return
	}
	known, err := r.c.loadPolicies(ctx, r.c.search)
	switch {
	case err != nil:
		r.add(Bad, "password policy", err.Error())
	case len(known.byDN) == 0:
		r.add(Warning, "password policy", "no pwdPolicy entry below %q can be read: the age of passwords and the end of locks are not known", r.c.settings.GroupBase)
	case known.usual.IsZero():
		r.add(Warning, "password policy", "there are %d, and none is called default: password_policy must name the default one", len(known.byDN))
	default:
		p := known.byDN[known.usual.Key()]
		age := "passwords do not expire"
		if p.maxAge > 0 {
			age = fmt.Sprintf("passwords expire after %.4g days", p.maxAge.Hours()/24)
		}
		r.add(OK, "password policy", "%s: %s", known.usual, age)
	}
}
