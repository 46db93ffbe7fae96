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
	s := &SSHD{&Peer{Name: "sssd", Dir: t.TempDir()}, net.JoinHostPort("127.0.0.1", freePort(t))}
	if err := s.fill(directory); err != nil {
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
func (s *SSHD) fill(directory *Peer) error {
	for _, dir := range []string{"log", "lib/db", "lib/mc", "lib/pipes/private", "lib/pubconf", "lib/secrets", "lib/gpo_cache", "lib/deskprofile"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if _, err := (filler{Dir: s.Dir}).Key("host"); err != nil {
		return err
	}
	data := struct {
		*SSHD
		Directory *Peer
	}{s, directory}
	if err := writeAll("sssd", s.Dir, data); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(s.Dir, "sssd/sssd.conf"), 0o600)
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
