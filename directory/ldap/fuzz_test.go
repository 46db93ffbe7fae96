package ldap_test

import (
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/directory/ldap"
)

// FuzzAnswers lets a server answer every request with the same bytes after the
// number of the message: results, entries and controls that are malformed. The
// client must survive all of them, and only a bind that succeeded may count as
// a success.
func FuzzAnswers(f *testing.F) {
	request := ber.NewSequence("")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(1), ""))
	tail := func(message []byte) []byte { // all but the header and the number
		p, err := ber.DecodePacketErr(message)
		if err != nil {
			f.Fatal(err)
		}
		var b []byte
		for _, child := range p.Children[1:] {
			b = append(b, child.Bytes()...)
		}
		return b
	}
	const changed = 24
	for _, seed := range [][]byte{
		result(request, bindResponse, 0, ""),
		result(request, bindResponse, 49, "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 532, v4563"),
		result(request, searchDone, 0, "", pages("cookie")),
		result(request, changed, 19, "0000052D: too short"),
		item(request, "uid=alice,dc=example", "memberOf;range=0-1", "cn=x", 2),
		item(request, "uid=alice,dc=example", "pwdChangedTime", "20261122101500Z", 1),
	} {
		f.Add(tail(seed))
	}
	var reply atomic.Pointer[[]byte]
	l := fakeServer(f, func(r *ber.Packet) []byte {
		number := ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, r.Children[0].Value, "").Bytes()
		m := ber.Encode(ber.ClassUniversal, ber.TypePrimitive, ber.TagSequence, nil, "")
		m.Data.Write(number)
		m.Data.Write(*reply.Load())
		b := m.Bytes()
		b[0] |= byte(ber.TypeConstructed)
		return b
	})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) > 1<<16 {
			return
		}
		reply.Store(&bytes)
		s := fakeSettings(l)
		s.BindDN, s.ConnectTimeout, s.RequestTimeout = "", 100*time.Millisecond, 100*time.Millisecond
		c, err := ldap.Open(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if u, err := c.Lookup(t.Context(), "alice"); (u == nil) == (err == nil) {
			t.Errorf("Lookup = %v, %v; want a user or an error", u, err)
		}
		u := &directory.User{Name: "alice", DN: "uid=alice", State: directory.State{Status: directory.StatusActive}}
		if err := c.Authenticate(t.Context(), u, "pw"); err == nil && !succeeded(bytes) {
			t.Errorf("Authenticate = nil after the answer %x, want an error", bytes)
		}
		_ = c.ChangePassword(t.Context(), u, "pw", "new")
	})
}

// succeeded reports whether bytes begin with a result of success.
func succeeded(bytes []byte) bool {
	p, err := ber.DecodePacketErr(bytes)
	if err != nil || len(p.Children) == 0 {
		return false
	}
	code, ok := p.Children[0].Value.(int64)
	return ok && code == 0
}

// pages is the control of paged results with a cookie (RFC 2696).
func pages(cookie string) *ber.Packet {
	value := ber.NewSequence("")
	value.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(0), ""))
	value.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, cookie, ""))
	control := ber.NewSequence("")
	control.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "1.2.840.113556.1.4.319", ""))
	control.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, string(value.Bytes()), ""))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(control)
	return controls
}
