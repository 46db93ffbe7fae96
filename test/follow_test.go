package test

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// utf16le is text as unicodePwd wants it, in the base64 of LDIF.
func utf16le(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// modify has the administrator change the directory. A line with a hyphen
// separates the changes of one entry.
func (d domain) modify(t *testing.T, p *peers.Peer, dn, changes string) {
	t.Helper()
	cmd := exec.Command("ldapmodify", "-x", "-H", p.LDAPS, "-D", d.admin, "-w", d.adminSecret)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	cmd.Stdin = strings.NewReader("dn: " + dn + "\nchangetype: modify\n" + changes)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v: %s", err, out)
	}
}

// TestSessionsFollowTheDirectory removes the proof with which a session was
// opened, or the rights that allowed it, while it is open.
func TestSessionsFollowTheDirectory(t *testing.T) {
	t.Parallel()
	need(t, "ldapmodify")
	group := map[string]string{
		"openldap": "cn=inner,ou=groups,dc=example,dc=test",
		"389ds":    "cn=inner,ou=groups,dc=example,dc=test",
		"samba":    "CN=inner,CN=Users,DC=ad,DC=example,DC=test",
	}
	other := map[string]string{
		"openldap": "uid=bob,ou=people,dc=example,dc=test",
		"389ds":    "uid=bob,ou=people,dc=example,dc=test",
		"samba":    "CN=bob,CN=Users,DC=ad,DC=example,DC=test",
	}
	const next = "An0ther-Passw0rd"
	password := map[string]string{
		"openldap": "replace: userPassword\nuserPassword: " + next + "\n",
		"389ds":    "replace: userPassword\nuserPassword: " + next + "\n",
		"samba":    "replace: unicodePwd\nunicodePwd:: " + utf16le(`"`+next+`"`) + "\n",
	}
	for name, d := range domains {
		t.Run(name, func(t *testing.T) {
			p := d.start(t)
			s, dir := serveDomain(t, p, "when: {groups: [inner]}")
			text, err := os.ReadFile(filepath.Join(p.Dir, "keys/alice"))
			if err != nil {
				t.Fatal(err)
			}
			key, err := ssh.ParsePrivateKey(text)
			if err != nil {
				t.Fatal(err)
			}
			byKey, byPassword := ssh.PublicKeys(key), ssh.Password(peers.Password("alice"))
			for _, tt := range []struct {
				name   string
				by     ssh.AuthMethod
				change func()
				reason string
				told   string
			}{
				{"removed key", byKey, func() {
					d.modify(t, p, d.alice, "delete: "+p.KeyAttribute+"\n")
				}, "key_removed", "The key you logged in with is no longer yours."},
				{"removed from the group", byPassword, func() {
					d.modify(t, p, group[name], "replace: member\nmember: "+other[name]+"\n")
				}, "no_rule", "You have no access to this server."},
				{"changed password", byPassword, func() {
					d.modify(t, p, d.alice, password[name])
				}, "password_changed", "Your password has been changed."},
			} {
				told, ended := openSession(t, s.addr, tt.by)
				tt.change()
				select {
				case <-ended:
				case <-time.After(30 * time.Second):
					t.Fatalf("%s: the session goes on after 30 s", tt.name)
				}
				if got := <-told; !strings.Contains(got, tt.told) {
					t.Errorf("%s: told %q, want %q", tt.name, got, tt.told)
				}
				recorded(t, dir, fmt.Sprintf(`"reason":%q`, tt.reason))
				if tt.reason == "no_rule" {
					d.modify(t, p, group[name], "add: member\nmember: "+d.alice+"\n")
				}
			}
		})
	}
}

// openSession opens an sftp session of alice that does nothing. told gets what
// the server writes to its standard error.
func openSession(t *testing.T, addr string, by ssh.AuthMethod) (told <-chan string, ended <-chan error) {
	t.Helper()
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{by}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	text, end := make(chan string, 1), make(chan error, 1)
	go func() {
		b, _ := io.ReadAll(stderr) // until the session ends
		text <- string(b)
	}()
	go func() { end <- c.Wait() }()
	return text, end
}
