// Package peers starts real directory servers for tests: slapd, a Samba
// Active Directory domain controller, 389 DS, and others to its test, on
// loopback, filled from package fixtures, and ends with the test.
//
// A test asks for a peer by OpenLDAP, Samba or DS389. If the server is not
// installed the test is skipped with that reason, unless the environment
// variable BERTH_PEERS names the peer, as in CI: then the test fails. Samba,
// 389 DS, SSSD and nginx are heavy, so they run only when BERTH_PEERS names them.
package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Peer is one running directory server.
type Peer struct {
	Name string // openldap, samba or 389ds
	Kind string // as in the settings of directory/ldap
	Dir  string // holds everything; keys/NAME are private SSH keys of people

	LDAP, LDAPS  string // URLs; LDAP takes StartTLS
	CAFile       string // vouches for the server, which is called localhost, 127.0.0.1 and its own address
	Base         string
	BindDN       string // the service account
	BindPassword string
	KeyAttribute string
	Domain       string // whose DNS names the server; empty: none does
	Resolver     string // its name server

	command func() *exec.Cmd // starts the server in the foreground
	ready   func() error
	process *exec.Cmd
	exited  chan struct{}
}

// Password returns the password that the fixtures give to name.
func Password(name string) string { return name + "-Passw0rd" }

// wanted reports whether BERTH_PEERS names a peer.
func wanted(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("BERTH_PEERS"), ","), name)
}

// programs are what each peer needs, whether it takes so long to start that it
// must be asked for, and whether root must start it.
var programs = map[string]struct {
	heavy, root bool
	names       []string
}{
	"openldap": {false, false, []string{"slapd", "slapadd"}},
	"redis":    {false, false, []string{"redis-server"}},
	"kdc":      {true, false, []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit"}},
	"haproxy":  {false, false, []string{"haproxy"}},
	"postfix":  {true, true, []string{"postfix", "saslpasswd2"}},
	"samba":    {true, true, []string{"samba", "samba-tool", "ldbadd", "ldbmodify", "ldbsearch"}},
	"nginx":    {true, false, []string{"nginx"}},
	"zitadel":  {true, false, nil}, // in this process; it has clients wait for seconds
	"sssd":     {true, true, []string{"sssd", "sss_ssh_authorizedkeys", "sshd", "unshare"}},
	"389ds":    {true, true, []string{"ns-slapd", "dscreate", "unshare", "pk12util", "certutil", "openssl", "ldapadd"}},
}

// Need skips or fails a test that cannot have the peer called name.
func Need(t testing.TB, name string) {
	t.Helper()
	if programs[name].heavy && !wanted(name) {
		t.Skipf("%s runs only when BERTH_PEERS names it", name)
	}
	if programs[name].root && os.Geteuid() != 0 {
		t.Fatalf("BERTH_PEERS names %s, but it needs root", name)
	}
	for _, p := range programs[name].names {
		if _, err := lookPath(p); err != nil {
			if wanted(name) {
				t.Fatalf("BERTH_PEERS names %s, but %v", name, err)
			}
			t.Skipf("%s is not installed: %v", name, err)
		}
	}
}

// run starts p for the time of a test.
func (p *Peer) run(t testing.TB, start func() error) *Peer {
	t.Helper()
	t.Cleanup(p.Kill) // also when it starts, but cannot be filled
	if err := start(); err != nil {
		t.Fatalf("start %s: %v", p.Name, err)
	}
	return p
}

// lookPath finds a server also where an ordinary user's PATH does not lead.
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/lib/openldap"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in no program directory", program)
}

// command is a program, also where an ordinary user's PATH does not lead.
func command(program string, args ...string) *exec.Cmd {
	if path, err := lookPath(program); err == nil {
		program = path
	}
	return exec.Command(program, args...)
}

// startWithin bounds how long a server may take until it serves.
const startWithin = time.Minute

// Start runs the server, again after Kill, and returns when it serves.
func (p *Peer) Start() error {
	var output bytes.Buffer
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.process, p.exited = cmd, exited
	deadline := time.Now().Add(startWithin)
	for {
		err := p.ready()
		select {
		case <-exited: // with its port taken, somebody else would answer
			return fmt.Errorf("%s ended: %s", p.Name, output.String())
		default:
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("%s does not serve after %v: %w", p.Name, startWithin, err)
		}
		time.Sleep(10 * time.Millisecond) // a server does not report when it is ready
	}
}

// Kill ends the server at once, as a crash would. It may be started again.
func (p *Peer) Kill() { p.end(syscall.SIGKILL) }

// Stop ends the server in good order.
func (p *Peer) Stop() { p.end(syscall.SIGTERM) }

func (p *Peer) end(sig syscall.Signal) {
	if p.process == nil {
		return
	}
	_ = p.process.Process.Signal(sig)
	_ = p.process.Process.Signal(syscall.SIGCONT) // lest it was paused
	<-p.exited
}

// Pause makes the server hang: connections open, and nothing answers.
func (p *Peer) Pause() error { return p.process.Process.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Peer) Resume() error { return p.process.Process.Signal(syscall.SIGCONT) }

// PID of the server, to measure it.
func (p *Peer) PID() int { return p.process.Process.Pid }

// listen gives the server two free ports.
func (p *Peer) listen() (plain, secure string, err error) {
	if plain, err = FreePort("127.0.0.1"); err == nil {
		secure, err = FreePort("127.0.0.1")
	}
	p.LDAP, p.LDAPS = "ldap://127.0.0.1:"+plain, "ldaps://127.0.0.1:"+secure
	return plain, secure, err
}

// accepts is a ready function: the server takes connections.
func accepts(addr string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// handshake is a ready function: the server speaks TLS with our certificate.
func handshake(addr, caFile string) func() error {
	return func() error {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// output runs a program to its end, with what it printed in the error.
func output(cmd *exec.Cmd) (string, error) {
	b, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, b)
	}
	return string(b), nil
}
