package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const ds389Manager = "cn=Directory Manager"

// DS389 starts 389 Directory Server for the time of a test. It needs root and
// takes 20 s.
func DS389(t testing.TB) *Peer {
	t.Helper()
	Need(t, "389ds")
	p := &Peer{Name: "389ds", Dir: t.TempDir()}
	return p.run(t, func() error {
		if err := p.startDS389(nil); err != nil {
			return err
		}
		return p.fillDS389(filler{Dir: p.Dir, now: time.Now()}, "ds389", "config.ldif", "data.ldif", "states.ldif")
	})
}

// startDS389 starts an empty server, which change, if set, changed before.
func (p *Peer) startDS389(change func(filler) error) error {
	plain, secure, err := p.listen()
	if err != nil {
		return err
	}
	p.Kind, p.Base = "389ds", "dc=example,dc=test"
	p.BindDN, p.BindPassword = "uid=svc,ou=people,dc=example,dc=test", Password("svc")
	p.KeyAttribute = "nsSshPublicKey"
	p.CAFile = filepath.Join(p.Dir, "tls/ca.pem")
	f := filler{Dir: p.Dir, Plain: plain, Secure: secure, Svc: p.BindDN, now: time.Now()}
	if err := f.makeDS389(); err != nil {
		return err
	}
	if change != nil {
		if err := change(f); err != nil {
			return err
		}
	}
	p.command = func() *exec.Cmd {
		return namespace(p.Dir, "-m", "exec ns-slapd -D /etc/dirsrv/slapd-test -i /run/dirsrv/slapd-test.pid -d 0")
	}
	p.ready = handshake("127.0.0.1:"+secure, p.CAFile)
	return p.Start()
}

// namespace runs a command where 389 DS finds its files in dir.
func namespace(dir, kinds, command string) *exec.Cmd {
	return exec.Command("unshare", kinds, "bash", "-c", fmt.Sprintf(". %s/namespace.sh; %s", dir, command))
}

// makeDS389 makes an instance without starting it.
func (f filler) makeDS389() error {
	if err := f.directoriesDS389(); err != nil {
		return err
	}
	if err := f.certificates(); err != nil {
		return err
	}
	for _, name := range []string{"namespace.sh", "instance.inf"} {
		if err := f.fill("ds389/"+name, name); err != nil {
			return err
		}
	}
	if err := f.edit("/usr/share/dirsrv/inf/defaults.inf", "defaults.inf", "with_systemd = 1", "with_systemd = 0"); err != nil {
		return err
	}
	// One at a time, in other processes too: two that set up get into each other's way.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "berth-test-389ds.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	// In a network namespace too: the server that sets up listens everywhere.
	if _, err := output(namespace(f.Dir, "-nm", "ip link set lo up; dscreate -v from-file "+filepath.Join(f.Dir, "instance.inf"))); err != nil {
		return err
	}
	if err := f.certificateDS389(); err != nil {
		return err
	}
	dse := "etc/slapd-test/dse.ldif" // says where the instance listens: on loopback only, with TLS
	return f.edit(filepath.Join(f.Dir, dse), dse, "nsslapd-port:", "nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\nnsslapd-port:")
}

// directoriesDS389 copies /etc/dirsrv and makes what the server writes to.
func (f filler) directoriesDS389() error {
	// The server leaves root, so the way to its files must be open.
	for dir := f.Dir; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := output(exec.Command("cp", "-a", "/etc/dirsrv", filepath.Join(f.Dir, "etc"))); err != nil {
		return err
	}
	return f.folders("dirsrv", "lib", "log", "run", "lock")
}

// certificateDS389 puts our certificate into the instance's NSS database.
func (f filler) certificateDS389() error {
	db := filepath.Join(f.Dir, "etc/slapd-test")
	bundle := filepath.Join(f.Dir, "tls/server.p12")
	steps := []*exec.Cmd{
		exec.Command("certutil", "-F", "-n", "Server-Cert", "-d", db, "-f", filepath.Join(db, "pwdfile.txt")),
		exec.Command("openssl", "pkcs12", "-export", "-name", "Server-Cert", "-passout", "pass:",
			"-in", filepath.Join(f.Dir, "tls/server.pem"), "-inkey", filepath.Join(f.Dir, "tls/server.key"), "-out", bundle),
		exec.Command("pk12util", "-i", bundle, "-W", "", "-d", db, "-k", filepath.Join(db, "pwdfile.txt")),
		exec.Command("certutil", "-A", "-d", db, "-n", "ca", "-t", "CT,,", "-a", "-i", f.Dir+"/tls/ca.pem", "-f", filepath.Join(db, "pwdfile.txt")),
	}
	for _, cmd := range steps {
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	return nil
}

// fillDS389 fills the running server from files of a fixture: some states only it can set.
func (p *Peer) fillDS389(f filler, fixture string, names ...string) error {
	for _, name := range names {
		if err := f.fill(fixture+"/"+name, name); err != nil {
			return err
		}
		tool := "ldapmodify"
		if name == "data.ldif" {
			tool = "ldapadd"
		}
		cmd := exec.Command(tool, "-x", "-H", p.LDAPS, "-D", ds389Manager, "-w", "Manager-Passw0rd", "-f", filepath.Join(p.Dir, name))
		cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	if fixture != "ds389" {
		return nil
	}
	for range 5 {
		cmd := exec.Command("ldapwhoami", "-x", "-H", p.LDAPS, "-D", "uid=locked,ou=people,"+p.Base, "-w", "wrong")
		cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
		if err := cmd.Run(); err == nil {
			return fmt.Errorf("a wrong password was taken")
		}
	}
	return nil
}
