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
	port := freePort(t)
	m := &MailServer{
		Peer: &Peer{Name: "postfix", Dir: dir, CAFile: filepath.Join(dir, "tls/ca.pem")},
		Addr: net.JoinHostPort("127.0.0.1", port), User: "berth", PasswordFile: filepath.Join(dir, "password"),
	}
	if err := m.fill(port, append(people, m.User)); err != nil {
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
func (m *MailServer) fill(port string, people []string) error {
	boxes := ""
	for _, name := range people {
		boxes += name + "@example.test " + name + "/\n"
	}
	f := filler{Dir: m.Dir, now: time.Now()}
	if err := errors.Join(f.folders("root", "conf/sasl", "queue"), f.folders("postfix", "data"), f.folders("nobody", "mail"), f.certificates()); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"conf/main.cf": postfixMain, "conf/master.cf": port + postfixMaster, "conf/boxes": boxes,
		"conf/sasl/smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: DIR/sasldb2\nmech_list: PLAIN LOGIN\n",
		"password":             Password("berth") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(m.Dir, file), []byte(strings.ReplaceAll(text, "DIR", m.Dir)), 0o600); err != nil {
			return err
		}
		if strings.HasPrefix(file, "conf/") {
			if err := os.Chmod(filepath.Join(m.Dir, file), 0o644); err != nil {
				return err
			}
		}
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

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = DIR/queue/log
maillog_file_prefixes = DIR
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost.example.test
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = texthash:DIR/conf/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = DIR/tls/server.pem
smtpd_tls_key_file = DIR/tls/server.key
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = localhost
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = reject_unlisted_recipient, permit_sasl_authenticated, reject
`

const postfixMaster = ` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`
