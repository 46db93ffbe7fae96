package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// OpenLDAP starts slapd for the time of a test.
func OpenLDAP(t testing.TB) *Peer {
	t.Helper()
	Need(t, "openldap")
	p := &Peer{Name: "openldap", Dir: t.TempDir()}
	return p.run(t, func() error { return p.startOpenLDAP() })
}

// StartOpenLDAP starts slapd in dir, which must be empty. Stop it in the end.
// The more entries are LDIF, added to those of the fixture.
func StartOpenLDAP(dir string, more ...string) (*Peer, error) {
	p := &Peer{Name: "openldap", Dir: dir}
	return p, p.startOpenLDAP(more...)
}

func (p *Peer) startOpenLDAP(more ...string) error {
	p.Kind, p.Base = "openldap", "dc=example,dc=test"
	p.BindDN, p.BindPassword = "cn=svc,ou=services,dc=example,dc=test", Password("svc")
	p.KeyAttribute = "sshPublicKey"
	p.CAFile = filepath.Join(p.Dir, "tls/ca.pem")
	conf := filepath.Join(p.Dir, "slapd.conf")
	if err := p.fillOpenLDAP(conf, more); err != nil {
		return err
	}
	_, secure, err := p.listen()
	if err != nil {
		return err
	}
	p.command = func() *exec.Cmd {
		cmd := command("slapd", "-f", conf, "-h", p.LDAP+"/ "+p.LDAPS+"/", "-d", "0")
		cmd.Env = append(os.Environ(), "KRB5_KTNAME="+filepath.Join(p.Dir, "ldap.keytab"), "KRB5RCACHENAME=none:")
		return cmd
	}
	p.ready = handshake("127.0.0.1:"+secure, p.CAFile)
	return p.Start()
}

// fillOpenLDAP makes the database, without a server.
func (p *Peer) fillOpenLDAP(conf string, more []string) error {
	f := filler{Dir: p.Dir, Svc: p.BindDN, now: time.Now()}
	if err := f.certificates(); err != nil {
		return err
	}
	if err := writeAll("openldap", f.Dir, f); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(p.Dir, "db"), 0o700); err != nil {
		return err
	}
	if _, err := output(command("slapadd", "-q", "-f", conf, "-l", filepath.Join(p.Dir, "data.ldif"))); err != nil {
		return err
	}
	if len(more) == 0 {
		return nil
	}
	cmd := command("slapadd", "-q", "-f", conf)
	cmd.Stdin = strings.NewReader(strings.Join(more, "\n\n"))
	_, err := output(cmd)
	return err
}
