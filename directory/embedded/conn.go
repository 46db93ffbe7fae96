package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// oidPasswordModify is the one extended operation (RFC 3062).
const oidPasswordModify = "1.3.6.1.4.1.4203.1.11.1"

// supportedControls are those that may be critical. There are no referrals, so
// ManageDsaIT (RFC 3296) changes nothing.
var supportedControls = []string{ldap.ControlTypeBeheraPasswordPolicy, ldap.ControlTypeManageDsaIT}

// writeTimeout is how long a client may take to read what it asked for.
const writeTimeout = 30 * time.Second

// A conn is one client. Its requests are served one after the other, so an
// Abandon request never has an effect.
type conn struct {
	*Server
	nc    net.Conn
	in    *bufio.Reader
	out   *bufio.Writer
	kind  identityKind // who is bound; who() returns whether the account still exists and is enabled
	bound string       // key of the user's DN
}

// An operation is how one kind of request is served.
type operation struct {
	name  string
	reply ber.Tag // of the response
	serve func(*conn, context.Context, *message) result
}

// operations are the requests by their application tag; unbind and abandon,
// which have no response, are not among them.
var operations = map[ber.Tag]operation{
	ldap.ApplicationBindRequest:     {"bind", ldap.ApplicationBindResponse, (*conn).bind},
	ldap.ApplicationSearchRequest:   {"search", ldap.ApplicationSearchResultDone, (*conn).search},
	ldap.ApplicationModifyRequest:   {"modify", ldap.ApplicationModifyResponse, (*conn).modify},
	ldap.ApplicationAddRequest:      {"add", ldap.ApplicationAddResponse, (*conn).refuse},
	ldap.ApplicationDelRequest:      {"delete", ldap.ApplicationDelResponse, (*conn).refuse},
	ldap.ApplicationModifyDNRequest: {"rename", ldap.ApplicationModifyDNResponse, (*conn).refuse},
	ldap.ApplicationCompareRequest:  {"compare", ldap.ApplicationCompareResponse, (*conn).refuse},
	ldap.ApplicationExtendedRequest: {"extended", ldap.ApplicationExtendedResponse, (*conn).extended},
}

// serve is the life of a connection.
func (s *Server) serve(nc net.Conn) {
	defer nc.Close()
	stop := context.AfterFunc(s.ctx, func() { nc.Close() })
	defer stop()
	c := &conn{Server: s, nc: nc, in: bufio.NewReader(nc), out: bufio.NewWriter(nc)}
	for {
		if err := c.next(s.ctx); err != nil {
			if s.ctx.Err() == nil && !errors.Is(err, io.EOF) {
				s.log.Debug("embedded directory closes a connection", "remote", nc.RemoteAddr().String(), "reason", err)
			}
			return
		}
	}
}

// next reads a request, serves it and answers. io.EOF is the end.
func (c *conn) next(ctx context.Context) error {
	m, err := readMessage(c.in)
	if err != nil {
		return err
	}
	switch m.op.Tag {
	case ldap.ApplicationUnbindRequest:
		return io.EOF
	case ldap.ApplicationAbandonRequest:
		return nil
	}
	op, known := operations[m.op.Tag]
	if !known {
		return fmt.Errorf("%w: operation %d", errProtocol, m.op.Tag)
	}
	r := c.perform(ctx, op, m)
	c.log.Debug("embedded directory served", "operation", op.name, "bound", c.bound, "code", r.code, "text", r.text)
	_, asked := m.controls[ldap.ControlTypeBeheraPasswordPolicy]
	if err := c.send(r.envelope(m.id, op.reply, asked && (op.name == "bind" || r.policy != noPolicyError)).Bytes()); err != nil {
		return err
	}
	return c.out.Flush()
}

func (c *conn) perform(ctx context.Context, op operation, m *message) result {
	for oid, critical := range m.controls {
		if critical && !slices.Contains(supportedControls, oid) {
			return answer(ldap.LDAPResultUnavailableCriticalExtension, "control "+clip(oid)+" is not known")
		}
	}
	return op.serve(c, ctx, m)
}

// refuse answers requests that this server does not support.
func (c *conn) refuse(context.Context, *message) result {
	return answer(ldap.LDAPResultUnwillingToPerform, "entries are added, renamed and removed in the LDIF file, and compared by a search")
}

// extended is the Extended operation (RFC 4511, section 4.12).
func (c *conn) extended(ctx context.Context, m *message) result {
	f := partsOf(m.op)
	oid := content(f.take(ber.ClassContext, 0))
	var value string
	if f.more() {
		value = content(f.take(ber.ClassContext, 1))
	}
	switch {
	case f.err != nil:
		return answer(ldap.LDAPResultProtocolError, "bad extended request")
	case oid != oidPasswordModify:
		return answer(ldap.LDAPResultProtocolError, "extended operation "+clip(oid)+" is not known")
	}
	return c.passwordModify(ctx, value)
}

func (c *conn) send(message []byte) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only on a closed connection, as Write will
	_, err := c.out.Write(message)
	return err
}
