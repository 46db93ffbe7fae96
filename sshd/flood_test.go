package sshd

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
	"berth/sshd/state"
)

// penalized is a store that remembers what the sources got penalties for.
type penalized struct {
	state.Store
	mu    sync.Mutex
	kinds []state.Kind
}

func (p *penalized) Penalize(remote netip.Addr, k state.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds = append(p.kinds, k)
	p.Store.Penalize(remote, k)
}

// TestFloodsGetAPenalty: the server ends a connection that sends many messages before
// the login, and its source gets the penalty of one that leaves without a login. Then
// it is kept out.
func TestFloodsGetAPenalty(t *testing.T) {
	patched(t, start(t).must(t).Conn) // else goroutines of the library stay after a connection with unread messages
	request := func(method string, rest ...byte) []byte {
		head := ssh.Marshal(struct {
			User, Service, Method string `sshtype:"50"`
		}{"alice", "ssh-connection", method})
		return append(head, rest...)
	}
	keyOfNoKind := ssh.Marshal(struct {
		Proves   bool
		Type, Of string
	}{false, "ssh-x", "x"})
	for name, message := range map[string][]byte{
		"unknown messages": {75},
		"UNIMPLEMENTED":    {3, 0, 0, 0, 1},
		"requests for a service": ssh.Marshal(struct {
			Name string `sshtype:"5"`
		}{"ssh-userauth"}),
		"dialogues that are given up": request("keyboard-interactive", 0, 0, 0, 0, 0, 0, 0, 0),
		"keys of no known kind":       request("publickey", keyOfNoKind...),
		"methods of no known name":    request("x"),
	} {
		t.Run(name, func(t *testing.T) {
			f, kept := penalizing(t)
			c := newRawClient(t, f.addr)
			c.send(ssh.Marshal(struct {
				Name string `sshtype:"5"`
			}{"ssh-userauth"}))
			c.floods(t, message)
			f.getsPenalty(t, kept, event.NotAuthenticated)
		})
	}
	t.Run("before keys are exchanged", func(t *testing.T) {
		f, kept := penalizing(t)
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, "SSH-2.0-flood\r\n")
		(&rawClient{nc: nc, read: bufio.NewReader(nc)}).floods(t, []byte{75})
		f.getsPenalty(t, kept, event.HandshakeFailed)
	})
}

// penalizing starts a server that gives penalties to this machine, too. One for a
// connection without a login is enough to be kept out.
func penalizing(t *testing.T) (*fixture, *penalized) {
	s := state.DefaultSettings()
	s.Exempt = nil
	s.Penalties.NoLogin, s.Penalties.Min = time.Minute, time.Second
	kept := &penalized{Store: state.NewMemory(s)}
	return start(t, func(f *fixture) { f.Gate.State = kept }), kept
}

func (f *fixture) getsPenalty(t *testing.T, kept *penalized, reason event.Reason) {
	t.Helper()
	f.hangUp()
	if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{reason.String()}) {
		t.Errorf("closed for %q, want %v", got, reason)
	}
	kept.mu.Lock()
	kinds := slices.Clone(kept.kinds)
	kept.mu.Unlock()
	if !slices.Equal(kinds, []state.Kind{state.NoLogin}) {
		t.Errorf("penalties %q, want one for a connection without a login", kinds)
	}
	if c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		c.Close()
		t.Error("the source is not kept out")
	}
	if got := f.events.reasons(event.ConnectionRefused); !slices.Equal(got, []string{"source_penalized"}) {
		t.Errorf("refused for %q", got)
	}
}

// A rawClient exchanges keys and then sends any messages, which the library's client
// cannot do before the login. It does not check the host key, and reads no messages
// after the exchange.
type rawClient struct {
	nc     net.Conn
	read   *bufio.Reader
	sealer cipher.AEAD // nil before keys are exchanged
	nonce  []byte
}

// newRawClient exchanges keys by curve25519-sha256 (RFC 8731), for AES in Galois/Counter
// Mode (RFC 5647).
func newRawClient(t *testing.T, addr string) *rawClient {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	nc, err := net.Dial("tcp", addr)
	must(err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := &rawClient{nc: nc, read: bufio.NewReader(nc)}
	const version = "SSH-2.0-flood"
	_, err = io.WriteString(nc, version+"\r\n")
	must(err)
	line, err := c.read.ReadString('\n')
	must(err)
	theirs, err := c.receive()
	must(err)
	const aesGCM = "aes128-gcm@openssh.com"
	ours := ssh.Marshal(struct {
		Cookie                                             [16]byte `sshtype:"20"`
		Kex, HostKey, To, From, ToMAC, FromMAC, ToZip, Zip []string
		ToLanguage, FromLanguage                           []string
		Guessed                                            bool
		Reserved                                           uint32
	}{
		Kex: []string{"curve25519-sha256"}, HostKey: []string{"ssh-ed25519"}, To: []string{aesGCM}, From: []string{aesGCM},
		ToMAC: []string{"hmac-sha2-256"}, FromMAC: []string{"hmac-sha2-256"}, ToZip: []string{"none"}, Zip: []string{"none"},
	})
	must(c.send(ours))
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	public := private.PublicKey().Bytes()
	must(c.send(ssh.Marshal(struct {
		Public []byte `sshtype:"30"`
	}{public})))
	reply, err := c.receive()
	must(err)
	var answer struct {
		HostKey, Public, Signature []byte `sshtype:"31"`
	}
	must(ssh.Unmarshal(reply, &answer))
	peer, err := ecdh.X25519().NewPublicKey(answer.Public)
	must(err)
	shared, err := private.ECDH(peer)
	must(err)
	secret := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	hash := sha256.Sum256(append(ssh.Marshal(struct {
		Version, Theirs               string
		Ours, Init, HostKey, To, From []byte
	}{version, strings.TrimRight(line, "\r\n"), ours, theirs, answer.HostKey, public, answer.Public}), secret...))
	must(c.send([]byte{21}))
	derive := func(letter byte) []byte { // RFC 4253, section 7.2
		key := sha256.Sum256(slices.Concat(secret, hash[:], []byte{letter}, hash[:]))
		return key[:]
	}
	block, err := aes.NewCipher(derive('C')[:16])
	must(err)
	c.sealer, err = cipher.NewGCM(block)
	must(err)
	c.nonce = derive('A')[:12]
	return c
}

// send sends a packet (RFC 4253, section 6).
func (c *rawClient) send(payload []byte) error {
	block, sealed := 8, 0
	if c.sealer != nil {
		block, sealed = aes.BlockSize, 4 // the length is not encrypted
	}
	padding := block - (5-sealed+len(payload))%block
	if padding < 4 {
		padding += block
	}
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	rest := append(append([]byte{byte(padding)}, payload...), make([]byte, padding)...)
	if c.sealer != nil {
		rest = c.sealer.Seal(nil, c.nonce, rest, packet)
		counter := c.nonce[4:]
		binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)+1)
	}
	_, err := c.nc.Write(append(packet, rest...))
	return err
}

// receive reads a packet that is not encrypted.
func (c *rawClient) receive() (payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c.read, head[:]); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	_, err = io.ReadFull(c.read, rest)
	return rest[:max(0, len(rest)-int(head[4]))], err
}

// floods sends message many times. The server must end the connection.
func (c *rawClient) floods(t *testing.T, message []byte) {
	t.Helper()
	c.nc.SetDeadline(time.Now().Add(20 * time.Second))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c.read)
		ended <- err
	}()
	for range 5000 {
		if c.send(message) != nil {
			break
		}
	}
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open after 5,000 messages")
	}
}
