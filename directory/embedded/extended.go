package embedded

import (
	"context"
	"strings"
)

// extendedOperations are served by their OIDs. The value is that of the
// request.
var extendedOperations = map[string]func(c *conn, ctx context.Context, value string) result{
	oidStartTLS:       (*conn).serveStartTLS,
	oidWhoAmI:         (*conn).whoAmI,
	oidPasswordModify: (*conn).passwordModify,
}

// extended is the Extended operation (RFC 4511, section 4.12).
func (c *conn) extended(ctx context.Context, m *message) result {
	f := partsOf(m.op)
	oid := content(f.context(0))
	var value string
	if f.more() {
		value = content(f.context(1))
	}
	if f.err != nil {
		return answer(protocolError, "bad extended request")
	}
	serve, ok := extendedOperations[oid]
	if !ok {
		return answer(protocolError, "extended operation "+clip(oid)+" is not known")
	}
	return serve(c, ctx, value)
}

// serveStartTLS agrees to TLS; it begins when the client has that.
func (c *conn) serveStartTLS(context.Context, string) result {
	r := answer(unwillingToPerform, "this server has no certificate")
	switch {
	case c.secure:
		r = answer(protocolError, "TLS is on already")
	case c.tls != nil:
		r = done(success)
		c.startTLS = true
	}
	r.oid = oidStartTLS
	return r
}

// whoAmI says as whom the client is bound (RFC 4532).
func (c *conn) whoAmI(context.Context, string) result {
	r := done(success)
	switch by := c.who(); by.kind {
	case user:
		r.value = "dn:" + by.entry.dn
	case serviceAccount:
		r.value = "dn:" + c.service.dn
	}
	return r
}

// passwordModify is RFC 3062. Unlike OpenLDAP it counts a wrong old password,
// and does not unlock anybody.
func (c *conn) passwordModify(ctx context.Context, value string) result {
	by := c.who()
	if by.kind == anonymous {
		return answer(strongerAuthRequired, "only authenticated users may change passwords")
	}
	target, old, fresh, err := parsePasswordModify(value)
	if err != nil {
		return answer(protocolError, "bad password modify request")
	}
	key, ok := dnKey(strings.TrimPrefix(target, "dn:"))
	switch {
	case !ok:
		return answer(invalidAttributeSyntax, "Invalid DN")
	case key == "" && by.kind == user:
		key = by.entry.key
	case key == "" || key == c.service.key:
		return answer(unwillingToPerform, "the service account's password is in the server's settings")
	case by.kind == user && key != by.entry.key && by.entry.mustChange():
		return mustChangeFirst()
	case by.kind == user && key != by.entry.key:
		return answer(insufficientAccessRights, "one can only change one's own password").because(passwordModNotAllowed)
	}
	if fresh == "" {
		return answer(unwillingToPerform, "no new password given: this server makes none up").because(insufficientPasswordQuality)
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
