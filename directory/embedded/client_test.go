package embedded

import (
	"errors"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// dial connects with go-ldap, as the product's own client does.
func dial(t testing.TB, s *Server) *ldap.Conn {
	t.Helper()
	nc, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := ldap.NewConn(nc, false)
	c.Start()
	c.SetTimeout(30 * time.Second)
	t.Cleanup(func() { c.Close() })
	return c
}

// bound is a connection that is bound already.
func bound(t testing.TB, s *Server, dn, password string) *ldap.Conn {
	t.Helper()
	c := dial(t, s)
	if err := c.Bind(dn, password); err != nil {
		t.Fatalf("bind as %s: %v", dn, err)
	}
	return c
}

func asService(t testing.TB, s *Server) *ldap.Conn {
	dn, password := s.Service()
	return bound(t, s, dn, password)
}

// An outcome is a result code and what the password policy control says: -1 is
// no error, and no control is the same.
type outcome struct {
	Code    uint16
	Control int8
}

var fine = outcome{ldap.LDAPResultSuccess, -1}

// tryBind binds with the control of the password policy.
func tryBind(c *ldap.Conn, dn, password string) (outcome, *ldap.ControlBeheraPasswordPolicy) {
	res, err := c.SimpleBind(ldap.NewSimpleBindRequest(dn, password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}))
	o := outcome{codeOf(err), -1}
	if res == nil {
		return o, nil
	}
	ctl, _ := ldap.FindControl(res.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
	if ctl != nil {
		o.Control = ctl.Error
	}
	return o, ctl
}

// tryChange is the operation of RFC 3062 with the control of the password
// policy; an empty part is left out.
func tryChange(c *ldap.Conn, dn, old, fresh string) outcome {
	seq := ber.NewSequence("")
	for tag, part := range []string{dn, old, fresh} {
		if part != "" {
			seq.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, ber.Tag(tag), part, ""))
		}
	}
	value := ber.Encode(ber.ClassContext, ber.TypePrimitive, 1, nil, "")
	value.AppendChild(seq)
	_, err := c.Extended(&ldap.ExtendedRequest{
		Name:     oidPasswordModify,
		Value:    value,
		Controls: []ldap.Control{ldap.NewControlBeheraPasswordPolicy()},
	})
	o := outcome{codeOf(err), -1}
	var e *ldap.Error
	if errors.As(err, &e) && e.Packet != nil && len(e.Packet.Children) > 2 {
		for _, child := range e.Packet.Children[2].Children {
			if ctl, err := ldap.DecodeControl(child); err == nil {
				o.Control = ctl.(*ldap.ControlBeheraPasswordPolicy).Error
			}
		}
	}
	return o
}

// codeOf is the result code in an error of go-ldap.
func codeOf(err error) uint16 {
	var e *ldap.Error
	if errors.As(err, &e) {
		return e.ResultCode
	}
	if err != nil {
		return ldap.ErrorUnexpectedResponse
	}
	return ldap.LDAPResultSuccess
}

// attribute reads an attribute of an entry; nil if it cannot be read.
func attribute(t testing.TB, c *ldap.Conn, dn, name string) []string {
	t.Helper()
	res, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{name}, nil))
	if err != nil {
		t.Fatalf("read %s of %s: %v", name, dn, err)
	}
	if len(res.Entries) != 1 {
		t.Fatalf("read %s of %s: got %d entries want 1", name, dn, len(res.Entries))
	}
	if values := res.Entries[0].GetAttributeValues(name); len(values) > 0 {
		return values
	}
	return nil
}
