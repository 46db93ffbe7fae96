package ldap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/directory/ldap"
)

// fakeServer answers each request of each connection with what reply returns,
// and closes the connection after nil.
func fakeServer(t testing.TB, reply func(request *ber.Packet) []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveFake(nc, reply) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "ldap://" + l.Addr().String()
}

func serveFake(nc net.Conn, reply func(*ber.Packet) []byte) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		request, err := ber.ReadPacket(nc)
		if err != nil {
			return
		}
		b := reply(request)
		if b == nil {
			return
		}
		if _, err := nc.Write(b); err != nil {
			return
		}
	}
}

// result is an LDAPResult of the kind tag.
func result(request *ber.Packet, tag ber.Tag, code int, text string, more ...*ber.Packet) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, ""))
	return message(request, append([]*ber.Packet{op}, more...)...)
}

func message(request *ber.Packet, parts ...*ber.Packet) []byte {
	m := ber.NewSequence("")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, request.Children[0].Value, ""))
	for _, p := range parts {
		m.AppendChild(p)
	}
	return m.Bytes()
}

// item is a search result entry with one attribute of n values.
func item(request *ber.Packet, dn, name, value string, n int) []byte {
	str := func(s string) *ber.Packet {
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
	}
	attribute := func(name, value string, n int) *ber.Packet {
		a, set := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for range n {
			set.AppendChild(str(value))
		}
		a.AppendChild(str(name))
		a.AppendChild(set)
		return a
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, 4, nil, "")
	op.AppendChild(str(dn))
	list := ber.NewSequence("")
	list.AppendChild(attribute("uid", "alice", 1))
	list.AppendChild(attribute("entryUUID", "1", 1))
	list.AppendChild(attribute(name, value, n))
	op.AppendChild(list)
	return message(request, op)
}

const (
	bindResponse = 1
	searchDone   = 5
)

func fakeSettings(url string) ldap.Settings {
	return ldap.Settings{
		Kind: "openldap", URLs: []string{url}, Insecure: true, Base: "dc=example,dc=test", BindDN: "cn=svc", BindPassword: "secret",
		ConnectTimeout: time.Second, RequestTimeout: time.Second, ProbeEvery: time.Hour,
	}
}

// TestHostileServer has a server that answers wrongly in many ways. Every result
// is an error or a user, in bounded memory.
func TestHostileServer(t *testing.T) {
	bindOK := func(reply func(*ber.Packet) []byte) func(*ber.Packet) []byte {
		return func(r *ber.Packet) []byte {
			if len(r.Children) > 1 && r.Children[1].Tag == 0 {
				return result(r, bindResponse, 0, "")
			}
			return reply(r)
		}
	}
	tests := []struct {
		name  string
		reply func(*ber.Packet) []byte
		user  bool
	}{
		{"closes", func(*ber.Packet) []byte { return nil }, false},
		{"speaks HTTP", func(*ber.Packet) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, false},
		{"zeros", func(*ber.Packet) []byte { return make([]byte, 4096) }, false},
		{"announces 2 GiB", func(*ber.Packet) []byte { return []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff} }, false},
		{"bind without result", func(r *ber.Packet) []byte { return message(r) }, false},
		{"bind answered twice, for another", func(r *ber.Packet) []byte {
			b := result(r, bindResponse, 0, "")
			b[4] = 99
			return bytes.Repeat(b, 2)
		}, false},
		{"bind refused", func(r *ber.Packet) []byte { return result(r, bindResponse, 49, "") }, false},
		{"search closes", bindOK(func(*ber.Packet) []byte { return nil }), false},
		{"search busy", bindOK(func(r *ber.Packet) []byte { return result(r, searchDone, 51, "") }), false},
		{"search refused", bindOK(func(r *ber.Packet) []byte { return result(r, searchDone, 50, strings.Repeat("x", 1<<20)) }), false},
		{"entry of nothing", bindOK(func(r *ber.Packet) []byte {
			return message(r, ber.Encode(ber.ClassApplication, ber.TypeConstructed, 4, nil, ""))
		}), false},
		{"1 MiB value", bindOK(func(r *ber.Packet) []byte {
			return append(item(r, "uid=alice", "sshPublicKey", strings.Repeat("k", 1<<20), 1), result(r, searchDone, 0, "")...)
		}), true},
		{"endless values", bindOK(func(r *ber.Packet) []byte {
			return append(item(r, "uid=alice", "sshPublicKey", "", 500_000), result(r, searchDone, 0, "")...)
		}), false},
		{"endless entries", bindOK(func(r *ber.Packet) []byte {
			return bytes.Repeat(item(r, "uid=alice", "sshPublicKey", "", 1), 100_000)
		}), false},
		{"no DN", bindOK(func(r *ber.Packet) []byte {
			return append(item(r, "", "cn", "x", 1), result(r, searchDone, 0, "")...)
		}), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, fakeSettings(fakeServer(t, tt.reply)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			u, err := c.Lookup(t.Context(), "alice")
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 300<<20 {
				t.Errorf("heap grew by %d MiB, want less than 300", grown>>20)
			}
			if tt.user {
				// The later searches meet the same fake and find groups of it.
				if err != nil && directory.Refused(err) {
					t.Errorf("Lookup = %v, want a user or no answer", err)
				}
				return
			}
			if err == nil || errors.Is(err, directory.ErrNoUser) {
				t.Errorf("Lookup = %v, %v; want an error, not ErrNoUser", u, err)
			}
			if err := c.Authenticate(t.Context(), &directory.User{Name: "alice", DN: "uid=alice"}, "pw"); err == nil && !strings.HasPrefix(tt.name, "search") && !strings.Contains(tt.name, "endless") && tt.name != "entry of nothing" {
				t.Error("Authenticate = nil, want an error")
			}
		})
	}
}

// TestHangs lets a server say nothing, at every point where it could.
func TestHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := "ldap://" + l.Addr().String()
	tests := []struct {
		name string
		edit func(*ldap.Settings)
	}{
		{"bind", func(*ldap.Settings) {}},
		{"StartTLS", func(s *ldap.Settings) { s.StartTLS = true }},
		{"TLS handshake", func(s *ldap.Settings) { s.URLs[0] = strings.Replace(url, "ldap://", "ldaps://", 1) }},
		{"search", func(s *ldap.Settings) { s.BindDN = "" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakeSettings(url)
			tt.edit(&s)
			s.ConnectTimeout, s.RequestTimeout = 50*time.Millisecond, 50*time.Millisecond
			c := open(t, s)
			if _, err := c.Lookup(t.Context(), "alice"); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), "no answer in time") {
				t.Errorf("Lookup = %v, want no answer in time", err)
			}
			// As soon as that is known, nobody waits for it any more.
			var err error
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
				_, err = c.Lookup(ctx, "alice")
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					break
				}
			}
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("later Lookup = %v, want the first one's error at once", err)
			}
		})
	}
}

// TestStartTLSRefused proves that nothing is sent in the clear when the server
// does not start TLS.
func TestStartTLSRefused(t *testing.T) {
	var mu sync.Mutex
	var got []string
	url := fakeServer(t, func(r *ber.Packet) []byte {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(r.Children[1].Tag))
		return result(r, 24, 2, "not here")
	})
	s := fakeSettings(url)
	s.Insecure, s.StartTLS = false, true
	c := open(t, s)
	_, err := c.Lookup(t.Context(), "alice")
	if err == nil || !strings.Contains(err.Error(), "starting TLS") || !strings.Contains(err.Error(), "not here") {
		t.Errorf("Lookup = %v, want the server's words", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, tag := range got {
		if tag != "23" { // extended request
			t.Errorf("the server got requests %v, want nothing but StartTLS", got)
		}
	}
}
