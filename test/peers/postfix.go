package peers

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A MailServer is a Postfix for the time of a test. It takes mails from people who log
// in by StartTLS, for some names at example.test.
type MailServer struct {
	*Peer
	Addr         string // of 127.0.0.1, which is in the certificate
	User         string
	PasswordFile string
}

// Mails returns the mails that somebody has got, the oldest first.
func (m *MailServer) Mails(t testing.TB, name string) (texts []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.Dir, "mail", name, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// Log returns what the server says it has done.
func (m *MailServer) Log() string {
	text, err := os.ReadFile(filepath.Join(m.Dir, "queue/log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Postfix starts a Postfix that has its configuration, its queue and its mails in a
// folder of its own, for people and for berth.
func Postfix(t testing.TB, people ...string) *MailServer {
	t.Helper()
	Need(t, "postfix")
	// Processes of Postfix that are not root's read below it, and the queue needs short names.
	dir, err := os.MkdirTemp("", "postfix")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &MailServer{
		Peer: &Peer{Name: "postfix", Dir: dir, CAFile: filepath.Join(dir, "tls/ca.pem")},
		Addr: net.JoinHostPort("127.0.0.1", freePort(t)), User: "berth", PasswordFile: filepath.Join(dir, "password"),
	}
	if err := m.fill(append(people, m.User)); err != nil {
		t.Fatal(err)
	}
	m.command = func() *exec.Cmd {
		cmd := exec.Command("/usr/lib/postfix/sbin/master", "-c", m.Dir+"/conf", "-d")
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+m.Dir+"/conf")
		return cmd
	}
	m.ready = accepts(m.Addr)
	m.run(t, m.Start)
	return m
}

// fill makes everything that Postfix reads.
func (m *MailServer) fill(people []string) error {
	f := filler{Dir: m.Dir, now: time.Now()}
	if err := errors.Join(f.folders("root", "queue"), f.folders("postfix", "data"), f.folders("nobody", "mail"), f.certificates()); err != nil {
		return err
	}
	data := struct {
		*MailServer
		People []string
	}{m, people}
	if err := writeAll("postfix", m.Dir, data); err != nil {
		return err
	}
	if err := os.WriteFile(m.PasswordFile, []byte(Password("berth")+"\n"), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", m.Dir+"/sasldb2", "-u", "localhost", m.User)
	cmd.Stdin = strings.NewReader(Password("berth"))
	if _, err := output(cmd); err != nil {
		return err
	}
	if err := os.Chmod(m.Dir+"/sasldb2", 0o644); err != nil {
		return err
	}
	_, err := output(exec.Command("postfix", "-c", m.Dir+"/conf", "check"))
	return err
}
