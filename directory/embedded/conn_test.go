package embedded

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// request makes the bytes of a message.
func request(id int64, op *ber.Packet) []byte {
	return sequence(number(ber.TagInteger, id), op).Bytes()
}

// tagged makes an OCTET STRING with a context tag.
func tagged(tag ber.Tag, s string) *ber.Packet {
	return ber.NewString(ber.ClassContext, ber.TypePrimitive, tag, s, "")
}

// unknownRequest and bindRequest are what clients send.
var (
	unknownRequest = request(2, constructed(ber.ClassApplication, 23, tagged(0, "1.3.6.1.4.1.4203.1.11.3")))
	bindRequest    = request(3, constructed(ber.ClassApplication, 0, number(ber.TagInteger, 3), octets(alice), tagged(0, "alice-demo-1")))
)

// raw connects without a client library.
func raw(t *testing.T, s *Server) net.Conn {
	t.Helper()
	nc, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc
}

// TestGarbage checks that the server ends a connection that sends nonsense,
// and continues to serve others.
func TestGarbage(t *testing.T) {
	s := open(t, Settings{})
	deep := bytes.Repeat([]byte{0x30, 0x80}, 100)
	tests := map[string][]byte{
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"TLS":               {0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0},
		"huge":              {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1},
		"indefinite":        deep,
		"no operation":      sequence(number(ber.TagInteger, 1)).Bytes(),
		"unknown operation": request(1, constructed(ber.ClassApplication, 29)),
		"huge id":           request(1<<31, constructed(ber.ClassApplication, 23, tagged(0, "1"))),
		"negative id":       request(-1, constructed(ber.ClassApplication, 0)),
		"inner length":      {0x30, 5, 2, 1, 1, 0x60, 9},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			nc := raw(t, s)
			go func() { _, _ = nc.Write(data) }() // the server may stop reading in the middle
			if got, err := io.ReadAll(nc); err != nil || len(got) > 0 {
				t.Errorf("got %q, %v want the end of the connection", got, err)
			}
		})
	}
	bound(t, s, alice, "alice-demo-1")
}

// TestMalformed checks that LDAP messages with malformed content are answered,
// and that the connection continues.
func TestMalformed(t *testing.T) {
	s := open(t, Settings{})
	c := &conn{Server: s, kind: serviceAccount}
	for tag, op := range operations {
		for _, inside := range [][]*ber.Packet{nil, {octets("")}, {number(ber.TagInteger, 3)}, {octets("dc=org"), sequence()}, {sequence(), sequence(sequence())}} {
			m, err := readMessage(bufio.NewReader(bytes.NewReader(request(1, constructed(ber.ClassApplication, tag, inside...)))))
			if err != nil {
				t.Fatal(err)
			}
			r := c.perform(t.Context(), op, m)
			if r.code != ldap.LDAPResultProtocolError && r.code != ldap.LDAPResultUnwillingToPerform {
				t.Errorf("%s %v: got code %d want 2 or 53", op.name, inside, r.code)
			}
		}
	}
}

// TestPort serves clients of a port, which ends with the server.
func TestPort(t *testing.T) {
	s := open(t, Settings{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	c, err := ldap.DialURL("ldap://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(alice, "alice-demo-1"); err != nil {
		t.Errorf("bind: %v", err)
	}
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	if err := s.Serve(broken); err == nil {
		t.Error("Serve of a closed port = nil want an error")
	}
	s.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v want nil after Close", err)
	}
	if nc, err := net.Dial("tcp", l.Addr().String()); err == nil {
		nc.Close()
		t.Error("the port is open after Close")
	}
}

// sink is a connection that takes anything.
type sink struct{ net.Conn }

func (sink) SetWriteDeadline(time.Time) error { return nil }

// TestClose checks that Close ends connections, and may be called twice.
func TestClose(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, alice, "alice-demo-1")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := c.Bind(alice, "alice-demo-1"); err == nil {
		t.Error("the connection still works")
	}
	if nc, err := s.Dial(t.Context()); err == nil {
		nc.Close()
		t.Error("Dial after Close: got a connection")
	}
}

// FuzzRequest serves random requests, as the service account and as an
// anonymous client.
func FuzzRequest(f *testing.F) {
	f.Add(bindRequest)
	f.Add(unknownRequest)
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
			c := &conn{Server: s, kind: kind, nc: sink{}, out: bufio.NewWriter(io.Discard)}
			r := bufio.NewReader(bytes.NewReader(data))
			for {
				m, err := readMessage(r)
				if err != nil {
					break
				}
				op, known := operations[m.op.Tag]
				if !known {
					break
				}
				answer := c.perform(t.Context(), op, m).envelope(m.id, op.reply, true).Bytes()
				if _, err := decodeBER(answer); err != nil {
					t.Errorf("own answer %x: %v", answer, err)
				}
			}
		}
	})
}
