package embedded

import "context"

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
		r.value = "dn:" + by.entry.name.String()
	case serviceAccount:
		r.value = "dn:" + c.service.name.String()
	}
	return r
}
