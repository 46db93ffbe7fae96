package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
	"berth/directory/ldap/gssapi"
	"berth/sshd/privatefile"
)

// account is the name of the service account for messages; empty if there is none.
func (s Settings) account() string {
	switch {
	case s.Bind.Keytab != "":
		return cmp.Or(s.Bind.Principal, "the account in "+s.Bind.Keytab)
	case s.Bind.Certificate != "":
		return "the certificate " + s.Bind.Certificate
	}
	return s.BindDN
}

// checkBind reports mistakes in bind.
func (s Settings) checkBind(bad *mistakes) {
	b := s.Bind
	switch {
	case b == (Bind{}):
		return
	case s.BindDN != "" || s.BindPassword != "" || s.BindPasswordFile != "":
		bad.add("bind", "must not be set together with bind_dn: both are the service account")
	case b.Keytab != "" && b.Certificate != "":
		bad.add("bind", "must hold a keytab or a certificate, not both")
	case b.Keytab == "" && b.Certificate == "":
		bad.add("bind", "must hold keytab, or certificate and key")
	case b.Certificate == "" && b.Key != "":
		bad.add("bind.key", "needs bind.certificate")
	case b.Keytab == "" && (b.Principal != "" || b.Seal):
		bad.add("bind.keytab", "missing: bind.principal and bind.seal are for Kerberos")
	}
	if b.Keytab != "" {
		_, err := s.keytab().Account()
		bad.addIf(err != nil, "bind.keytab", "%s: %w", b.Keytab, err)
	}
	if b.Certificate != "" {
		if _, err := b.clientCertificate().current(); err != nil {
			errs := strings.SplitN(err.Error(), ": ", 2)
			bad.add(errs[0], "%s", errs[1])
		}
	}
	for _, raw := range s.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil:
		case b.Seal && u.Scheme == "ldaps" && u.Port() != "" && u.Port() != usualPort["ldaps"]:
			bad.add("bind.seal", "%q: where the port without TLS is cannot be known: must be ldap:// with start_tls", raw)
		case b.Certificate != "" && u.Scheme == "ldap" && !s.StartTLS:
			bad.add("bind.certificate", "%q: needs ldaps:// or start_tls", raw)
		case b.Keytab != "" && !b.Seal && u.Scheme == "ldap" && !s.StartTLS:
			bad.add("bind.keytab", "%q: needs ldaps://, start_tls or bind.seal", raw)
		}
	}
}

// passwordFile is the file with the password of the service account.
func (s Settings) passwordFile() *privatefile.File[string] {
	return &privatefile.File[string]{Path: s.BindPasswordFile, Forbidden: privatefile.GroupReads, Most: 64 << 10, Parse: privatefile.Line}
}

// bindPassword returns the password of the service account. If its file cannot be
// read now, the last one is used.
func (c *Client) bindPassword() (string, error) {
	file := c.settings.BindPasswordFile
	if file == "" {
		return c.settings.BindPassword, nil
	}
	password, err := c.password.Current()
	if err != nil && password == "" {
		return "", fmt.Errorf("bind_password_file: %s: %w", file, err)
	}
	if err != nil {
		c.log.Warn("bind_password_file cannot be read: its last content is still used", "file", file, "error", err)
	}
	return password, nil
}

// A clientCertificate is read again when one of its files has changed. It is safe for
// concurrent use.
type clientCertificate struct {
	cert, key *privatefile.File[[]byte]

	mu   sync.Mutex
	last tls.Certificate // the last pair that fits
}

func (b Bind) clientCertificate() *clientCertificate {
	whole := func(text []byte) ([]byte, error) { return text, nil }
	return &clientCertificate{
		cert: &privatefile.File[[]byte]{Path: b.Certificate, Forbidden: privatefile.AllRead, Most: 1 << 20, Parse: whole},
		key:  &privatefile.File[[]byte]{Path: b.Key, Forbidden: privatefile.GroupReads, Most: 1 << 20, Parse: whole},
	}
}

// current returns the pair. While both are being replaced they may not fit: then the
// last pair is still used.
func (c *clientCertificate) current() (tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err := c.cert.Current()
	if err != nil {
		err = fmt.Errorf("bind.certificate: %s: %w", c.cert.Path, err)
	}
	key, keyErr := c.key.Current()
	if err == nil && keyErr != nil {
		err = fmt.Errorf("bind.key: %s: %w", c.key.Path, keyErr)
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.X509KeyPair(cert, key); err == nil {
			c.last = pair
		} else {
			err = fmt.Errorf("bind.certificate: %s and %s: %w", c.cert.Path, c.key.Path, err)
		}
	}
	if len(c.last.Certificate) > 0 {
		return c.last, nil
	}
	return tls.Certificate{}, err
}

// accountDN returns the DN of the service account. Without bind_dn the server says it.
func (c *Client) accountDN(ctx context.Context) (string, error) {
	if c.settings.BindDN != "" {
		return c.settings.BindDN, nil
	}
	dn, known := c.whoAmI.recall("", c.now())
	if known {
		return dn, nil
	}
	err := c.overPool(ctx, func(cn *conn) (err error) {
		dn, err = c.boundAs(ctx, cn)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("asking who %s is: %w", c.settings.account(), err)
	}
	if _, err := directory.ParseDN(dn); err != nil || dn == "" {
		return "", fmt.Errorf("%s has no entry in the directory: the server calls it %q", c.settings.account(), dn)
	}
	c.whoAmI.remember("", dn, c.now().Add(policiesFor))
	return dn, nil
}

// boundAs asks the server who is bound over cn (RFC 4532).
func (c *Client) boundAs(ctx context.Context, cn *conn) (dn string, err error) {
	err = c.run(ctx, cn, func() error {
		res, err := cn.WhoAmI(nil)
		if err == nil {
			dn = strings.TrimPrefix(res.AuthzID, "dn:")
		}
		return err
	})
	return dn, err
}

func (s Settings) keytab() gssapi.Keytab {
	return gssapi.Keytab{File: s.Bind.Keytab, Principal: s.Bind.Principal}
}

// bindTicket binds cn with a Kerberos ticket (RFC 4752). Inside TLS the ticket is
// bound to the certificate of the server. Without TLS everything after the bind is
// sealed with the key of the ticket.
func (c *Client) bindTicket(ctx context.Context, cn *conn) error {
	service := "ldap/" + cn.server.host
	t, err := c.tickets.Get(ctx, service)
	if err != nil {
		return err
	}
	g := gssapi.NewContext(t, cn.tls)
	err = cn.do(ctx, c.settings.RequestTimeout, func() error { return cn.GSSAPIBind(g, service, "") })
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultStrongAuthRequired) && cn.tls != nil:
		return fmt.Errorf("bind with a ticket of %s: %w; the server may refuse tickets inside TLS: set bind.seal: true", t.Of(), err)
	case err != nil:
		return fmt.Errorf("bind with a ticket of %s: %w", t.Of(), err)
	}
	if cn.tls == nil {
		cn.seal.Start(g)
	}
	return nil
}
