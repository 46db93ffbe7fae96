package ldap_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/test/peers"
)

// managers may change anything on each peer.
var managers = map[string][2]string{
	"openldap": {"cn=admin,dc=example,dc=test", "admin-Passw0rd"},
	"389ds":    {"cn=Directory Manager", "Manager-Passw0rd"},
	"samba":    {"administrator@ad.example.test", "Adm1n-Passw0rd!"},
}

// manage changes a directory as its manager. A record of the LDIF without a
// changetype is added.
func manage(t *testing.T, p *peers.Peer, ldif string, options ...string) {
	t.Helper()
	m := managers[p.Name]
	cmd := exec.Command("ldapmodify", append([]string{"-a", "-x", "-H", p.LDAPS, "-D", m[0], "-w", m[1]}, options...)...)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	cmd.Stdin = strings.NewReader(ldif + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v: %s", err, out)
	}
}

// replace sets one attribute of an entry; an empty value removes it.
func replace(t *testing.T, p *peers.Peer, dn, attribute, value string, options ...string) {
	t.Helper()
	ldif := "dn: " + dn + "\nchangetype: modify\nreplace: " + attribute + "\n"
	if value != "" {
		ldif += attribute + ": " + value + "\n"
	}
	manage(t, p, ldif, options...)
}

// configure changes the configuration of slapd, or of 389 DS by nothing, and
// starts the server again.
func configure(t *testing.T, p *peers.Peer, old, new string) {
	t.Helper()
	if old != "" {
		path := p.Dir + "/slapd.conf"
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), old) {
			t.Fatalf("slapd.conf has no %q", old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}
