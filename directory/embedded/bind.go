package embedded

import (
	"context"
	"crypto/subtle"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// identityKind is what sort of client a connection is bound as.
type identityKind int

const (
	anonymous identityKind = iota
	user
	serviceAccount
)

// An identity is who asks, at the time of asking.
type identity struct {
	kind  identityKind
	entry *entry // of a user
}

// who returns the identity that c is bound as. A user who was removed or
// disabled meanwhile is nobody.
func (c *conn) who() identity {
	if c.kind != user {
		return identity{kind: c.kind}
	}
	e := c.store.tree().find(c.bound)
	if e == nil || e.disabled() {
		return identity{}
	}
	return identity{user, e}
}

// bind is the Bind operation (RFC 4511, section 4.2). If it fails, the client is
// anonymous.
func (c *conn) bind(ctx context.Context, m *message) result {
	c.kind, c.bound = anonymous, ""
	f := partsOf(m.op)
	version, name, auth := f.integer(ber.TagInteger), f.text(), f.any()
	if f.err != nil {
		return answer(ldap.LDAPResultProtocolError, "bad bind request")
	}
	if version != 3 {
		return answer(ldap.LDAPResultProtocolError, "only LDAP version 3 is supported")
	}
	if auth.ClassType != ber.ClassContext || auth.Tag != 0 {
		return answer(ldap.LDAPResultAuthMethodNotSupported, "only simple binds are supported")
	}
	dn, err := directory.ParseDN(name)
	key, password := dn.Key(), content(auth)
	switch {
	case err != nil:
		return answer(ldap.LDAPResultInvalidDNSyntax, "bind with a DN, such as uid=alice,ou=people,"+c.Base())
	case key == "" && password == "":
		return done(ldap.LDAPResultSuccess)
	case password == "": // RFC 4513, section 5.1.2: a client would believe that it has proved the password
		return answer(ldap.LDAPResultUnwillingToPerform, "unauthenticated bind (DN with no password) disallowed")
	case key == serviceDN:
		if subtle.ConstantTimeCompare([]byte(password), []byte(c.password)) != 1 {
			return done(ldap.LDAPResultInvalidCredentials)
		}
		c.kind = serviceAccount
		return done(ldap.LDAPResultSuccess)
	}
	return c.bindUser(ctx, key, password)
}

// bindUser checks the password of a user before the state of the account, so that
// only the user learns the state. A lock is the exception, as in other servers: it
// is reported without checking the password.
func (c *conn) bindUser(ctx context.Context, key, password string) result {
	e, unlock, r := c.verify(ctx, key, password)
	defer unlock()
	if e == nil {
		return r
	}
	c.kind, c.bound = user, key
	if e.mustChange() {
		return done(ldap.LDAPResultSuccess).because(ldap.BeheraChangeAfterReset)
	}
	return r
}

// verify checks a password, and counts a wrong one. It returns the entry with its
// guard held until unlock is called, or nil and a refusal.
func (c *conn) verify(ctx context.Context, key, password string) (e *entry, unlock func(), r result) {
	refused := done(ldap.LDAPResultInvalidCredentials)
	if e = c.store.tree().find(key); e == nil || !e.has("userPassword") {
		c.store.hasher.waste(ctx, password)
		return nil, func() {}, refused
	}
	e.guard.Lock()
	unlock = e.guard.Unlock
	if e = c.store.tree().find(key); e == nil { // removed while another request held the guard
		return nil, unlock, refused
	}
	if c.policy.locked(e, c.now()) {
		return nil, unlock, refused.because(ldap.BeheraAccountLocked)
	}
	if !c.store.hasher.matches(ctx, e.first("userPassword"), password) {
		if ctx.Err() != nil { // nothing was compared
			return nil, unlock, answer(ldap.LDAPResultUnavailable, "the server is closing")
		}
		c.store.count(key, func(e *entry) {
			if c.policy.countFailure(e, c.now()) {
				c.log.Warn("too many wrong passwords: account locked", "dn", e.name.String())
			}
		})
		return nil, unlock, refused
	}
	if e.has("pwdFailureTime") || e.has("pwdAccountLockedTime") {
		c.store.count(key, clearFailures)
	}
	if e.disabled() {
		return nil, unlock, answer(ldap.LDAPResultUnwillingToPerform, "account disabled: ask an administrator").because(ldap.BeheraAccountLocked)
	}
	return e, unlock, done(ldap.LDAPResultSuccess)
}
