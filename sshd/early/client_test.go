package early

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

var (
	gcm     = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	offered = append(slices.Clone(gcm), ssh.CipherAES128CTR, ssh.CipherChaCha20Poly1305)
)

// A server is an SSH server behind Look. It takes every password, and its
// command "echo N" answers with N bytes and the cipher.
type server struct {
	t    *testing.T
	addr *net.TCPAddr
	key  ssh.Signer
	wait time.Duration

	mu     sync.Mutex
	hellos []Hello
	writes []int // lengths of what the library wrote
	// the library has Berth's patches
	patched bool
}

// serve starts a server that is gone at the end of the test.
func serve(t *testing.T, wait time.Duration) *server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: l.Addr().(*net.TCPAddr), key: key, wait: wait}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serveConn(nc) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func (s *server) serveConn(nc net.Conn) {
	defer nc.Close()
	c, hello, err := Look(nc, "SSH-2.0-Early", time.Now().Add(time.Minute), s.wait)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.hellos = append(s.hellos, hello)
	s.mu.Unlock()
	config := &ssh.ServerConfig{
		ServerVersion:    "SSH-2.0-Early",
		Config:           ssh.Config{Ciphers: hello.Ciphers(offered, gcm)},
		PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil },
		NoClientAuth:     true,
	}
	config.AddHostKey(s.key)
	sc, channels, requests, err := ssh.NewServerConn(measured{c, s}, config)
	if err != nil {
		s.t.Errorf("login behind Look: %v", err)
		return
	}
	_, patched := sc.Conn.(interface {
		Charge(func(bytes int64) error)
	})
	s.mu.Lock()
	s.patched = patched
	s.mu.Unlock()
	go ssh.DiscardRequests(requests)
	cipher := sc.Conn.(ssh.AlgorithmsConnMetadata).Algorithms().Write.Cipher
	for newChannel := range channels {
		ch, reqs, err := newChannel.Accept()
		if err != nil {
			return
		}
		for req := range reqs {
			if req.Type != "exec" {
				req.Reply(false, nil)
				continue
			}
			req.Reply(true, nil)
			echo(ch, string(req.Payload[4:]), cipher)
			break
		}
		go ssh.DiscardRequests(reqs)
	}
}

// measured is a connection whose server keeps the lengths of what is written.
type measured struct {
	net.Conn
	server *server
}

func (m measured) Write(p []byte) (int, error) {
	m.server.mu.Lock()
	m.server.writes = append(m.server.writes, len(p))
	m.server.mu.Unlock()
	return m.Conn.Write(p)
}

// echo answers one command and reads what the client sends.
func echo(ch ssh.Channel, command, cipher string) {
	var n int
	fmt.Sscanf(command, "echo %d", &n)
	fmt.Fprintf(ch.Stderr(), "cipher %s\n", cipher)
	ch.Write(make([]byte, n))
	in, _ := io.Copy(io.Discard, ch)
	fmt.Fprintf(ch.Stderr(), "got %d\n", in)
	ch.SendRequest("exit-status", false, make([]byte, 4))
	ch.Close()
}

// run runs a real client and returns its output.
func run(t *testing.T, stdin io.Reader, program string, args ...string) (stdout int, stderr string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("a real client is needed: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errOut
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", program, err, errOut.String())
	}
	return out.Len(), errOut.String()
}

// openSSH runs the ssh client.
func (s *server) openSSH(stdin io.Reader, args ...string) (stdout int, stderr string) {
	common := []string{
		"-F", "none", "-p", fmt.Sprint(s.addr.Port), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=" + filepath.Join(s.t.TempDir(), "known"), "-o", "BatchMode=yes",
	}
	return run(s.t, stdin, "ssh", append(append(common, args...), "u@127.0.0.1", "echo 5000000")...)
}

func TestOpenSSH(t *testing.T) {
	s := serve(t, 10*time.Second)
	tests := []struct {
		args   []string
		cipher string
	}{
		{nil, ssh.CipherAES128GCM}, // although it lists ChaCha20 first
		{[]string{"-c", "chacha20-poly1305@openssh.com"}, ssh.CipherChaCha20Poly1305},
		{[]string{"-c", "aes128-ctr"}, ssh.CipherAES128CTR},
		{[]string{"-c", "aes128-ctr", "-m", "hmac-sha2-256"}, ssh.CipherAES128CTR},
		{[]string{"-c", "aes256-gcm@openssh.com"}, ssh.CipherAES256GCM},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			in := bytes.NewReader(make([]byte, 4_000_000))
			n, stderr := s.openSSH(in, tt.args...)
			if n != 5_000_000 || !strings.Contains(stderr, "got 4000000") {
				t.Errorf("ssh got %d bytes, said %q; want 5000000 and 4000000 the other way", n, stderr)
			}
			if !strings.Contains(stderr, "cipher "+tt.cipher+"\n") {
				t.Errorf("ssh %q: %q, want %s", tt.args, stderr, tt.cipher)
			}
		})
	}
	for _, h := range s.hellos {
		if !h.KexInit || !strings.HasPrefix(h.Version, "SSH-2.0-OpenSSH") || len(h.KeyExchanges) == 0 || len(h.HostKeys) == 0 {
			t.Errorf("Look saw %+v, want an OpenSSH client with its lists", h)
		}
	}
}

func TestPlink(t *testing.T) {
	s := serve(t, 10*time.Second)
	n, stderr := run(t, strings.NewReader("hello"), "plink", "-batch", "-P", fmt.Sprint(s.addr.Port),
		"-hostkey", ssh.FingerprintSHA256(s.key.PublicKey()), "-l", "u", "-pw", "x", "127.0.0.1", "echo 100000")
	if n != 100_000 || !strings.Contains(stderr, "got 5") {
		t.Errorf("plink got %d bytes, said %q; want 100000 and 5 the other way", n, stderr)
	}
	if len(s.hellos) != 1 || !s.hellos[0].KexInit || !strings.HasPrefix(s.hellos[0].Version, "SSH-2.0-PuTTY") {
		t.Errorf("Look saw %+v, want PuTTY with its lists", s.hellos)
	}
}

// A polite client waits for the server's KEXINIT before it sends its own.
type polite struct {
	net.Conn
	heard chan struct{} // closed when more than an identification came
	wrote bool
	bytes int
}

func (p *polite) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if p.bytes <= 100 && p.bytes+n > 100 {
		close(p.heard)
	}
	p.bytes += n
	return n, err
}

func (p *polite) Write(b []byte) (int, error) {
	if p.wrote { // the identification
		<-p.heard
	}
	p.wrote = true
	return p.Conn.Write(b)
}

func TestClientThatWaits(t *testing.T) {
	s := serve(t, 50*time.Millisecond)
	nc, err := net.Dial("tcp", s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	client := s.client(&polite{Conn: nc, heard: make(chan struct{})}, ssh.Config{})
	defer client.Close()
	if len(s.hellos) != 1 || s.hellos[0].KexInit {
		t.Errorf("Look saw %+v, want a client without KEXINIT", s.hellos)
	}
}

// client logs in with the library's client.
func (s *server) client(nc net.Conn, config ssh.Config) *ssh.Client {
	s.t.Helper()
	conn, channels, requests, err := ssh.NewClientConn(nc, s.addr.String(), &ssh.ClientConfig{
		Config: config, User: "u", HostKeyCallback: ssh.FixedHostKey(s.key.PublicKey()),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return ssh.NewClient(conn, channels, requests)
}

// Packets of every length around 4096, the size of a buffer in the library, arrive
// although nothing follows them, whatever the cipher adds to them.
func TestPacketsAroundTheBuffer(t *testing.T) {
	s := serve(t, 10*time.Second)
	for _, algorithms := range [][2]string{
		{ssh.CipherAES128GCM, ""},
		{ssh.CipherChaCha20Poly1305, ""},
		{ssh.CipherAES128CTR, ssh.HMACSHA256},
		{ssh.CipherAES128CTR, ssh.HMACSHA256ETM},
	} {
		t.Run(strings.Join(algorithms[:], " "), func(t *testing.T) {
			nc, err := net.Dial("tcp", s.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(time.Minute))
			client := s.client(nc, ssh.Config{Ciphers: algorithms[:1], MACs: []string{algorithms[1], ssh.HMACSHA256}})
			defer client.Close()
			for n := 4096 - 100; n <= 4096; n++ {
				if err := fetch(client, n); err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

// TestOneWrite: a packet leaves in one write, if the library has Berth's patches.
func TestOneWrite(t *testing.T) {
	s := serve(t, 10*time.Second)
	for _, cipher := range []string{ssh.CipherAES128GCM, ssh.CipherAES128CTR, ssh.CipherChaCha20Poly1305} {
		nc, err := net.Dial("tcp", s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		client := s.client(nc, ssh.Config{Ciphers: []string{cipher}})
		defer client.Close()
		const size = 30000
		if err := fetch(client, size); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		whole := slices.ContainsFunc(s.writes, func(n int) bool { return n > size && n < size+200 })
		writes, patched := s.writes, s.patched
		s.writes = nil
		s.mu.Unlock()
		if !patched && strings.Contains(os.Getenv("GOFLAGS"), ".patched") {
			t.Fatal("the library does not have Berth's patches, although this is a build with them")
		}
		if !patched {
			t.Skip("the library does not have Berth's patches: run make test")
		}
		if !whole {
			t.Errorf("%s: a packet of %d bytes left in writes of %v, want one", cipher, size, writes)
		}
	}
}

// fetch has the server send n bytes, and ends its input only when they are all
// there, so that the server sends nothing else before.
func fetch(client *ssh.Client, n int) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	in, err := session.StdinPipe()
	if err != nil {
		return err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	if err := session.Start(fmt.Sprintf("echo %d", n)); err != nil {
		return err
	}
	if _, err := io.ReadFull(out, make([]byte, n)); err != nil {
		return err
	}
	return errors.Join(in.Close(), session.Wait())
}
