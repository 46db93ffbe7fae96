package embedded

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// certificate is a pair of configurations that trust each other.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// TestTLS wants one port to answer in the clear, over StartTLS and over ldaps.
func TestTLS(t *testing.T) {
	server, client := certificate(t)
	s := open(t, Settings{TLS: server})
	bind := func(c *ldap.Conn) {
		t.Helper()
		if err := c.Bind(alice, "alice-demo-1"); err != nil {
			t.Errorf("bind: %v", err)
		}
		_, state := c.TLSConnectionState()
		if state && attribute(t, c, alice, "uid")[0] != "alice" {
			t.Error("search over TLS: no alice")
		}
	}
	bind(dial(t, s))

	upgraded := dial(t, s)
	if err := upgraded.StartTLS(client); err != nil {
		t.Fatal(err)
	}
	bind(upgraded)

	secure, err := ldap.DialURL(strings.Replace(s.URL(), "ldap:", "ldaps:", 1), ldap.DialWithTLSConfig(client))
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	bind(secure)
	if _, err := secure.Extended(ldap.NewExtendedRequest(oidStartTLS, nil)); codeOf(err) != ldap.LDAPResultProtocolError {
		t.Errorf("StartTLS over TLS: got %v want code 2", err)
	}
}

func TestNoCertificate(t *testing.T) {
	s := open(t, Settings{})
	if _, err := dial(t, s).Extended(ldap.NewExtendedRequest(oidStartTLS, nil)); codeOf(err) != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("StartTLS: got %v want code 53", err)
	}
}

// request makes the bytes of a message.
func request(id int64, op *ber.Packet) []byte {
	return sequence(number(ber.TagInteger, id), op).Bytes()
}

// startTLSRequest and the others are what clients send.
var (
	startTLSRequest = request(1, constructed(ber.ClassApplication, 23, tagged(0, oidStartTLS)))
	whoAmIRequest   = request(2, constructed(ber.ClassApplication, 23, tagged(0, oidWhoAmI)))
	bindRequest     = request(3, constructed(ber.ClassApplication, 0, number(ber.TagInteger, 3), octets(alice), tagged(0, "alice-demo-1")))
)

// raw connects without a client library.
func raw(t *testing.T, s *Server) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc
}

// TestInjection wants a request that was sent in the clear behind StartTLS never
// to be served: it may be of somebody in between.
func TestInjection(t *testing.T) {
	server, _ := certificate(t)
	s := open(t, Settings{TLS: server})
	nc := raw(t, s)
	if _, err := nc.Write(append(bytes.Clone(startTLSRequest), whoAmIRequest...)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(bytes.NewReader(got))
	for _, want := range []int64{1, 0} { // the answer, then the notice of disconnection
		m, err := readMessage(r, maxRequest)
		if err != nil || m.id != want {
			t.Fatalf("got %+v, %v want message %d", m, err, want)
		}
	}
	if r.Buffered() > 0 {
		t.Error("more was answered")
	}
}

// TestGarbage wants the server to end a connection that sends nonsense, and to
// go on.
func TestGarbage(t *testing.T) {
	s := open(t, Settings{})
	deep := bytes.Repeat([]byte{0x30, 0x80}, 100)
	nested := request(1, nest(maxNesting+1))
	tests := map[string][]byte{
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"TLS without TLS":   {0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0},
		"huge":              {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1},
		"unbound and large": {0x30, 0x82, 0x7f, 0xff, 2, 1},
		"indefinite":        deep,
		"too deep":          nested,
		"no operation":      sequence(number(ber.TagInteger, 1)).Bytes(),
		"unknown operation": request(1, constructed(ber.ClassApplication, 29)),
		"negative id":       request(-1, constructed(ber.ClassApplication, 0)),
		"inner length":      {0x30, 5, 2, 1, 1, 0x60, 9},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			nc := raw(t, s)
			if _, err := nc.Write(data); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(nc) // a reset is as good an end
			if len(got) > 0 {
				m, err := readMessage(bufio.NewReader(bytes.NewReader(got)), maxRequest)
				if err != nil || m.id != 0 {
					t.Errorf("got %+v, %v want the notice of disconnection", m, err)
				}
			}
		})
	}
	bound(t, s, alice, "alice-demo-1")
}

// nest is a sequence of sequences.
func nest(depth int) *ber.Packet {
	p := constructed(ber.ClassApplication, 3)
	for range depth {
		p = constructed(ber.ClassApplication, 3, p)
	}
	return p
}

// TestMalformed wants requests that are LDAP messages, but wrong inside, to be
// answered, and the connection to go on.
func TestMalformed(t *testing.T) {
	s := open(t, Settings{})
	c := &conn{Server: s, log: s.log, kind: serviceAccount, bound: serviceDN}
	for tag, op := range operations {
		for _, inside := range [][]*ber.Packet{nil, {octets("")}, {number(ber.TagInteger, 3)}, {octets("dc=org"), sequence()}, {sequence(), sequence(sequence())}} {
			p, err := decodeBER(request(1, constructed(ber.ClassApplication, tag, inside...)))
			if err != nil {
				t.Fatal(err)
			}
			m, err := parseMessage(p)
			if err != nil {
				t.Fatal(err)
			}
			r := c.perform(t.Context(), op, m)
			if r.code != protocolError && r.code != unwillingToPerform {
				t.Errorf("%s %v: got code %d want 2 or 53", op.name, inside, r.code)
			}
		}
	}
}

// TestMaxConnections wants one more than allowed to be turned away, until there
// is room again.
func TestMaxConnections(t *testing.T) {
	s := open(t, Settings{MaxConnections: 1})
	first := raw(t, s)
	if _, err := first.Write(whoAmIRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := readMessage(bufio.NewReader(first), maxRequest); err != nil {
		t.Fatal(err)
	}
	second := raw(t, s)
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("second connection: got %d bytes want its end", n)
	}
	first.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		third := raw(t, s)
		_, _ = third.Write(whoAmIRequest)
		if _, err := readMessage(bufio.NewReader(third), maxRequest); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no room after the first connection ended")
		}
	}
}

// TestIdle wants a bound connection that says nothing to end.
func TestIdle(t *testing.T) {
	s := open(t, Settings{IdleTimeout: time.Millisecond})
	nc := raw(t, s)
	if _, err := nc.Write(bindRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(nc); err != nil {
		t.Errorf("got %v want the end of the connection", err)
	}
}

// TestConfidential wants passwords in the clear from loopback only.
func TestConfidential(t *testing.T) {
	tests := []struct {
		remote net.Addr
		secure bool
		want   bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, false, true},
		{&net.TCPAddr{IP: net.IPv6loopback}, false, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, false, false},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, true, true},
	}
	for _, tt := range tests {
		c := &conn{nc: addressed{remote: tt.remote}, secure: tt.secure}
		if got := c.confidential(); got != tt.want {
			t.Errorf("%v, TLS %t: got %t want %t", tt.remote, tt.secure, got, tt.want)
		}
	}
}

// addressed is a connection that only has an address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr           { return a.remote }
func (addressed) SetWriteDeadline(time.Time) error { return nil }

// TestClose wants Close to end connections, and to be good to call twice.
func TestClose(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, alice, "alice-demo-1")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := c.WhoAmI(nil); err == nil {
		t.Error("the connection still works")
	}
}

// FuzzRequest serves whatever comes, as the service account and as nobody.
func FuzzRequest(f *testing.F) {
	f.Add(bindRequest)
	f.Add(whoAmIRequest)
	f.Add(request(4, constructed(ber.ClassApplication, 3, octets(base), number(ber.TagEnumerated, 2), number(ber.TagEnumerated, 0),
		number(ber.TagInteger, 0), number(ber.TagInteger, 0), ber.NewBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, false, ""),
		tagged(7, "uid"), sequence(octets("*")))))
	f.Add(request(5, constructed(ber.ClassApplication, 6, octets(alice), sequence(sequence(number(ber.TagEnumerated, 0),
		sequence(octets("sshPublicKey"), constructed(ber.ClassUniversal, ber.TagSet, octets("k"))))))))
	f.Add(request(6, constructed(ber.ClassApplication, 14, octets(alice), sequence(octets("sn"), octets("x")))))
	f.Add(request(7, constructed(ber.ClassApplication, 23, tagged(0, oidPasswordModify), tagged(1, string(sequence(tagged(0, alice), tagged(1, "a"), tagged(2, "b")).Bytes())))))
	s := open(f, Settings{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []identityKind{anonymous, serviceAccount} {
			c := &conn{Server: s, log: s.log, kind: kind, nc: addressed{remote: &net.TCPAddr{}}, out: bufio.NewWriter(io.Discard)}
			r := bufio.NewReader(bytes.NewReader(data))
			for {
				m, err := readMessage(r, maxRequest)
				if err != nil {
					break
				}
				op, known := operations[m.op.Tag]
				if !known {
					break
				}
				answer := c.perform(t.Context(), op, m).envelope(m.id, op.reply).Bytes()
				if _, err := decodeBER(answer); err != nil {
					t.Errorf("own answer %x: %v", answer, err)
				}
			}
		}
	})
}
