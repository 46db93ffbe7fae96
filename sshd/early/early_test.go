package early

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ours = "SSH-2.0-Test"

// kexInit is a client's first packet with the given ciphers for both directions.
func kexInit(ciphers ...string) []byte {
	payload := append([]byte{20}, make([]byte, 16)...) // the cookie
	both := strings.Join(ciphers, ",")
	for _, list := range []string{"curve25519-sha256", "ssh-ed25519", both, both, "hmac-sha2-256", "hmac-sha2-512", "none", "", "", ""} {
		payload = append(payload, 0, 0, byte(len(list)>>8), byte(len(list)))
		payload = append(payload, list...)
	}
	return packet(append(payload, 0, 0, 0, 0, 0))
}

// packet puts payload into a packet that is not encrypted.
func packet(payload []byte) []byte {
	const padding = 8
	n := 1 + len(payload) + padding
	b := append([]byte{0, 0, byte(n >> 8), byte(n), padding}, payload...)
	return append(b, make([]byte, padding)...)
}

func TestLookSees(t *testing.T) {
	kex := kexInit("chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com")
	tests := []struct {
		name    string
		says    []string // pieces that arrive one by one
		version string
		kexInit bool
	}{
		{"all at once", []string{"SSH-2.0-A b\r\n" + string(kex)}, "SSH-2.0-A b", true},
		{"more than that", []string{"SSH-2.0-A\r\n" + string(kex) + "more"}, "SSH-2.0-A", true},
		{"byte by byte", strings.Split("SSH-1.99-A\n"+string(kex), ""), "SSH-1.99-A", true},
		{"no KEXINIT", []string{"SSH-2.0-A\r\n"}, "SSH-2.0-A", false},
		{"half a KEXINIT", []string{"SSH-2.0-A\r\n", string(kex[:50])}, "SSH-2.0-A", false},
		{"another packet", []string{"SSH-2.0-A\r\n" + string(packet([]byte("\x02ignore")))}, "SSH-2.0-A", false},
		{"KEXINIT that lies", []string{"SSH-2.0-A\r\n" + string(packet(bytes.Repeat([]byte{20}, 60)))}, "SSH-2.0-A", false},
		{"as long as may be", []string{"SSH-2.0-" + strings.Repeat("x", 255-8-2) + "\r\n" + string(kex)}, "SSH-2.0-" + strings.Repeat("x", 255-8-2), true},
		{"odd name", []string{"SSH-2.0-\x1b[31m\xff\r\n" + string(kex)}, "SSH-2.0-?[31m?", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				go io.Copy(io.Discard, client)
				go func() {
					for _, piece := range tt.says {
						io.WriteString(client, piece)
					}
				}()
				start := time.Now()
				c, h, err := Look(server, ours, start.Add(time.Minute), 300*time.Millisecond)
				if err != nil {
					t.Fatalf("Look = %v, want no error", err)
				}
				defer c.Close()
				if h.Version != tt.version || h.KexInit != tt.kexInit {
					t.Errorf("Look saw %q, KEXINIT %t; want %q, %t", h.Version, h.KexInit, tt.version, tt.kexInit)
				}
				if waited := time.Since(start); waited > 300*time.Millisecond {
					t.Errorf("Look waited %v, want no more than it may", waited)
				}
				all := strings.Join(tt.says, "")
				replayed := make([]byte, len(all))
				if _, err := io.ReadFull(c, replayed); err != nil || string(replayed) != all {
					t.Errorf("read %q (%v), want all the client said", replayed, err)
				}
			})
		})
	}
}

func TestHello(t *testing.T) {
	var h Hello
	payload, complete, err := firstPacket(append(kexInit("a", "b"), "more"...))
	if err != nil || !complete {
		t.Fatalf("firstPacket: complete %t, %v; want a packet", complete, err)
	}
	h.parse(payload)
	want := Hello{
		KexInit: true, KeyExchanges: []string{"curve25519-sha256"}, HostKeys: []string{"ssh-ed25519"},
		CiphersIn: []string{"a", "b"}, CiphersOut: []string{"a", "b"},
		MACsIn: []string{"hmac-sha2-256"}, MACsOut: []string{"hmac-sha2-512"},
	}
	if !slices.EqualFunc(fields(h), fields(want), slices.Equal[[]string]) || !h.KexInit {
		t.Errorf("parse = %+v, want %+v", h, want)
	}
}

// TestParseCutOff has messages that end early: there are all lists or none.
func TestParseCutOff(t *testing.T) {
	payload, _, err := firstPacket(kexInit("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	needed := bytes.Index(payload, []byte("hmac-sha2-512")) + len("hmac-sha2-512")
	for n := range len(payload) + 1 {
		h := Hello{Version: "SSH-2.0-x"}
		h.parse(payload[:n])
		if h.Version != "SSH-2.0-x" || h.KexInit != (n >= needed) || (len(h.KeyExchanges) > 0) != h.KexInit {
			t.Errorf("of %d bytes, %d needed: %+v", n, needed, h)
		}
	}
	var h Hello
	h.parse(append([]byte{21}, payload[1:]...))
	h.parse(bytes.Replace(payload, []byte{0, 0, 0, 3, 'a'}, []byte{255, 255, 255, 255, 'a'}, 1))
	if h.KexInit {
		t.Errorf("another message, or a list of 4 GiB: %+v", h)
	}
}

func fields(h Hello) [][]string {
	return [][]string{
		h.KeyExchanges, h.HostKeys, h.CiphersIn, h.CiphersOut,
		h.MACsIn, h.MACsOut,
	}
}

func TestCiphers(t *testing.T) {
	offered := []string{"gcm128", "gcm256", "ctr", "chacha"}
	fast := []string{"gcm128", "gcm256"}
	tests := []struct {
		in, out, want []string
	}{
		{[]string{"chacha", "ctr", "gcm128", "gcm256"}, nil, []string{"gcm128", "gcm256"}},
		{[]string{"gcm256"}, nil, []string{"gcm256"}},
		{[]string{"chacha", "ctr"}, nil, offered},
		{[]string{"gcm128"}, []string{"ctr"}, offered}, // must be in both
		{nil, nil, offered},
	}
	for _, tt := range tests {
		h := Hello{CiphersIn: tt.in, CiphersOut: tt.out}
		if tt.out == nil {
			h.CiphersOut = tt.in
		}
		if got := h.Ciphers(offered, fast); !slices.Equal(got, tt.want) {
			t.Errorf("Ciphers to a client that lists %q, %q = %q, want %q", h.CiphersIn, h.CiphersOut, got, tt.want)
		}
	}
}

func TestLookRefuses(t *testing.T) {
	tests := []struct {
		name, says string
		err        error
		text       string
	}{
		{"probe", "", ErrProbe, ""},
		{"cut", "SSH-2.0-Op", ErrClosed, ""},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrNotSSH, "speaks HTTP"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", ErrNotSSH, "speaks TLS"},
		{"PROXY", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ErrNotSSH, "PROXY protocol"},
		{"SSH 1", "SSH-1.5-old\n", ErrNotSSH, "SSH 1"},
		{"garbage", "\x00\xff\x1b[31mhello\n", ErrNotSSH, `"??`},
		{"empty line", "\r\nSSH-2.0-x\r\n", ErrNotSSH, ""},
		{"too long", "SSH-2.0-" + strings.Repeat("x", 300), ErrTooLong, ""},
		{"too long, with its end", "SSH-2.0-" + strings.Repeat("x", 255-8-1) + "\r\n", ErrTooLong, ""},
		{"huge packet", "SSH-2.0-x\r\n\x7f\xff\xff\xff\x04\x14", ErrNotSSH, "garbage after"},
		{"empty packet", "SSH-2.0-x\r\n\x00\x00\x00\x00\x00\x14", ErrNotSSH, "garbage after"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := pair(t)
			io.WriteString(client, tt.says)
			client.CloseWrite()
			c, _, err := Look(server, ours, time.Now().Add(time.Minute), time.Minute)
			if !errors.Is(err, tt.err) || c != nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Look = %v, %v; want %v with %q", c, err, tt.err, tt.text)
			}
			if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Look the connection is open (%v), want it closed", err)
			}
		})
	}
}

func TestLookTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		go io.Copy(io.Discard, client)
		start := time.Now()
		_, _, err := Look(server, ours, start.Add(time.Minute), time.Second)
		if !errors.Is(err, ErrTimeout) || time.Since(start) != time.Minute {
			t.Errorf("Look = %v after %v, want %v after a minute", err, time.Since(start), ErrTimeout)
		}
	})
}

// The deadline stays, so that the rest of the login is bounded too.
func TestLookKeepsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		go io.Copy(io.Discard, client)
		go io.WriteString(client, "SSH-2.0-x\r\n")
		start := time.Now()
		c, _, err := Look(server, ours, start.Add(time.Minute), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = io.ReadFull(c, make([]byte, 100))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("Read = %v after %v, want a timeout after a minute", err, time.Since(start))
		}
	})
}

func TestSwallow(t *testing.T) {
	client, server := pair(t)
	io.WriteString(client, "SSH-2.0-x\r\n")
	c, _, err := Look(server, ours, time.Time{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{ours + "\r\n", "and", " more"} {
		if n, err := io.WriteString(c, piece); n != len(piece) || err != nil {
			t.Errorf("Write(%q) = %d, %v; want all of it", piece, n, err)
		}
	}
	c.Close()
	want := ours + "\r\nand more"
	if got, _ := io.ReadAll(client); string(got) != want {
		t.Errorf("client got %q, want %q", got, want)
	}

	c = newConn(server)
	c.swallow = []byte(ours + "\r\n")
	if _, err := io.WriteString(c, "SSH-2.0-Other\r\n"); !errors.Is(err, errVersion) {
		t.Errorf("Write of another identification = %v, want %v", err, errVersion)
	}
}

// pair is the two ends of a loopback connection.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close(); sc.Close() })
	return cc.(*net.TCPConn), sc.(*net.TCPConn)
}

func FuzzLook(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n"), kexInit("aes128-ctr"))
	f.Add([]byte("GET / HTTP/1.0\r\n"), []byte{})
	f.Add([]byte("SSH-2.0-"+strings.Repeat("\xff", 1500)), []byte("\r\n"))
	f.Add([]byte("SSH-2.0-x\r\n"), []byte{0, 0, 0, 12, 10, 20})
	f.Fuzz(func(t *testing.T, line, rest []byte) {
		l := look{nc: &script{data: append(slices.Clip(line), rest...)}}
		h, err := l.exchange(ours, time.Time{}, time.Second)
		if err != nil && h.KexInit {
			t.Errorf("exchange = %+v, %v; want lists or an error", h, err)
		}
		if strings.ContainsAny(h.Version, "\r\n\x00\x1b") || len(h.Version) > 4*maxVersion {
			t.Errorf("version is %q, want it printable", h.Version)
		}
		if cap(l.got) > 4*(maxPacket+maxVersion) {
			t.Errorf("%d bytes were kept, want a bound", cap(l.got))
		}
	})
}

// A script is a client that says data and then nothing more.
type script struct {
	net.Conn
	data []byte
}

func (s *script) Read(p []byte) (int, error) {
	n := copy(p, s.data)
	s.data = s.data[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
