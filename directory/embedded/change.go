package embedded

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// passwordModify is the operation of RFC 3062. Unlike OpenLDAP it counts a wrong old
// password, and does not unlock an account.
func (c *conn) passwordModify(ctx context.Context, value string) result {
	by := c.who()
	if by.kind == anonymous {
		return answer(ldap.LDAPResultStrongAuthRequired, "only authenticated users may change passwords")
	}
	target, old, fresh, err := parsePasswordModify(value)
	if err != nil {
		return answer(ldap.LDAPResultProtocolError, "bad password modify request")
	}
	dn, err := directory.ParseDN(strings.TrimPrefix(target, "dn:"))
	key := dn.Key()
	switch {
	case err != nil:
		return answer(ldap.LDAPResultInvalidAttributeSyntax, "Invalid DN")
	case key == "" && by.kind == user:
		key = by.entry.name.Key()
	case key == "" || key == serviceDN:
		return answer(ldap.LDAPResultUnwillingToPerform, "the service account's password is made at each start")
	case by.kind == user && key != by.entry.name.Key():
		return answer(ldap.LDAPResultInsufficientAccessRights, "one can only change one's own password").because(ldap.BeheraPasswordModNotAllowed)
	}
	if fresh == "" {
		return answer(ldap.LDAPResultUnwillingToPerform, "no new password given: this server does not generate one").because(ldap.BeheraInsufficientPasswordQuality)
	}
	return c.changePassword(ctx, key, old, fresh)
}

// parsePasswordModify reads PasswdModifyRequestValue; every part is optional.
func parsePasswordModify(value string) (target, old, fresh string, err error) {
	if value == "" {
		return "", "", "", nil
	}
	p, err := decodeBER([]byte(value))
	if err != nil {
		return "", "", "", err
	}
	f := partsOf(p)
	for f.more() {
		switch part := f.any(); part.Tag {
		case 0:
			target = content(part)
		case 1:
			old = content(part)
		case 2:
			fresh = content(part)
		}
	}
	return target, old, fresh, f.err
}

// changePassword replaces a password by a new one. The old one is verified, and
// counted when it is wrong, whoever asks. Passwords of locked and disabled
// accounts cannot be changed. Passwords that have expired or must be changed
// can.
func (c *conn) changePassword(ctx context.Context, key, old, fresh string) result {
	if old == "" {
		return answer(ldap.LDAPResultInsufficientAccessRights, "Must supply old password to be changed as well as new one").because(ldap.BeheraMustSupplyOldPassword)
	}
	e, unlock, r := c.verify(ctx, key, old)
	defer unlock()
	if r.code == ldap.LDAPResultInvalidCredentials {
		r.code, r.text = ldap.LDAPResultUnwillingToPerform, "unwilling to verify old password"
	}
	if e == nil {
		return r
	}
	if r := c.policy.judge(e, fresh); r.code != ldap.LDAPResultSuccess {
		return r
	}
	if old == fresh {
		return answer(ldap.LDAPResultConstraintViolation, "Password is not being changed from existing value").because(ldap.BeheraPasswordInHistory)
	}
	stored, err := c.store.hasher.hash(ctx, fresh)
	if err != nil {
		return answer(ldap.LDAPResultOther, "the server is closing")
	}
	return c.stored(c.store.change(key, func(e *entry) error {
		e.set("userPassword", stored)
		e.set("pwdChangedTime", formatTime(c.now()))
		e.set("pwdReset")
		clearFailures(e)
		return nil
	}))
}

// sshPublicKey is the one attribute that clients modify.
const sshPublicKey = "sshPublicKey"

type modification struct {
	operation int64 // ldap.AddAttribute, …
	name      string
	values    []string
}

func parseModify(p *ber.Packet) (name string, steps []modification, err error) {
	f := partsOf(p)
	name = f.text()
	list := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	for list.more() {
		step := partsOf(list.any())
		m := modification{operation: step.integer(ber.TagEnumerated)}
		attribute := partsOf(step.take(ber.ClassUniversal, ber.TagSequence))
		m.name = attribute.text()
		values := partsOf(attribute.take(ber.ClassUniversal, ber.TagSet))
		for values.more() {
			m.values = append(m.values, values.text())
		}
		if values.err != nil {
			return "", nil, values.err
		}
		steps = append(steps, m)
	}
	f.err = cmp.Or(f.err, list.err)
	return name, steps, f.err
}

// modify is the Modify operation. The service account changes SSH keys; nobody
// changes anything else.
func (c *conn) modify(_ context.Context, m *message) result {
	name, steps, err := parseModify(m.op)
	dn, wrong := directory.ParseDN(name)
	key := dn.Key()
	if err != nil || len(steps) == 0 {
		return answer(ldap.LDAPResultProtocolError, "bad modify request")
	}
	if wrong != nil {
		return answer(ldap.LDAPResultInvalidDNSyntax, "the entry's name is not a DN")
	}
	e := c.store.tree().find(key)
	other := func(m modification) bool {
		return !strings.EqualFold(m.name, sshPublicKey) || m.operation > ldap.DeleteAttribute || len(m.values) == 0
	}
	switch {
	case c.who().kind != serviceAccount:
		return answer(ldap.LDAPResultInsufficientAccessRights, "only the service account modifies entries")
	case e == nil:
		return done(ldap.LDAPResultNoSuchObject)
	case e.virtual || slices.ContainsFunc(steps, other):
		return answer(ldap.LDAPResultInsufficientAccessRights, "only values of sshPublicKey can be added and deleted here; the rest in the LDIF file")
	}
	return c.modifyKeys(key, steps)
}

// errRefused means that a change does not fit the values of the entry.
var errRefused = errors.New("refused")

// modifyKeys applies all steps or none.
func (c *conn) modifyKeys(key string, steps []modification) result {
	r := done(ldap.LDAPResultSuccess)
	err := c.store.change(key, func(e *entry) error {
		values := e.values(sshPublicKey)
		for _, m := range steps {
			for _, v := range m.values {
				i := slices.Index(values, v)
				switch {
				case v == "":
					r = answer(ldap.LDAPResultInvalidAttributeSyntax, "a value is empty")
				case m.operation == ldap.AddAttribute && i >= 0:
					r = answer(ldap.LDAPResultAttributeOrValueExists, "the value is already there")
				case m.operation == ldap.AddAttribute:
					values = append(values, v)
				case i < 0:
					r = answer(ldap.LDAPResultNoSuchAttribute, "the value to delete is not there")
				default:
					values = slices.Delete(values, i, i+1)
				}
				if r.code != ldap.LDAPResultSuccess {
					return errRefused
				}
			}
		}
		e.set(sshPublicKey, values...)
		return nil
	})
	if errors.Is(err, errRefused) {
		return r
	}
	return c.stored(err)
}

// stored is the answer to a change. After an error of the store nothing was
// changed.
func (c *conn) stored(err error) result {
	if err == nil {
		return done(ldap.LDAPResultSuccess)
	}
	c.log.Error("embedded directory refuses a change", "error", err)
	if errors.Is(err, errGone) {
		return done(ldap.LDAPResultNoSuchObject)
	}
	return answer(ldap.LDAPResultUnavailable, err.Error())
}
