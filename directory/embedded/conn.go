package embedded

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/hashicorp/go-hclog"
)

// Controls and extended operations that are understood.
const (
	oidPaging         = "1.2.840.113556.1.4.319"    // RFC 2696
	oidPasswordPolicy = "1.3.6.1.4.1.42.2.27.8.5.1" // draft-behera-ldap-password-policy-10
	oidManageDsaIT    = "2.16.840.1.113730.3.4.2"   // RFC 3296: there are no referrals to manage
	oidStartTLS       = "1.3.6.1.4.1.1466.20037"    // RFC 4511, section 4.14
	oidPasswordModify = "1.3.6.1.4.1.4203.1.11.1"   // RFC 3062
	oidWhoAmI         = "1.3.6.1.4.1.4203.1.11.3"   // RFC 4532
	oidDisconnection  = "1.3.6.1.4.1.1466.20036"    // RFC 4511, section 4.4.1
)

var supportedControls = []string{oidPaging, oidPasswordPolicy, oidManageDsaIT}

// Times that one step of a connection may take.
const (
	unboundTimeout = time.Minute      // from one request to the next before a bind
	writeTimeout   = 30 * time.Second // for a client to take what it asked for
)

// A conn is one client. Its requests are served one after the other, so there
// is never anything to abandon.
type conn struct {
	*Server
	log    hclog.Logger
	nc     net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	secure bool         // TLS
	kind   identityKind // who is bound; ask who() what that is worth now
	bound  string       // key of the user's DN, or the service account's DN

	startTLS bool // the next thing to do, after the answer is sent
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
	8:  {"add", 9, (*conn).editInstead},
	10: {"delete", 11, (*conn).editInstead},
	12: {"rename", 13, (*conn).editInstead},
	14: {"compare", 15, (*conn).compare},
	23: {"extended", 24, (*conn).extended},
}

const (
	tagUnbind           ber.Tag = 2
	tagSearchEntry      ber.Tag = 4
	tagAbandon          ber.Tag = 16
	tagExtendedResponse ber.Tag = 24
)

// serve is the life of a connection.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c := &conn{Server: s, log: s.log.With("remote", nc.RemoteAddr().String())}
	c.wrap(nc)
	defer func() { c.nc.Close() }() // whatever it is wrapped in by then
	err := c.detectTLS(ctx)
	for err == nil {
		err = c.next(ctx)
	}
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	if errors.Is(err, errProtocol) {
		c.disconnect()
	}
	c.log.Debug("embedded directory closes a connection", "reason", err)
}

func (c *conn) wrap(nc net.Conn) {
	c.in, c.out = bufio.NewReader(nc), bufio.NewWriter(nc)
	c.nc = nc
}

// detectTLS starts TLS at once if the client speaks first as ldaps does: with a
// handshake record.
func (c *conn) detectTLS(ctx context.Context) error {
	c.awaitRequest()
	first, err := c.in.Peek(1)
	if err != nil || c.tls == nil || first[0] != 0x16 {
		return err
	}
	return c.handshake(ctx, &unread{c.nc, c.in})
}

// unread is a connection of which the first bytes were read into a buffer.
type unread struct {
	net.Conn
	r io.Reader
}

func (u *unread) Read(p []byte) (int, error) { return u.r.Read(p) }

// handshake goes on with TLS over nc.
func (c *conn) handshake(ctx context.Context, nc net.Conn) error {
	secured := tls.Server(nc, c.tls)
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("starting TLS: %w", err)
	}
	c.wrap(secured)
	c.secure = true
	return nil
}

// awaitRequest bounds the time until the next request.
func (c *conn) awaitRequest() {
	wait := unboundTimeout
	if c.kind != anonymous {
		wait = c.idle
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(wait)) // fails only on a closed connection, as Read will
}

// next reads a request, serves it and answers. io.EOF is the end.
func (c *conn) next(ctx context.Context) error {
	c.awaitRequest()
	limit := maxRequest
	if c.kind == anonymous {
		limit = maxUnboundRequest
	}
	m, err := readMessage(c.in, limit)
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
	if err := c.send(r.envelope(m.id, op.reply)); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.upgrade(ctx)
}

// perform serves one request and adds the password policy control.
func (c *conn) perform(ctx context.Context, op operation, m *message) result {
	for _, ctl := range m.controls {
		if ctl.critical && !slices.Contains(supportedControls, ctl.oid) {
			return answer(unavailableCriticalExtension, "control "+clip(ctl.oid)+" is not known")
		}
	}
	r := op.serve(c, ctx, m)
	if _, asked := m.control(oidPasswordPolicy); asked && (op.name == "bind" || r.policy.err != noPolicyError) {
		r.controls = append(r.controls, r.policy.control())
	}
	return r
}

// editInstead answers what would change which entries there are.
func (c *conn) editInstead(context.Context, *message) result {
	return answer(unwillingToPerform, "entries are added, renamed and removed in the LDIF file")
}

// upgrade does what a StartTLS request asked for. What the client sent in the
// clear behind the request may be another's, and ends the connection.
func (c *conn) upgrade(ctx context.Context) error {
	if !c.startTLS {
		return nil
	}
	c.startTLS = false
	if c.in.Buffered() > 0 {
		return fmt.Errorf("%w: more in the clear after StartTLS", errProtocol)
	}
	return c.handshake(ctx, c.nc)
}

func (c *conn) send(p *ber.Packet) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)) // as above
	_, err := c.out.Write(p.Bytes())
	return err
}

// disconnect tells the client that the connection ends (RFC 4511, section
// 4.4.1).
func (c *conn) disconnect() {
	r := answer(protocolError, "not an LDAP request, or too large")
	r.oid = oidDisconnection
	if c.send(r.envelope(0, tagExtendedResponse)) == nil {
		_ = c.out.Flush() // it is a courtesy
	}
}
