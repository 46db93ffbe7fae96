package peers

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Realm is a Kerberos realm with its key distribution center and one service,
// ServiceHost.
type Realm struct {
	*Peer         // the KDC
	Name   string // in capitals
	Config string // krb5.conf that leads to it
	Keytab string // keys of host/ServiceHost
	KDC    string // its address
}

// ServiceHost is the host whose keys are in the keytab of a Realm. Nothing
// resolves its name.
const ServiceHost = "sftp.example.test"

// mitPeople have a password as all people of the fixtures.
var mitPeople = []string{"alice", "bob", "alice/admin"}

// KDC starts a private MIT KDC for the time of a test. It runs only when
// BERTH_PEERS names kdc.
func KDC(t testing.TB) *Realm {
	t.Helper()
	Need(t, "kdc")
	dir := t.TempDir()
	r := &Realm{
		Peer: &Peer{Name: "kdc", Dir: dir}, Name: "MIT.TEST",
		Config: filepath.Join(dir, "krb5.conf"), Keytab: filepath.Join(dir, "host.keytab"),
	}
	r.run(t, r.startMIT)
	return r
}

// SambaRealm starts a domain controller as Samba does, for its tickets.
func SambaRealm(t testing.TB) *Realm {
	t.Helper()
	p := Samba(t)
	if _, err := lookPath("kinit"); err != nil {
		t.Fatalf("BERTH_PEERS names samba, but %v", err)
	}
	at, err := url.Parse(p.LDAP)
	if err != nil {
		t.Fatal(err)
	}
	r := &Realm{
		Peer: p, Name: sambaRealm, Config: filepath.Join(p.Dir, "krb5.conf"), Keytab: filepath.Join(p.Dir, "host.keytab"),
		KDC: net.JoinHostPort(at.Hostname(), "18088"),
	}
	if err := write("kdc/krb5.conf", r.Config, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Realm) startMIT() error {
	port, err := FreePort("127.0.0.1")
	if err != nil {
		return err
	}
	r.KDC = net.JoinHostPort("127.0.0.1", port)
	if err := errors.Join(write("kdc/krb5.conf", r.Config, r), write("kdc/kdc.conf", filepath.Join(r.Dir, "kdc.conf"), r)); err != nil {
		return err
	}
	r.command = func() *exec.Cmd { return r.Command("krb5kdc", "-n") }
	r.ready = accepts(r.KDC)
	if err := r.fillMIT(); err != nil {
		return err
	}
	return r.Start()
}

// Shift starts the KDC again with a clock that differs, as in "+10m".
func (r *Realm) Shift(t testing.TB, by string) {
	t.Helper()
	r.Kill()
	library, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1") // the program faketime would fork
	if err != nil || len(library) == 0 {
		t.Fatalf("libfaketime is not installed: %v", err)
	}
	r.command = func() *exec.Cmd {
		cmd := r.Command("krb5kdc", "-n")
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+library[0], "FAKETIME="+by)
		return cmd
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
}

// fillMIT makes the database, without a server.
func (r *Realm) fillMIT() error {
	if _, err := output(r.Command("kdb5_util", "create", "-s", "-P", "master-Passw0rd", "-r", r.Name)); err != nil {
		return err
	}
	var script strings.Builder
	for _, name := range mitPeople {
		fmt.Fprintf(&script, "addprinc -pw %s %s\n", Password(name), name)
	}
	fmt.Fprintf(&script, "addprinc -randkey host/%s\n", ServiceHost)
	if err := r.Admin(script.String()); err != nil {
		return err
	}
	return r.Admin(fmt.Sprintf("ktadd -k %s host/%s", r.Keytab, ServiceHost))
}

// Admin runs commands of kadmin, one a line, on a Realm of KDC.
func (r *Realm) Admin(commands string) error {
	cmd := r.Command("kadmin.local")
	cmd.Stdin = strings.NewReader(commands + "\n")
	_, err := output(cmd)
	return err
}

// Ticket has kinit get a ticket of name into the file cache.
func (r *Realm) Ticket(cache, name string, options ...string) error {
	cmd := r.Command("kinit", append(options, name+"@"+r.Name)...)
	cmd.Env = append(cmd.Env, "KRB5CCNAME=FILE:"+cache)
	cmd.Stdin = strings.NewReader(Password(name) + "\n")
	_, err := output(cmd)
	return err
}

// Command is a program that knows this realm and no other.
func (r *Realm) Command(program string, args ...string) *exec.Cmd {
	cmd := command(program, args...)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+r.Config,
		"KRB5_KDC_PROFILE="+filepath.Join(r.Dir, "kdc.conf"), "KRB5CCNAME=FILE:"+filepath.Join(r.Dir, "none"))
	return cmd
}
