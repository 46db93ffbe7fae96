package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FreeIPA starts 389 DS with the schema, the tree and the nested memberOf of FreeIPA, because
// its own server is not to be had. Missing are its plug-ins: one-time codes in a bind, the
// Kerberos policy on passwords, and the attributes of its root entry.
func FreeIPA(t testing.TB) *Peer {
	t.Helper()
	Need(t, "389ds")
	p := &Peer{Name: "freeipa", Dir: t.TempDir()}
	return p.run(t, func() error {
		if err := p.startDS389(filler.asFreeIPA); err != nil {
			return err
		}
		p.Kind, p.KeyAttribute = "freeipa", "ipaSshPubKey"
		p.BindDN, p.Base = "uid=svc,cn=sysaccounts,cn=etc,"+p.Base, "cn=users,cn=accounts,"+p.Base
		return p.fillDS389(filler{Dir: p.Dir, now: time.Now()}, "freeipa", "rights.ldif", "data.ldif")
	})
}

// asFreeIPA gives an instance that does not run the schema and the plug-in for memberOf.
func (f filler) asFreeIPA() error {
	if err := f.fill("freeipa/schema.ldif", "etc/slapd-test/schema/98ipa.ldif"); err != nil {
		return err
	}
	// The class for policies in 389 DS is older than lock-out by the KDC.
	if err := f.edit("/usr/share/dirsrv/data/60kerberos.ldif", "etc/slapd-test/schema/99kerberos.ldif",
		"( krbMaxPwdLife $", "( krbPwdMaxFailure $ krbPwdFailureCountInterval $ krbMaxPwdLife $"); err != nil {
		return err
	}
	dse := filepath.Join(f.Dir, "etc/slapd-test/dse.ldif")
	text, err := os.ReadFile(dse)
	if err != nil {
		return err
	}
	before, plugin, _ := strings.Cut(string(text), "dn: cn=MemberOf Plugin,")
	plugin = strings.Replace(plugin, "nsslapd-pluginEnabled: off", "nsslapd-pluginEnabled: on", 1)
	return os.WriteFile(dse, []byte(before+"dn: cn=MemberOf Plugin,"+plugin), 0o600)
}
