package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory/ldap/gssapi"
	"berth/sshd/privatefile"
)

type conn struct {
	*ldap.Conn
	pool   *pool
	raw    net.Conn // beneath TLS: closing it ends every call at once
	seal   *gssapi.Conn
	stream *boundedConn
	server *server
	tls    *tls.ConnectionState // nil in the clear
	used   time.Time            // when a request last succeeded
	pooled bool                 // it has been in the pool
}

// private reports whether nobody on the network can read what is sent.
func (cn *conn) private() bool { return cn.tls != nil || cn.seal.Sealed() }

// dial connects to one server and starts TLS as the settings say. It is bounded
// by ctx alone.
func (c *Client) dial(ctx context.Context, srv *server, as use) (*conn, error) {
	var cn *conn
	dial := srv.dial
	if as.service && c.settings.Bind.Seal {
		dial = srv.dialPlain
	}
	raw, err := dial(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
		cn, err = c.secure(ctx, srv, raw, as)
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			_ = raw.Close()
		}
	}
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	cn.Conn.Start()
	return cn, nil
}

// secure makes a conn of raw. StartTLS is done here and not by go-ldap, which
// does not bound the handshake and flattens its errors.
func (c *Client) secure(ctx context.Context, srv *server, raw net.Conn, as use) (*conn, error) {
	cn := &conn{pool: c.pool, raw: raw, server: srv, used: time.Now()}
	stream := raw
	if (srv.ldaps || c.settings.StartTLS) && !(as.service && c.settings.Bind.Seal) {
		if !srv.ldaps {
			if err := startTLS(raw); err != nil {
				return nil, fmt.Errorf("starting TLS: %w", err)
			}
		}
		config, err := c.tlsFor(srv, as)
		if err != nil {
			return nil, err
		}
		secured := tls.Client(raw, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := secured.ConnectionState()
		cn.tls, stream = &state, secured
		c.pool.certified(srv, state.PeerCertificates)
	}
	cn.seal = &gssapi.Conn{Conn: stream}
	cn.stream = &boundedConn{Conn: cn.seal}
	cn.Conn = ldap.NewConn(cn.stream, cn.tls != nil)
	return cn, nil
}

// authorities are what certificates of servers are verified with. Sessions are
// resumed, which spares both sides the signatures: every user bind has a
// connection of its own. They end with the authorities that verified them.
type authorities struct {
	roots    *x509.CertPool // nil: the authorities of the system
	sessions tls.ClientSessionCache
	end      time.Time // of the certificate that expires first
}

// authorities is the CA file.
func (s Settings) authorities() *privatefile.File[authorities] {
	return &privatefile.File[authorities]{Path: s.CAFile, Forbidden: privatefile.AllRead, Most: 16 << 20, Parse: func(pem []byte) (authorities, error) {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return authorities{}, errors.New("must hold certificates in PEM form")
		}
		return authorities{roots, tls.NewLRUClientSessionCache(0), firstEnd(pem)}, nil
	}}
}

// tlsFor returns how a server is verified: by the CA file as it is now or, if
// that cannot be read, as it was last. The service account may have a certificate.
func (c *Client) tlsFor(srv *server, as use) (*tls.Config, error) {
	by := c.system
	if c.settings.CAFile != "" {
		var err error
		by, err = c.caFile.Current()
		switch {
		case err != nil && by.roots == nil:
			return nil, fmt.Errorf("ca_file: %s: %w", c.settings.CAFile, err)
		case err != nil:
			c.log.Warn("ca_file cannot be read: its last content is still used", "file", c.settings.CAFile, "error", err)
		}
	}
	config := &tls.Config{
		RootCAs:            by.roots,
		ServerName:         cmp.Or(c.settings.ServerName, srv.host),
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: by.sessions,
	}
	if as.service && c.settings.Bind.Certificate != "" {
		cert, err := c.certificate.current()
		if err != nil {
			return nil, err
		}
		config.Certificates, config.ClientSessionCache = []tls.Certificate{cert}, nil // no cache: binds of users would resume these sessions
	}
	return config, nil
}

const startTLSName = "1.3.6.1.4.1.1466.20037" // RFC 4511, section 4.14.1

// startTLS asks the server to start TLS and returns when it has agreed.
func startTLS(raw net.Conn) error {
	request := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	request.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, startTLSName, ""))
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	message.AppendChild(request)
	if _, err := raw.Write(message.Bytes()); err != nil {
		return err
	}
	// ReadPacket takes no byte more than the message, so TLS finds its own.
	reply, err := ber.ReadPacket(&boundedConn{Conn: raw})
	if err != nil {
		return err
	}
	return ldap.GetLDAPError(reply)
}

// errNoAnswer is why a request was given up.
var errNoAnswer = errors.New("no answer in time")

// do runs one request of the connection, for at most limit. go-ldap's requests
// take no context, so a request is ended by closing its connection. If the server
// is silent for longer than usual, a probe tests the server, and the request goes
// on.
func (cn *conn) do(ctx context.Context, limit time.Duration, request func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w (%v)", errNoAnswer, limit))
	defer cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = cn.raw.Close() })
	before := cn.stream.read.Load()
	silent := time.AfterFunc(cn.pool.patience(cn.server), func() {
		if cn.stream.read.Load() == before {
			cn.pool.doubt(cn.server)
		}
	})
	defer silent.Stop()
	began := time.Now()
	err := request()
	cn.pool.count(cn.server, time.Since(began), err)
	if !stop() && err != nil && !answered(err) {
		return context.Cause(ctx)
	}
	cn.used = time.Now()
	return err
}

// close ends the connection, with an unbind request if that does not block.
func (cn *conn) close() {
	_ = cn.raw.SetDeadline(time.Now().Add(time.Second))
	_ = cn.Unbind()
	_ = cn.raw.Close()
	_ = cn.Conn.Close()
}

// answered reports whether err is an answer of a server or a KDC, not a failure of
// the connection.
func answered(err error) bool {
	if _, refused := errors.AsType[*gssapi.Refusal](err); refused {
		return true
	}
	e, ok := errors.AsType[*ldap.Error](err)
	return ok && e.ResultCode < ldap.ErrorNetwork
}

// unwell reports whether err means that the server cannot answer now, so that
// another one should be asked.
func unwell(err error) bool {
	return !answered(err) || ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable)
}

// spent reports whether err means that another connection is needed. Active Directory
// answers "operations error" on one that has lost its bind.
func spent(err error) bool {
	return err != nil && (unwell(err) || ldap.IsErrorAnyOf(err, ldap.LDAPResultOperationsError))
}

// Bounds on one message of a server. The decoder needs about 200 bytes for each
// element, so the number of elements is bounded too.
const (
	maxMessage  = 16 << 20
	maxElements = 400_000
)

// A boundedConn fails to read a message that is too long, has too many elements, or
// is not BER as LDAP allows it (RFC 4511, section 5.1: definite lengths only).
type boundedConn struct {
	net.Conn
	scan berScanner
	read atomic.Int64 // bytes so far
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	if bad := c.scan.write(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// A berScanner checks a stream of BER elements without storing it.
type berScanner struct {
	header   []byte // of the element being read, as far as it came
	skip     int    // bytes of contents still to come of a primitive element
	left     int    // bytes still to come of the message; 0: between messages
	elements int    // of the message
}

func (s *berScanner) write(p []byte) error {
	for len(p) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(p))
			s.skip -= n
			s.left -= n
			p = p[n:]
			continue
		}
		s.header = append(s.header, p[0])
		p = p[1:]
		h := s.header
		length, more := 0, 0 // more bytes than the first that make the length
		if len(h) > 1 {
			length = int(h[1])
		}
		if length >= 0x80 {
			length, more = 0, length&0x7f
			for _, b := range h[2:] {
				length = length<<8 | int(b)
			}
		}
		switch {
		case h[0]&0x1f == 0x1f:
			return errors.New("element with a long tag")
		case more > 4 || len(h) > 1 && h[1] == 0x80:
			return errors.New("element with a length that LDAP does not allow")
		case len(h) < 2+more:
			continue
		}
		s.header = h[:0]
		if s.left > 0 {
			s.left -= len(h)
		} else if s.left, s.elements = length, 0; length > maxMessage {
			return fmt.Errorf("message of %d bytes is longer than %d", length, maxMessage)
		}
		if s.elements++; s.elements > maxElements {
			return fmt.Errorf("message has more than %d elements", maxElements)
		}
		if length > s.left {
			return errors.New("element is longer than its message")
		}
		if h[0]&0x20 == 0 {
			s.skip = length
		}
	}
	return nil
}
