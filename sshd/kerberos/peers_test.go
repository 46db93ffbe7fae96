package kerberos_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"berth/sshd/kerberos"
	"berth/test/peers"
)

// relayTo is the variable that makes this program the ProxyCommand of ssh, so
// that a client may ask for a host whose name nothing resolves.
const relayTo = "BERTH_TEST_RELAY"

func TestMain(m *testing.M) {
	if addr := os.Getenv(relayTo); addr != "" {
		if err := relay(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func relay(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(c, os.Stdin) }()
	_, err = io.Copy(os.Stdout, c)
	return err
}

// A server accepts people whose ticket has their login name, and sends them
// this name.
type server struct {
	keytab   *kerberos.Keytab
	signer   ssh.Signer
	listener net.Listener
	served   chan error // how each login ended
}

func serve(t *testing.T, s kerberos.Settings) *server {
	t.Helper()
	k, err := kerberos.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &server{k, signer, l, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			srv.served <- srv.conn(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return srv
}

// conn serves one client, and returns why it could not log in.
func (s *server) conn(c net.Conn) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var refused error
	cfg := &ssh.ServerConfig{
		AuthLogCallback: func(_ ssh.ConnMetadata, method string, err error) {
			if method == "gssapi-with-mic" {
				refused = err
			}
		},
		GSSAPIWithMICConfig: &ssh.GSSAPIWithMICConfig{
			Server: s.keytab.Acceptor(netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()),
			AllowLogin: func(meta ssh.ConnMetadata, principal string) (*ssh.Permissions, error) {
				name, _, err := s.keytab.User(principal)
				if err == nil && name != meta.User() {
					err = fmt.Errorf("%s is not %s", principal, meta.User())
				}
				return &ssh.Permissions{Extensions: map[string]string{"principal": principal}}, err
			},
		},
	}
	cfg.AddHostKey(s.signer)
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return errors.Join(refused, err)
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, requests, err := nc.Accept()
		if err != nil {
			return err
		}
		for r := range requests {
			_ = r.Reply(r.Type == "exec", nil)
			if r.Type != "exec" {
				continue
			}
			fmt.Fprintf(ch, "%s is %s\n", conn.User(), conn.Permissions.Extensions["principal"])
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
			_ = ch.Close()
		}
	}
	return nil
}

// login runs the stock client with the tickets in cache. It returns what the
// client printed, and what the server thought of it.
func (s *server) login(t *testing.T, r *peers.Realm, cache, user string, options ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args := append([]string{
		"-F", "none", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "GSSAPIAuthentication=yes", "-o", "PreferredAuthentications=gssapi-with-mic", "-o", "ProxyCommand=" + self,
	}, options...)
	set := r.Command("ssh", append(args, user+"@"+peers.ServiceHost, "whoami")...)
	cmd := exec.CommandContext(ctx, set.Path, set.Args[1:]...)
	cmd.Env = append(set.Env, "KRB5CCNAME=FILE:"+cache, relayTo+"="+s.listener.Addr().String())
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Logf("ssh: %v: %s", err, complaints.String())
	}
	select {
	case served := <-s.served:
		return strings.TrimSpace(string(out)), served
	case <-ctx.Done():
		t.Fatal("the client never came")
	}
	return "", nil
}

// refusal is what a login must end with.
type refusal string

func check(t *testing.T, got string, err error, want string, refused refusal) {
	t.Helper()
	if refused == "" && (err != nil || got != want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if refused != "" && (err == nil || got != "" || !strings.Contains(err.Error(), string(refused))) {
		t.Errorf("got %q, %v, want the error %q", got, err, refused)
	}
}

func ticket(t *testing.T, r *peers.Realm, name string, options ...string) (cache string) {
	t.Helper()
	cache = filepath.Join(t.TempDir(), "cache")
	if err := r.Ticket(cache, name, options...); err != nil {
		t.Fatal(err)
	}
	return cache
}

func TestOpenSSH(t *testing.T) {
	r := peers.KDC(t)
	s := serve(t, kerberos.Settings{Keytab: r.Keytab})
	tests := []struct {
		name, ticket, user string
		options            []string
		want               string
		refused            refusal
	}{
		{name: "own name", ticket: "alice", user: "alice", want: "alice is alice@MIT.TEST"},
		{name: "delegation", ticket: "alice", user: "alice", options: []string{"-K"}, want: "alice is alice@MIT.TEST"},
		{name: "no delegation", ticket: "alice", user: "alice", options: []string{"-k"}, want: "alice is alice@MIT.TEST"},
		{name: "another's name", ticket: "bob", user: "alice", refused: "bob@MIT.TEST is not alice"},
		{name: "instance", ticket: "alice/admin", user: "alice", refused: "principal is not a person's"},
		{name: "no ticket", user: "alice", refused: "no auth passed yet"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := filepath.Join(t.TempDir(), "none")
			if tt.ticket != "" {
				cache = ticket(t, r, tt.ticket, "-f")
			}
			got, err := s.login(t, r, cache, tt.user, tt.options...)
			check(t, got, err, tt.want, tt.refused)
		})
	}
	t.Run("same ticket twice", func(t *testing.T) {
		cache := ticket(t, r, "alice")
		for range 2 {
			got, err := s.login(t, r, cache, "alice")
			check(t, got, err, "alice is alice@MIT.TEST", "")
		}
	})
	t.Run("realm not accepted", func(t *testing.T) {
		s := serve(t, kerberos.Settings{Keytab: r.Keytab, Realms: []kerberos.Realm{{Name: "CORP.EXAMPLE"}}})
		got, err := s.login(t, r, ticket(t, r, "alice"), "alice")
		check(t, got, err, "", "realm not accepted")
	})
}

// TestEncryptionTypes has the KDC use each for ticket and session.
func TestEncryptionTypes(t *testing.T) {
	r := peers.KDC(t)
	service := "host/" + peers.ServiceHost
	for _, enctype := range []string{
		"aes128-cts-hmac-sha1-96", "aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha256-128", "aes256-cts-hmac-sha384-192",
	} {
		t.Run(enctype, func(t *testing.T) {
			keytab := filepath.Join(t.TempDir(), "keytab")
			if err := r.Admin("ktadd -k " + keytab + " -e " + enctype + ":normal " + service); err != nil {
				t.Fatal(err)
			}
			s := serve(t, kerberos.Settings{Keytab: keytab, Principal: service})
			got, err := s.login(t, r, ticket(t, r, "alice"), "alice")
			check(t, got, err, "alice is alice@MIT.TEST", "")
		})
	}
}

// TestKeysRenewed changes the service's keys under a running server.
func TestKeysRenewed(t *testing.T) {
	r := peers.KDC(t)
	s := serve(t, kerberos.Settings{Keytab: r.Keytab})
	old := ticket(t, r, "alice")
	got, err := s.login(t, r, old, "alice")
	check(t, got, err, "alice is alice@MIT.TEST", "")

	other := filepath.Join(t.TempDir(), "other")
	if err := r.Admin("ktadd -k " + other + " host/" + peers.ServiceHost); err != nil {
		t.Fatal(err)
	}
	renewed := ticket(t, r, "alice")
	got, err = s.login(t, r, renewed, "alice")
	check(t, got, err, "", "ticket does not open with the keytab")

	if err := r.Admin("ktadd -norandkey -k " + r.Keytab + " host/" + peers.ServiceHost); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []string{renewed, old} {
		got, err = s.login(t, r, cache, "alice")
		check(t, got, err, "alice is alice@MIT.TEST", "")
	}
}

func TestSamba(t *testing.T) {
	r := peers.SambaRealm(t)
	s := serve(t, kerberos.Settings{Keytab: r.Keytab})
	for _, tt := range []struct {
		ticket, user, want string
		refused            refusal
	}{
		{"alice", "alice", "alice is alice@AD.EXAMPLE.TEST", ""},
		{"bob", "alice", "", "bob@AD.EXAMPLE.TEST is not alice"},
	} {
		got, err := s.login(t, r, ticket(t, r, tt.ticket), tt.user)
		check(t, got, err, tt.want, tt.refused)
	}
}
