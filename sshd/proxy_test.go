package sshd

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
)

// proxiedFrom makes a server behind a balancer on loopback.
func proxiedFrom(t *testing.T, trusted string) *fixture {
	return start(t, func(f *fixture) { f.ProxyFrom = []netip.Prefix{netip.MustParsePrefix(trusted)} })
}

func TestProxyProtocol(t *testing.T) {
	const v2Local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	tests := []struct {
		name, trusted, header string
		remote                string // in events; "" if there is no login
	}{
		{"version 1", "127.0.0.0/8", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 22\r\n", "192.0.2.7:4711"},
		{"version 1, IPv6", "127.0.0.0/8", "PROXY TCP6 2001:db8::7 ::1 4711 22\r\n", "[2001:db8::7]:4711"},
		{"version 2", "127.0.0.0/8", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x67\x00\x16", "192.0.2.7:4711"},
		{"no header", "127.0.0.0/8", "", ""},
		{"broken header", "127.0.0.0/8", "PROXY TCP4 nonsense\r\n", ""},
		{"not trusted", "192.0.2.0/24", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 22\r\n", ""},
		{"local", "127.0.0.0/8", v2Local, "127.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := proxiedFrom(t, tt.trusted)
			nc, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(nc, tt.header)
			sc, channels, requests, err := ssh.NewClientConn(nc, f.addr, &ssh.ClientConfig{
				User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(f.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
			})
			if (err == nil) != (tt.remote != "") {
				t.Fatalf("login = %v, want from %q", err, tt.remote)
			}
			if err != nil {
				return
			}
			c := ssh.NewClient(sc, channels, requests)
			defer c.Close()
			f.events.mu.Lock()
			defer f.events.mu.Unlock()
			for _, e := range f.events.events {
				if !strings.HasPrefix(e.Remote.String(), tt.remote) {
					t.Errorf("%v from %s, want %s", e.Type, e.Remote, tt.remote)
				}
			}
		})
	}
}

func TestProbesAreCounted(t *testing.T) {
	for name, header := range map[string]string{
		"bare":             "",
		"version 2, local": "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		f := proxiedFrom(t, "127.0.0.0/8")
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, header)
		nc.Close()
		eventually(t, "the probe is seen", func() bool {
			if got := f.events.reasons(event.ConnectionClosed); len(got) > 0 {
				t.Fatalf("%s: logged as a connection that ended: %q", name, got)
			}
			return len(f.events.reasons(event.ProbeSeen)) > 0
		})
	}
}

// TestBadHeadersAreLogged: connections of a misconfigured balancer are closed,
// and the log says so. Otherwise nobody would know why no login works.
func TestBadHeadersAreLogged(t *testing.T) {
	for name, header := range map[string]string{
		"none":             "SSH-2.0-client\r\n",
		"broken":           "PROXY TCP4 nonsense\r\n",
		"too long":         "PROXY TCP4 " + strings.Repeat("1", 200),
		"version 2 cut":    "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0",
		"version 3":        "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x67\x00\x16",
		"only a beginning": "PRO",
	} {
		f := proxiedFrom(t, "127.0.0.0/8")
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(nc, header)
		nc.(*net.TCPConn).CloseWrite()
		if said, _ := io.ReadAll(nc); len(said) > 0 {
			t.Errorf("%s: the server said %q", name, said)
		}
		nc.Close()
		f.hangUp()
		if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{"proxy_header"}) {
			t.Errorf("%s: reasons = %q", name, got)
		}
	}
}

// strict is a server behind a balancer on loopback that holds everything against
// everybody.
func strict(t *testing.T) *fixture {
	return start(t, func(f *fixture) {
		f.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		s := state.DefaultSettings()
		s.Exempt = nil
		f.Gate.State = state.NewMemory(s)
	})
}

// behindBalancer logs in through a header that says where the client is.
func (f *fixture) behindBalancer(t *testing.T, client string, method ssh.AuthMethod) error {
	t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(nc, "PROXY TCP4 %s 127.0.0.1 4711 22\r\n", client)
	sc, _, _, err := ssh.NewClientConn(nc, f.addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err == nil {
		sc.Close()
	}
	return err
}

// TestFarewellBehindBalancer: a balancer gets the last message of the server, although
// it has sent data that the server did not read.
func TestFarewellBehindBalancer(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Behind(tcp, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	defer l.Close()
	balancer, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer balancer.Close()
	fmt.Fprint(balancer, "PROXY TCP4 192.0.2.7 127.0.0.1 4711 22\r\nunread")
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(nc, "bye")
	half, ok := nc.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		t.Fatalf("%v, %T cannot be closed for writing only", err, nc)
	}
	if last, err := io.ReadAll(balancer); string(last) != "bye" || err != nil {
		t.Errorf("the balancer reads %q, %v", last, err)
	}
}

func TestTheBalancerIsNeverBanned(t *testing.T) {
	f := strict(t)
	const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, first := range []string{"PROXY nonsense\r\n", local + "GET / HTTP/1.0\r\n\r\n", local + "SSH-2.0-probe\r\n", "PROXY UNKNOWN\r\nGET /", local} {
		for range 20 {
			nc, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(nc, first)
			nc.Close()
		}
	}
	f.hangUp()
	for range 4 { // one client behind it guesses
		f.behindBalancer(t, "192.0.2.66", ssh.Password("x"))
	}
	f.hangUp()
	if err := f.behindBalancer(t, "192.0.2.66", ssh.PublicKeys(f.key)); err == nil {
		t.Error("a client that guesses got in")
	}
	if err := f.behindBalancer(t, "192.0.2.7", ssh.PublicKeys(f.key)); err != nil {
		t.Errorf("another client behind the same balancer: %v", err)
	}
	f.hangUp()
	if got := f.events.reasons(event.ConnectionRefused); !slices.Equal(got, []string{"source_penalized"}) {
		t.Errorf("refused: %q, want the one client that guesses", got)
	}
}

// TestTrueAddressInRulesAndKeys has both look at the client behind the balancer.
func TestTrueAddressInRulesAndKeys(t *testing.T) {
	f := strict(t)
	f.people.users["alice"].Keys[0].From = []string{"192.0.2.7"}
	resolve := f.Gate.Rules
	var asked []netip.Addr
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		asked = append(asked, q.Remote)
		return resolve.Resolve(q)
	})
	if err := f.behindBalancer(t, "192.0.2.8", ssh.PublicKeys(f.key)); err == nil {
		t.Error("a key was taken from where it may not be used")
	}
	if err := f.behindBalancer(t, "192.0.2.7", ssh.PublicKeys(f.key)); err != nil {
		t.Error(err)
	}
	f.hangUp()
	if len(asked) != 1 || asked[0].String() != "192.0.2.7" {
		t.Errorf("the rules were asked about %v", asked)
	}
}

func TestSourcesThatMisbehaveAreKeptOut(t *testing.T) {
	f := start(t, func(f *fixture) {
		s := state.DefaultSettings()
		s.Exempt = nil
		f.Gate.State = state.NewMemory(s)
	})
	for range 4 { // 5 s each, 15 s keep out
		f.dial(t, "alice", ssh.Password("x"))
	}
	f.hangUp()
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		t.Error("the right key got in, from a source that guesses")
	}
	f.hangUp()
	if got := f.events.reasons(event.ConnectionRefused); !slices.Equal(got, []string{"source_penalized"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestStrangersAreLetGo(t *testing.T) {
	f := start(t)
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n")
	io.Copy(io.Discard, nc) // until the server closes
	f.hangUp()
	if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{"not_ssh"}) {
		t.Errorf("reasons = %q", got)
	}
}

// accepts is a listener with one connection, which comes from an address.
type accepts struct {
	net.Listener
	net.Conn
	from net.TCPAddr
}

func (a accepts) Accept() (net.Conn, error) { return a, nil }
func (a accepts) RemoteAddr() net.Addr      { return &a.from }
func (a accepts) Close() error              { return nil }

// TestLinkLocalBalancer: the zone of an address says which interface it is on, and
// networks have none.
func TestLinkLocalBalancer(t *testing.T) {
	from := net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 4711, Zone: "eth0"}
	nc, err := Behind(accepts{from: from}, []netip.Prefix{netip.MustParsePrefix("fe80::/10")}).Accept()
	if _, ok := nc.(*proxied); !ok || err != nil {
		t.Errorf("a connection from %v is %T, %v", &from, nc, err)
	}
}
