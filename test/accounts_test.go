package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// A domain is a real directory with an administrator and somebody called
// alice.
type domain struct {
	start              func(testing.TB) *peers.Peer
	admin, adminSecret string
	alice              string // DN
	disable            string // the change that keeps her out
}

var domains = map[string]domain{
	"openldap": {
		start: peers.OpenLDAP, admin: "cn=admin,dc=example,dc=test", adminSecret: peers.Password("admin"),
		alice: "uid=alice,ou=people,dc=example,dc=test", disable: "pwdAccountLockedTime: 000001010000Z",
	},
	"samba": {
		start: peers.Samba, admin: "Administrator@ad.example.test", adminSecret: "Adm1n-Passw0rd!",
		alice: "CN=alice,CN=Users,DC=ad,DC=example,DC=test", disable: "userAccountControl: 514",
	},
	"389ds": {
		start: peers.DS389, admin: "cn=Directory Manager", adminSecret: "Manager-Passw0rd",
		alice: "uid=alice,ou=people,dc=example,dc=test", disable: "nsAccountLock: true",
	},
}

// serveDomain starts berth in front of p. Everybody may download at 256 KiB a
// second, and is looked up again every second. More are settings of the directory,
// where they begin with "when", of the rule, and the section "mail:".
func serveDomain(t *testing.T, p *peers.Peer, more ...string) (*server, string) {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "bind-password")
	if err := os.WriteFile(password, []byte(p.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	directory, rule, sections := "", "", ""
	for _, m := range more {
		switch {
		case strings.HasPrefix(m, "when"):
			rule += m + ", "
		case strings.HasPrefix(m, "mail:"):
			sections += strings.ReplaceAll(m, "DIR", dir) + "\n"
		default:
			directory += ", " + m
		}
	}
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: domain, kind: %[2]s, urls: [%[3]s], ca_file: %[4]s, base: "%[5]s", bind_dn: "%[6]s", bind_password_file: %[7]s, key_attribute: %[8]s, cache: 0s%[9]s}
rules:
  - {name: all, %[10]shome: {host: "%[1]s/home/%%u", create: true}, services: [sftp, scp, passwd, whoami], limits: {download_rate: 256KiB}}
ssh: {refusal_delay: 0s, recheck: 1s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, p.Kind, p.LDAPS, p.CAFile, p.Base, p.BindDN, password, p.KeyAttribute, directory, rule) + sections
	config := filepath.Join(dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s, dir
}

// change has the administrator replace one attribute of alice.
func (d domain) change(t *testing.T, p *peers.Peer, attribute string) {
	t.Helper()
	name, _, _ := strings.Cut(attribute, ":")
	cmd := exec.Command("ldapmodify", "-x", "-H", p.LDAPS, "-D", d.admin, "-w", d.adminSecret)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	cmd.Stdin = strings.NewReader("dn: " + d.alice + "\nchangetype: modify\nreplace: " + name + "\n" + attribute + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v: %s", err, out)
	}
}

// TestDisabledUserIsCutOff disables somebody in the midst of a transfer.
func TestDisabledUserIsCutOff(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass", "ldapmodify")
	for name, d := range domains {
		t.Run(name, func(t *testing.T) {
			p := d.start(t)
			s, dir := serveDomain(t, p)
			big := filepath.Join(dir, "home/alice/big")
			if err := os.MkdirAll(filepath.Dir(big), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(big, make([]byte, 64<<20), 0o600); err != nil { // 256 s at that rate
				t.Fatal(err)
			}
			back := filepath.Join(dir, "back")
			cmd := exec.Command("sshpass", "-p", peers.Password("alice"), "sftp", "-q", "-oBatchMode=no", "-b", "-", "-F", "none",
				"-P", s.port(), "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "alice@127.0.0.1")
			cmd.Stdin = strings.NewReader("get /big " + back + "\n")
			var told strings.Builder
			cmd.Stderr = &told
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			eventually(t, "the transfer to be under way", func() bool {
				info, err := os.Stat(back)
				return err == nil && info.Size() > 0
			})
			d.change(t, p, d.disable)
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the transfer came to its end")
				}
				if !strings.Contains(told.String(), "This session has ended.") {
					t.Errorf("the client was not told why: %q", told.String())
				}
			case <-time.After(30 * time.Second):
				cmd.Process.Kill()
				t.Fatal("the transfer goes on 30 s after the user was disabled")
			}
			recorded(t, dir, `"type":"login_revoked"`)
		})
	}
}

// TestGuessesNeverLock guesses a hundred times; the account must be open to its
// owner in the directory itself afterwards, which locks at three.
func TestGuessesNeverLock(t *testing.T) {
	need(t, "ldapwhoami")
	for name, d := range domains {
		t.Run(name, func(t *testing.T) {
			p := d.start(t)
			s, dir := serveDomain(t, p)
			var guessers sync.WaitGroup
			for range 5 {
				guessers.Go(func() {
					for range 5 {
						guess(t, s.addr, 4)
					}
				})
			}
			guessers.Wait()
			user := d.alice
			cmd := exec.Command("ldapwhoami", "-x", "-H", p.LDAPS, "-D", user, "-w", peers.Password("alice"))
			cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
			// Samba does not know "Who am I?", but says so only to whom it let in.
			if out, err := cmd.CombinedOutput(); err != nil && (name != "samba" || strings.Contains(string(out), "Invalid credentials")) {
				t.Errorf("the account is locked: %s", out)
			}
			eventually(t, "100 refusals, some of them by the shield", func() bool {
				events := readFile(t, filepath.Join(dir, "events.jsonl"))
				shielded := strings.Count(events, `"type":"login_shielded"`)
				return shielded > 0 && shielded+strings.Count(events, `"type":"login_rejected"`) >= 100
			})
		})
	}
}

// login logs in with a password, and returns the text that the server sent
// before.
func login(addr, user, password string) (banner string, err error) {
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
		BannerCallback: func(text string) error { banner += text; return nil },
	})
	if err == nil {
		c.Close()
	}
	return banner, err
}

// guess tries wrong passwords for alice on one connection.
func guess(t *testing.T, addr string, times int) {
	n := 0
	wrong := ssh.PasswordCallback(func() (string, error) {
		n++
		return fmt.Sprintf("guess-%d", n), nil
	})
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.RetryableAuthMethod(wrong, times)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
		BannerCallback: func(text string) error {
			t.Errorf("a guesser is told %q: neither that the shield holds nor anything else", text)
			return nil
		},
	})
	if err == nil {
		c.Close()
		t.Error("a guess got in")
	}
}
