package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An SSHD is OpenSSH's server, and SSSD, for the time of a test. Its PID is that of a process
// from which both descend.
type SSHD struct {
	*Peer
	Addr string
}

// OpenSSHWithSSSD starts OpenSSH's server for the people of a directory, who need the
// attributes of posixAccount, except on Active Directory. SSSD asks the directory: OpenSSH gets keys from it with
// AuthorizedKeysCommand, and has it check passwords by PAM. What SSSD knows it uses again,
// passwords too. The machine stays as it is: both have mount and process namespaces of
// their own, with their own nsswitch.conf and pam.d. It needs root.
func OpenSSHWithSSSD(t testing.TB, directory *Peer) *SSHD {
	t.Helper()
	Need(t, "sssd")
	port := freePort(t)
	s := &SSHD{&Peer{Name: "sssd", Dir: t.TempDir()}, net.JoinHostPort("127.0.0.1", port)}
	if err := s.fill(directory, port); err != nil {
		t.Fatal(err)
	}
	s.command = func() *exec.Cmd {
		cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec", inNamespace)
		cmd.Dir = s.Dir
		return cmd
	}
	s.ready = s.listens
	s.run(t, s.Start)
	return s
}

// inNamespace waits for all processes that lose their parents, so that the time they used
// is not lost.
const inNamespace = `
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind nsswitch.conf /etc/nsswitch.conf
mount --bind pam.d /etc/pam.d
mount --bind sssd /etc/sssd
mount --bind lib /var/lib/sss
mount --bind log /var/log/sssd
sssd -i &
"$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$PWD/sshd_config" &
wait
`

// fill writes what is bound over the files of the machine.
func (s *SSHD) fill(directory *Peer, port string) error {
	for _, dir := range []string{"pam.d", "sssd", "log", "lib/db", "lib/mc", "lib/pipes/private", "lib/pubconf", "lib/secrets", "lib/gpo_cache", "lib/deskprofile"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if _, err := (filler{Dir: s.Dir}).Key("host"); err != nil {
		return err
	}
	files := map[string]string{
		"sshd_config":    fmt.Sprintf(sshdConfig, port, s.Dir),
		"nsswitch.conf":  "passwd: files sss\ngroup: files sss\nshadow: files sss\nhosts: files\n",
		"pam.d/sshd":     "auth required pam_sss.so\naccount required pam_sss.so\npassword required pam_deny.so\nsession required pam_permit.so\n",
		"pam.d/other":    "auth required pam_deny.so\naccount required pam_deny.so\npassword required pam_deny.so\nsession required pam_deny.so\n",
		"sssd/sssd.conf": fmt.Sprintf(sssdConfig, directory.LDAPS, directory.Base, directory.BindDN, directory.BindPassword, directory.CAFile, directory.KeyAttribute) + sssdSchema[directory.Kind],
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(s.Dir, "nsswitch.conf"), 0o644)
}

const sshdConfig = `ListenAddress 127.0.0.1
Port %s
HostKey %s/keys/host
PidFile none
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile none
AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys
AuthorizedKeysCommandUser nobody
UseDNS no
MaxStartups 2000
LogLevel ERROR
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
`

// cached_auth_timeout lets SSSD check a password against what it keeps of the last login.
const sssdConfig = `[sssd]
services = nss, pam, ssh
domains = company
[nss]
[pam]
[ssh]
[domain/company]
id_provider = ldap
auth_provider = ldap
access_provider = permit
ldap_uri = %s
ldap_search_base = %s
ldap_default_bind_dn = %s
ldap_default_authtok = %s
ldap_tls_cacert = %s
ldap_tls_reqcert = demand
ldap_user_ssh_public_key = %s
cache_credentials = true
cached_auth_timeout = 3600
`

// sssdSchema is where SSSD finds the numbers of people. On Active Directory it makes them.
var sssdSchema = map[string]string{
	"openldap":         "ldap_schema = rfc2307bis\nldap_group_object_class = groupOfNames\n",
	"active_directory": "ldap_schema = ad\nldap_id_mapping = true\nldap_use_tokengroups = true\nldap_referrals = false\n",
}

// Run runs a program of the machine where SSSD's people are accounts.
func (s *SSHD) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := output(exec.Command("nsenter", append([]string{"-t", fmt.Sprint(s.PID()), "--mount"}, args...)...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// listens is a ready function.
func (s *SSHD) listens() error {
	for _, socket := range []string{"nss", "ssh", "private/pam"} {
		if _, err := os.Stat(filepath.Join(s.Dir, "lib/pipes", socket)); err != nil {
			return err
		}
	}
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	greeting := make([]byte, len("SSH-2.0-OpenSSH"))
	if _, err := c.Read(greeting); err != nil {
		return err
	}
	if !strings.HasPrefix(string(greeting), "SSH-2.0-OpenSSH") {
		return fmt.Errorf("the server greets with %q", greeting)
	}
	return nil
}
