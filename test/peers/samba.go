package peers

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"berth/test/fixtures"
)

// Names of the Samba domain.
const (
	sambaRealm = "AD.EXAMPLE.TEST"
	sambaBase  = "DC=ad,DC=example,DC=test"

	sambaAdmin    = "Adm1n-Passw0rd!"
	sambaServices = "ldap, cldap, kdc, dns"
)

// Samba starts a Samba Active Directory domain controller for the time of a
// test. It needs root. The first call on a machine makes the domain, which
// takes 15 s and is kept in the user's cache directory; later ones take 2 s.
func Samba(t testing.TB) *Peer {
	t.Helper()
	Need(t, "samba")
	p := &Peer{Name: "samba", Dir: t.TempDir()}
	return p.run(t, func() error { return p.startSamba(sambaServices) })
}

func (p *Peer) startSamba(services string) error {
	domain, err := sambaDomain()
	if err != nil {
		return err
	}
	if _, err := output(exec.Command("cp", "-a", domain+"/.", p.Dir)); err != nil {
		return err
	}
	// LDAP has fixed ports here, so every controller has an address of its own.
	ip, err := freeAddress("53", "389", "636", "3268", "3269", "18088", "18464")
	if err != nil {
		return err
	}
	f := filler{Dir: p.Dir, IP: ip, Host: "DC1", Services: services, now: time.Now()}
	if err := f.certificates(ip); err != nil {
		return err
	}
	if err := f.sambaConf(); err != nil {
		return err
	}
	if err := f.lockSamba(); err != nil {
		return err
	}
	if err := p.startController(ip); err != nil {
		return err
	}
	return p.register(ip)
}

// startController starts the controller whose files are in Dir.
func (p *Peer) startController(ip string) error {
	p.Kind, p.Base = "active_directory", sambaBase
	p.LDAP, p.LDAPS = "ldap://"+ip, "ldaps://"+ip
	p.BindDN, p.BindPassword = "CN=svc,CN=Users,"+sambaBase, Password("svc")
	p.KeyAttribute = "sshPublicKey"
	p.CAFile = filepath.Join(p.Dir, "tls/ca.pem")
	p.command = func() *exec.Cmd {
		return exec.Command("samba", "-i", "-M", "single", "--configfile="+filepath.Join(p.Dir, "smb.conf"), "--debug-stdout")
	}
	p.ready = handshake(net.JoinHostPort(ip, "636"), p.CAFile)
	p.Domain, p.Resolver = strings.ToLower(sambaRealm), ip
	return p.Start()
}

// register sets what changes from start to start in the DNS of the domain: the
// address of the controller, and the port of its KDC.
func (p *Peer) register(ip string) error {
	host := "dc1." + p.Domain + "."
	return p.updateDNS(p.Domain,
		host+" 900 IN A "+ip,
		"_kerberos._tcp."+p.Domain+". 900 IN SRV 0 100 18088 "+host)
}

// updateDNS replaces records in a zone of the domain's DNS. Those that follow each other
// and have one name are one set.
func (p *Peer) updateDNS(zone string, records ...string) error {
	update := new(dns.Msg).SetUpdate(zone + ".")
	name := ""
	for _, text := range records {
		record, err := dns.NewRR(text)
		if err != nil {
			return err
		}
		if record.Header().Name != name {
			update.RemoveRRset([]dns.RR{record})
			name = record.Header().Name
		}
		update.Insert([]dns.RR{record})
	}
	reply, err := dns.Exchange(update, net.JoinHostPort(p.Resolver, "53"))
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("update of DNS: %s", dns.RcodeToString[reply.Rcode])
	}
	return err
}

// freeAddress returns a loopback address on which all ports are free.
func freeAddress(ports ...string) (string, error) {
	for range 50 {
		ip := fmt.Sprintf("127.%d.%d.%d", 100+rand.IntN(100), rand.IntN(256), 1+rand.IntN(254))
		free := true
		for _, port := range ports {
			l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
			if err != nil {
				free = false
				break
			}
			if err := l.Close(); err != nil {
				return "", err
			}
		}
		if free {
			return ip, nil
		}
	}
	return "", fmt.Errorf("no loopback address has the ports %v free", ports)
}

// sambaDomain returns the directory with the finished domain, and makes it if
// the fixtures or Samba have changed.
func sambaDomain() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache" // a service without a home
	}
	version, err := output(exec.Command("samba", "--version"))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, version)
	names, err := fs.Glob(fixtures.Files, "samba/*")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := fs.ReadFile(fixtures.Files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(text))
	}
	dir := filepath.Join(cache, "berth", fmt.Sprintf("samba-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making)
	if err := makeSambaDomain(making); err != nil {
		return "", err
	}
	// Another test may have made it meanwhile: then that one is as good.
	if err := os.Rename(making, dir); err != nil {
		if _, missing := os.Stat(dir); missing != nil {
			return "", err
		}
	}
	return dir, nil
}

func makeSambaDomain(dir string) error {
	_, err := output(exec.Command("samba-tool", "domain", "provision", "--targetdir="+dir,
		"--realm="+sambaRealm, "--domain=EXAMPLE", "--server-role=dc", "--dns-backend=SAMBA_INTERNAL",
		"--host-name=dc1", "--host-ip=127.0.0.1", "--adminpass="+sambaAdmin,
		"--option=interfaces=lo", "--option=bind interfaces only=yes"))
	if err != nil {
		return err
	}
	f := filler{Dir: dir, IP: "127.0.0.1", Host: "DC1", Services: sambaServices, now: time.Now()}
	if err := f.sambaConf(); err != nil {
		return err
	}
	steps := []struct {
		tool, file string
		options    []string
	}{
		// One process for each, because each must load the schema anew.
		{"ldbmodify", "schema-attribute.ldif", []string{"--option=dsdb:schema update allowed=true"}},
		{"ldbmodify", "schema-class.ldif", []string{"--option=dsdb:schema update allowed=true"}},
		{"ldbmodify", "schema-user.ldif", []string{"--option=dsdb:schema update allowed=true"}},
		{"ldbmodify", "policy.ldif", nil},
		{"ldbadd", "data.ldif", nil},
		{"ldbmodify", "primary.ldif", nil},
		{"ldbmodify", "expired.ldif", []string{bypassPasswordHash}},
	}
	for _, s := range steps {
		if s.file == "primary.ldif" {
			sid, err := f.objectSID("primary")
			if err != nil {
				return err
			}
			f.RID = sid[strings.LastIndexByte(sid, '-')+1:]
		}
		if err := f.ldb(s.tool, s.file, s.options...); err != nil {
			return err
		}
	}
	if err := f.grantSamba(); err != nil {
		return err
	}
	_, err = output(exec.Command("samba-tool", "domain", "exportkeytab", filepath.Join(dir, "host.keytab"),
		"--principal=host/sftp.example.test", "--configfile="+filepath.Join(dir, "smb.conf")))
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "state/sysvol")) // copied each time, never used
}

// bypassPasswordHash is the control with which Samba lets its own tools set
// pwdLastSet.
const bypassPasswordHash = "--controls=local_oid:1.3.6.1.4.1.7165.4.3.12:0"

// sambaConf writes smb.conf and the directories it names.
func (f filler) sambaConf() error {
	for _, name := range []string{"cache", "lock", "run", "ncalrpc", "ntp", "winbindd", "state/sysvol"} {
		if err := os.MkdirAll(filepath.Join(f.Dir, name), 0o755); err != nil {
			return err
		}
	}
	return f.fill("samba/smb.conf", "smb.conf")
}

// ldb runs one of the ldb tools on the domain while no server has it open.
func (f filler) ldb(tool, file string, options ...string) error {
	if err := f.fill("samba/"+file, file); err != nil {
		return err
	}
	args := append(f.ldbArgs(), options...)
	_, err := output(exec.Command(tool, append(args, filepath.Join(f.Dir, file))...))
	return err
}

func (f filler) ldbArgs() []string {
	return []string{"-H", filepath.Join(f.Dir, "private/sam.ldb"), "--configfile=" + filepath.Join(f.Dir, "smb.conf")}
}

// grantSamba gives the service account the rights of rights.sddl.
func (f filler) grantSamba() error {
	var err error
	if f.SID, err = f.objectSID("svc"); err != nil {
		return err
	}
	if err := f.fill("samba/rights.sddl", "rights.sddl"); err != nil {
		return err
	}
	sddl, err := os.ReadFile(filepath.Join(f.Dir, "rights.sddl"))
	if err != nil {
		return err
	}
	args := append([]string{"dsacl", "set"}, f.ldbArgs()...)
	_, err = output(exec.Command("samba-tool", append(args, "--objectdn=CN=Users,"+sambaBase, "--sddl="+strings.TrimSpace(string(sddl)))...))
	return err
}

func (f filler) objectSID(name string) (string, error) {
	args := append(f.ldbArgs(), "-b", "CN="+name+",CN=Users,"+sambaBase, "-s", "base", "objectSid")
	out, err := output(exec.Command("ldbsearch", args...))
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(out, "\n") {
		if sid, ok := strings.CutPrefix(line, "objectSid: "); ok {
			return strings.TrimSpace(sid), nil
		}
	}
	return "", fmt.Errorf("%q has no objectSid", name)
}

// FileTime is the start as Active Directory counts time.
func (f filler) FileTime() int64 { return (f.now.Unix() + 11644473600) * 10_000_000 }

// lockSamba locks the account "locked" from now on: it would be free again half
// an hour after the domain was made.
func (f filler) lockSamba() error {
	return f.ldb("ldbmodify", "locked.ldif", bypassPasswordHash)
}

// SambaKeytab returns a keytab with the keys of a person of Samba.
func (p *Peer) SambaKeytab(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".keytab")
	_, err := output(exec.Command("samba-tool", "domain", "exportkeytab", file,
		"--principal="+name, "--configfile="+filepath.Join(p.Dir, "smb.conf")))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// LDB is one of the ldb tools on the files of Samba, which may be running. Unless it sets
// passwords, it can set what only the server itself sets.
func (p *Peer) LDB(tool string, passwords bool) *exec.Cmd {
	args := filler{Dir: p.Dir}.ldbArgs()
	if !passwords {
		args = append(args, bypassPasswordHash)
	}
	return exec.Command(tool, args...)
}
