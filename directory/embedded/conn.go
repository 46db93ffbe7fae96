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
)

// Controls and extended operations that are understood.
const (
	oidPasswordPolicy = "1.3.6.1.4.1.42.2.27.8.5.1" // draft-behera-ldap-password-policy-10
	oidManageDsaIT    = "2.16.840.1.113730.3.4.2"   // RFC 3296: there are no referrals to manage
	oidPasswordModify = "1.3.6.1.4.1.4203.1.11.1"   // RFC 3062
)

var supportedControls = []string{oidPasswordPolicy, oidManageDsaIT}

// writeTimeout is how long a client may take to read what it asked for.
const writeTimeout = 30 * time.Second

// A conn is one client. Its requests are served one after the other, so there
// is never anything to abandon.
type conn struct {
	*Server
	nc    net.Conn
	in    *bufio.Reader
	out   *bufio.Writer
	kind  identityKind // who is bound; ask who() what that is worth now
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
	0:  {"bind", 1, (*conn).bind},
	3:  {"search", 5, (*conn).search},
	6:  {"modify", 7, (*conn).modify},
	8:  {"add", 9, (*conn).refuse},
	10: {"delete", 11, (*conn).refuse},
	12: {"rename", 13, (*conn).refuse},
	14: {"compare", 15, (*conn).refuse},
	23: {"extended", 24, (*conn).extended},
}

const (
	tagUnbind      ber.Tag = 2
	tagSearchEntry ber.Tag = 4
	tagAbandon     ber.Tag = 16
)

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
	case tagUnbind:
		return io.EOF
	case tagAbandon:
		return nil
	}
	op, known := operations[m.op.Tag]
	if !known {
		return fmt.Errorf("%w: operation %d", errProtocol, m.op.Tag)
	}
	r := c.perform(ctx, op, m)
	c.log.Debug("embedded directory served", "operation", op.name, "bound", c.bound, "code", int64(r.code), "text", r.text)
	_, asked := m.controls[oidPasswordPolicy]
	if err := c.send(r.envelope(m.id, op.reply, asked && (op.name == "bind" || r.policy != noPolicyError))); err != nil {
		return err
	}
	return c.out.Flush()
}

// perform serves one request.
func (c *conn) perform(ctx context.Context, op operation, m *message) result {
	for oid, critical := range m.controls {
		if critical && !slices.Contains(supportedControls, oid) {
			return answer(unavailableCriticalExtension, "control "+clip(oid)+" is not known")
		}
	}
	return op.serve(c, ctx, m)
}

// refuse answers what this server does not do.
func (c *conn) refuse(context.Context, *message) result {
	return answer(unwillingToPerform, "entries are added, renamed and removed in the LDIF file, and compared by a search")
}

// extended is the Extended operation (RFC 4511, section 4.12), of which there is
// one.
func (c *conn) extended(ctx context.Context, m *message) result {
	f := partsOf(m.op)
	oid := content(f.context(0))
	var value string
	if f.more() {
		value = content(f.context(1))
	}
	switch {
	case f.err != nil:
		return answer(protocolError, "bad extended request")
	case oid != oidPasswordModify:
		return answer(protocolError, "extended operation "+clip(oid)+" is not known")
	}
	return c.passwordModify(ctx, value)
}

func (c *conn) send(p *ber.Packet) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only on a closed connection, as Write will
	_, err := c.out.Write(p.Bytes())
	return err
}
