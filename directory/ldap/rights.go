package ldap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Rights binds as u and reports which of the values that decide about u's access u
// may write: the attributes from which rules, names, groups and account state are
// read, and the members of groups, which are names that rules use. Users who can
// write those can give themselves any access. Rights changes nothing. u is from
// Lookup.
//
// Active Directory and 389 DS report the rights. OpenLDAP is sent changes with a
// control not to make them, and answers what the result would be. Other servers
// cannot be asked. Rights also reports servers that know u by another id.
func (c *Client) Rights(ctx context.Context, u *directory.User, password string, groups []string) []Finding {
	c, err := c.home(ctx, u)
	if err != nil {
		return []Finding{{Bad, "rights of " + u.Name, err.Error()}}
	}
	r := reporter{c: c}
	r.replicas(ctx, u.DN)
	what := "rights of " + u.Name
	cn, err := c.bindUser(ctx, u, password)
	if cn != nil {
		defer cn.close()
	}
	var user entry
	if err == nil {
		user, err = c.themselves(ctx, cn, u)
	}
	if err != nil {
		r.add(Bad, what, "could not be checked: %v", err)
		return r.findings
	}
	ask, err := c.writeCheck(ctx, cn, user.dn, user)
	if err != nil {
		r.add(Note, what, "could not be checked: %v", err)
		return r.findings
	}
	r.ownRights(ctx, what, user, ask)
	search := c.search
	if c.settings.BindAs != "" {
		search = c.searchOn(cn)
	}
	var dns []string
	for _, name := range groups {
		found, err := c.groupsCalled(ctx, search, name, groupsTried)
		if err != nil {
			r.add(Bad, "group "+name, err.Error())
		}
		dns = append(dns, found...)
	}
	slices.Sort(dns)
	r.groupRights(ctx, what, user, slices.Compact(dns), ask)
	return r.findings
}

// themselves reads the entry of u over u's own connection. If u cannot see the
// entry, the service account reads it.
func (c *Client) themselves(ctx context.Context, cn *conn, u *directory.User) (entry, error) {
	if u.DN == "" { // bind_as
		full, err := c.find(ctx, c.searchOn(cn), u.Name)
		if err != nil {
			return entry{}, err
		}
		u = full
	}
	attributes := append(c.userAttributes(), "objectClass")
	e, found, err := read(ctx, c.searchOn(cn), u.DN, attributes...)
	if !found && err == nil && c.settings.BindAs == "" {
		e, found, err = read(ctx, c.search, u.DN, attributes...)
	}
	if !found && err == nil {
		err = fmt.Errorf("%q does not exist, or cannot be seen", u.DN)
	}
	return e, err
}

// groupsTried is how many groups of each pattern are tried.
const groupsTried = 20

// A writeCheck asks whether the user who is bound may write an attribute of the
// entry e. value is an example of what the user might write.
type writeCheck func(ctx context.Context, e entry, attribute, value string) (may bool, err error)

// OIDs in the root DSE that show how a server reports rights.
const (
	capabilityAD   = "1.2.840.113556.1.4.800"
	controlRights  = "1.3.6.1.4.1.42.2.27.9.5.2" // Get Effective Rights
	controlNoop    = "1.3.6.1.4.1.4203.666.5.2"  // of OpenLDAP, which does not list it
	controlNobodys = "1.3.6.1.4.1.4203.666.5.9999"

	resultNoop = 0x410e // what OpenLDAP answers to a change that it did not make
)

var errNoRights = errors.New("this server cannot report what a user may write")

// writeCheck finds out how to ask the server for the rights of subject, who is
// bound over cn. e is an entry that subject can read.
func (c *Client) writeCheck(ctx context.Context, cn *conn, subject string, e entry) (writeCheck, error) {
	if c.settings.Kind == "embedded" { // where users write nothing
		return func(context.Context, entry, string, string) (bool, error) { return false, nil }, nil
	}
	root, _, err := read(ctx, c.searchOn(cn), "", "supportedControl", "supportedCapabilities")
	switch {
	case err != nil:
		return nil, err
	case contains(root.all("supportedCapabilities"), capabilityAD):
		// Active Directory computes it for the user who asks ([MS-ADTS] 3.1.1.4.5.21).
		known := map[string]entry{}
		return func(ctx context.Context, e entry, attribute, _ string) (bool, error) {
			rights, ok := known[e.dn]
			if !ok {
				var err error
				if rights, _, err = read(ctx, c.searchOn(cn), e.dn, "allowedAttributesEffective"); err != nil {
					return false, err
				}
				known[e.dn] = rights
			}
			return contains(rights.all("allowedAttributesEffective"), attribute), nil
		}, nil
	case contains(root.all("supportedControl"), controlRights):
		// 389 DS (draft-ietf-ldapext-acl-model-08, section 9).
		return func(ctx context.Context, e entry, attribute, _ string) (bool, error) {
			list, err := rightsOn(ctx, c.searchOn(cn), subject, e.dn, attribute)
			if err != nil {
				return false, err
			}
			rights, err := attributeRights(list, attribute)
			return strings.ContainsAny(rights, "wW"), err // W: the value that is their own DN only
		}, nil
	}
	// A server that ignores unknown critical controls would ignore this one and make
	// the change. So a control that no server knows is tried first, with a change
	// that has no effect.
	if err := c.modifyWith(ctx, cn, controlNobodys, e, c.settings.NameAttribute, ""); !ldap.IsErrorAnyOf(err, ldap.LDAPResultUnavailableCriticalExtension) {
		return nil, errNoRights
	}
	err = c.modifyWith(ctx, cn, controlNoop, e, c.settings.NameAttribute, "")
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultUnavailableCriticalExtension) {
		return nil, errNoRights
	}
	return c.noChange(cn), nil
}

// rightsOn returns the rights that 389 DS gives subject on attributes of the
// entry dn, for attributeRights. Everybody may ask for their own rights.
func rightsOn(ctx context.Context, search searchFunc, subject, dn string, attributes ...string) (string, error) {
	req := request(dn, ldap.ScopeBaseObject, anyEntry, 1, attributes...)
	req.Controls = []ldap.Control{ldap.NewControlString(controlRights, true, "dn:"+subject)}
	res, err := search(ctx, req)
	if err != nil {
		return "", err
	}
	if len(res.Entries) == 0 {
		return "", fmt.Errorf("%q cannot be seen", dn)
	}
	return newEntry(res.Entries[0]).first("attributeLevelRights"), nil
}

// attributeRights finds one attribute in "mail:rsc, memberOf:none".
func attributeRights(list, attribute string) (string, error) {
	for item := range strings.SplitSeq(list, ",") {
		name, rights, _ := strings.Cut(strings.TrimSpace(item), ":")
		if !strings.EqualFold(name, attribute) {
			continue
		}
		if rights == "none" {
			return "", nil
		}
		return rights, nil
	}
	return "", fmt.Errorf("the server does not report the rights on %s", attribute)
}

// noChange sends OpenLDAP a change with the control not to make it. slapd checks its
// access rules first.
func (c *Client) noChange(cn *conn) writeCheck {
	return func(ctx context.Context, e entry, attribute, value string) (bool, error) {
		values := []string{value}
		if value == "" && !e.has(attribute) {
			values = []string{"0", e.dn, "TRUE", "20000101000000Z"} // one will be of its syntax
		}
		var err error
		for _, v := range values {
			err = c.modifyWith(ctx, cn, controlNoop, e, attribute, v)
			if !ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidAttributeSyntax) {
				break
			}
		}
		answer, ok := errors.AsType[*ldap.Error](err)
		if !ok {
			return false, fmt.Errorf("change %q: %w", e.dn, err)
		}
		switch answer.ResultCode {
		case resultNoop, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultNoSuchAttribute, ldap.LDAPResultNamingViolation:
			return true, nil // the server has applied its access rules before it finds such mistakes
		case ldap.LDAPResultObjectClassViolation:
			if !e.has("objectClass") || strings.EqualFold(attribute, "objectClass") {
				return e.has("objectClass"), nil // classes are checked after the access rules
			}
			// The class that it needs might be added with it.
			class := ""
			if strings.EqualFold(attribute, c.settings.KeyAttribute) && c.settings.KeyClass != none {
				class = c.settings.KeyClass
			}
			err := c.modifyWith(ctx, cn, controlNoop, e, "objectClass", class)
			return ldap.IsErrorAnyOf(err, resultNoop, ldap.LDAPResultObjectClassViolation), nil
		case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject, // not even visible
			ldap.LDAPResultUndefinedAttributeType, ldap.LDAPResultConstraintViolation: // the server alone writes it
			return false, nil
		}
		return false, fmt.Errorf("change %q: %w", e.dn, err)
	}
}

// modifyWith asks, with a critical control, to write an attribute of e: to
// add value, or if value is empty, to write the present values.
func (c *Client) modifyWith(ctx context.Context, cn *conn, control string, e entry, attribute, value string) error {
	req := ldap.NewModifyRequest(e.dn, []ldap.Control{ldap.NewControlString(control, true, "")})
	if strings.EqualFold(attribute, "userPassword") {
		req.Delete(attribute, []string{rand.Text()}) // no such value exists, so nothing is removed
	} else if value == "" && e.has(attribute) {
		req.Replace(attribute, e.all(attribute))
	} else {
		req.Add(attribute, []string{value})
	}
	return cn.do(ctx, c.settings.RequestTimeout, func() error { return cn.Modify(req) })
}

// A decisive attribute is one of the user's own that decides about the user.
type decisive struct {
	attribute string
	level     Level  // if the user may write it
	use       string // why it decides, for messages: "rules use it"
}

// decisiveAttributes lists each attribute once, the worst level first.
func (c *Client) decisiveAttributes() []decisive {
	s := c.settings
	var list []decisive
	add := func(level Level, use string, attributes ...string) {
		for _, a := range attributes {
			known := func(d decisive) bool { return strings.EqualFold(d.attribute, a) }
			if !slices.ContainsFunc(list, known) {
				list = append(list, decisive{a, level, use})
			}
		}
	}
	add(Bad, "rules use it", s.Attributes...)
	add(Bad, "it is the login name", s.NameAttribute)
	add(Bad, "it is the id of the user", s.IDAttribute)
	if s.GroupWalk == walkTokenGroups {
		add(Bad, "it names a group", "primaryGroupID")
	} else {
		add(Bad, "groups are read from it", "memberOf", "gidNumber")
	}
	add(Warning, "people log in by it", s.LoginAttributes...)
	add(Warning, "with owner: person it says whose files are on the disk", s.UIDAttribute, s.GIDAttribute)
	for _, r := range c.kind.state {
		for _, a := range r.attributes {
			if a != "shadowLastChange" { // a change of password writes it, as the user
				add(Warning, "account state is read from it", a)
			}
		}
	}
	return list
}

func (r *reporter) ownRights(ctx context.Context, what string, user entry, ask writeCheck) {
	var safe []string
	unknown := map[string][]string{} // attributes by the answer of the server
	for _, d := range r.c.decisiveAttributes() {
		switch may, err := ask(ctx, user, d.attribute, ""); {
		case err != nil:
			unknown[err.Error()] = append(unknown[err.Error()], d.attribute)
		case may:
			r.add(d.level, what, "may write %s of their own entry, but %s: remove that right", d.attribute, d.use)
		default:
			safe = append(safe, d.attribute)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(unknown)) {
		r.add(Note, what, "could not be checked for %s: %s", strings.Join(unknown[why], ", "), why)
	}
	if len(safe) > 0 {
		r.add(OK, what, "may not write %s of their own entry", strings.Join(safe, ", "))
	}
	if key := r.c.settings.KeyAttribute; key != none {
		switch may, err := ask(ctx, user, key, ""); {
		case err != nil:
			r.add(Note, what, "could not be checked for %s: %v", key, err)
		case may:
			r.add(OK, what, "may write %s of their own entry: users manage their keys themselves", key)
		default:
			r.add(OK, what, "may not write %s of their own entry: administrators manage keys", key)
		}
	}
}

// groupRights asks whether the user may become a member of each group.
func (r *reporter) groupRights(ctx context.Context, what string, user entry, groups []string, ask writeCheck) {
	c := r.c
	try := map[string]string{} // values that would make the user a member, by attribute
	for _, a := range c.settings.memberAttributes() {
		try[a] = user.dn
		if a == c.settings.MemberUIDAttribute {
			try[a] = c.loginName(user)
		}
	}
	safe := 0
	for _, dn := range groups {
		open, unknown := "", error(nil)
		for attribute, value := range try {
			may, err := ask(ctx, entry{dn: dn}, attribute, value)
			if may {
				open = attribute
			}
			unknown = errors.Join(unknown, err)
		}
		switch {
		case open != "":
			r.add(Bad, what, "may write %s of group %s, but rules use it: remove that right", open, dn)
		case unknown != nil:
			r.add(Note, what, "could not be checked for group %s: %v", dn, unknown)
		default:
			safe++
		}
	}
	if safe > 0 {
		r.add(OK, what, "may not write the members of %d of the groups that rules name", safe)
	}
}
