package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NearSite is the site of every host on loopback, in the domain of SambaSites.
const NearSite = "Hamburg"

// SambaSites starts a domain with two sites and a controller in each. dc2 is in NearSite,
// and joined the domain of dc1 as any controller does, which takes 15 s. DNS, of which dc1
// is the server, names both for a second at a time. After the join they do not replicate: they
// would have to find each other by the resolver of this host. CAFile of both knows both.
func SambaSites(t testing.TB) (dc1, dc2 *Peer) {
	t.Helper()
	Need(t, "samba")
	dc1, dc2 = &Peer{Name: "samba", Dir: t.TempDir()}, &Peer{Name: "samba dc2", Dir: t.TempDir()}
	dc1.run(t, func() error { return dc1.startSamba(sambaServices + ", rpc, drepl") }) // the join needs these
	dc2.run(t, func() error { return dc2.joinSamba(dc1) })
	return dc1, dc2
}

// tool runs samba-tool on the files of a controller.
func (p *Peer) tool(args ...string) error {
	args = append(args, "-H", filepath.Join(p.Dir, "private/sam.ldb"), "--configfile="+filepath.Join(p.Dir, "smb.conf"))
	_, err := output(exec.Command("samba-tool", args...))
	return err
}

// joinSamba makes p a second controller in NearSite, and starts it.
func (p *Peer) joinSamba(first *Peer) error {
	if err := first.tool("sites", "create", NearSite); err != nil {
		return err
	}
	if err := first.tool("sites", "subnet", "create", "127.0.0.0/8", NearSite); err != nil {
		return err
	}
	ip, err := freeAddress("389", "636", "3268", "3269", "18088", "18464")
	if err != nil {
		return err
	}
	join := exec.Command("samba-tool", "domain", "join", first.Domain, "DC", "--server="+first.Resolver, "--site="+NearSite,
		"--targetdir="+p.Dir, "--dns-backend=NONE", "--use-kerberos=off", "--configfile=/dev/null", `-UEXAMPLE\Administrator`,
		"--option=netbios name=DC2", "--option=workgroup=EXAMPLE", "--option=interfaces="+ip+"/8", "--option=bind interfaces only=yes")
	join.Env = append(os.Environ(), "PASSWD="+sambaAdmin)
	if _, err := output(join); err != nil {
		return err
	}
	f := filler{Dir: p.Dir, IP: ip, Host: "DC2", Services: "ldap, cldap, kdc", now: time.Now()}
	if err := f.certificates(ip, "dc2."+first.Domain); err != nil {
		return err
	}
	if err := f.sambaConf(); err != nil {
		return err
	}
	if err := p.startController(ip); err != nil {
		return err
	}
	p.Resolver = first.Resolver
	if err := shareAuthorities(first, p); err != nil {
		return err
	}
	host := "dc2." + p.Domain + "."
	records := []string{host + " 1 IN A " + ip}
	for _, partition := range []string{"", "DomainDnsZones.", "ForestDnsZones."} { // without these a demotion leaves the others
		records = append(records, partition+p.Domain+". 900 IN A "+first.Resolver)
	}
	if err := first.updateDNS(p.Domain, records...); err != nil {
		return err
	}
	msdcs, all, near := "_msdcs."+p.Domain, "_ldap._tcp.dc._msdcs."+p.Domain+". 1 IN SRV 0 100 389 ", "_ldap._tcp."+NearSite+"._sites.dc._msdcs."+p.Domain+". 1 IN SRV 0 100 389 "
	return first.updateDNS(msdcs, all+"dc1."+p.Domain+".", all+host, near+host)
}

// shareAuthorities makes the authorities of both peers trusted by each.
func shareAuthorities(peers ...*Peer) error {
	var all []byte
	for _, p := range peers {
		text, err := os.ReadFile(p.CAFile)
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	for _, p := range peers {
		p.CAFile = filepath.Join(p.Dir, "both.pem")
		if err := os.WriteFile(p.CAFile, all, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Demote removes another controller, which may still run, from the domain of p and from its
// DNS.
func (p *Peer) Demote(other *Peer) error {
	name := strings.ToUpper(strings.TrimPrefix(other.Name, "samba "))
	if err := p.tool("domain", "demote", "--remove-other-dead-server="+name); err != nil {
		return fmt.Errorf("demote %s: %w", name, err)
	}
	return nil
}
