package test

import (
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/peers"
)

// A mailed is a mail that somebody got.
type mailed struct {
	header  netmail.Header
	subject string
	body    string
}

// mails returns what somebody got.
func mails(t *testing.T, post *peers.MailServer, name string) (all []mailed) {
	t.Helper()
	for _, text := range post.Mails(t, name) {
		m, err := netmail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, mailed{m.Header, subject, string(body)})
	}
	return all
}

// TestMail: real directories say whose password expires, by a policy of the directory,
// by one of a few people, and by a date of one person. A real mail server gets the mails.
func TestMail(t *testing.T) {
	t.Parallel()
	need(t, "ldapmodify", "ssh", "sshpass")
	post := peers.Postfix(t, "expiring", "strict", "alice", "disabled")
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("20060102150405Z") }
	for name, tt := range map[string]struct{ user, dn, policy, change string }{
		"openldap": {user: "expiring", dn: "uid=expiring,ou=people,dc=example,dc=test"}, // pwdMaxAge of 90 days, changed 87.5 days ago
		"samba": {
			user: "strict", dn: "CN=strict,CN=Users,DC=ad,DC=example,DC=test",
			policy: "CN=strict,CN=Password Settings Container,CN=System,DC=ad,DC=example,DC=test",
			change: "replace: msDS-MaximumPasswordAge\nmsDS-MaximumPasswordAge: -2160000000000\n", // 2.5 days
		},
		"389ds": {
			user: "alice", dn: "uid=alice,ou=people,dc=example,dc=test", policy: "uid=alice,ou=people,dc=example,dc=test",
			change: "replace: passwordExpirationTime\npasswordExpirationTime: " + in(60*time.Hour) + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := domains[name]
			p := d.start(t)
			if tt.policy != "" {
				d.modify(t, p, tt.policy, tt.change)
			}
			d.modify(t, p, tt.dn, "replace: displayName\ndisplayName:: WsO2w6sgIlgiIMOcbmFs\n-\nreplace: preferredLanguage\npreferredLanguage: de\n") // Zöë "X" Ünal
			ca := filepath.Join(t.TempDir(), "ca.pem")
			authority := func(file string) {
				t.Helper()
				if err := os.WriteFile(ca, []byte(readFile(t, file)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			authority(p.CAFile) // has not signed the certificate of the mail server
			s, dir := serveDomain(t, p, `mail: {server: "`+post.Addr+`", ca_file: `+ca+`, user: berth, password_file: `+post.PasswordFile+`,
  from: "Dateidienst <berth@example.test>", host: "sftp.example.test:2022", state_file: "DIR/mail.json"}`)
			has := func(typ string, n int) func() bool {
				return func() bool {
					return strings.Count(readFile(t, filepath.Join(dir, "events.jsonl")), `"type":"`+typ+`"`) >= n
				}
			}
			eventually(t, "the event of a wrong certificate", has("mail_failed", 1))
			if n := len(mails(t, post, tt.user)); n != 0 {
				t.Fatalf("%d mails through a server with a wrong certificate", n)
			}
			s.stop()
			authority(post.CAFile)
			again := func() {
				t.Helper()
				var err error
				if s, err = startServer(berth, dir, "serve", "--config", filepath.Join(dir, "berth.yaml")); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.stop)
			}
			again()
			eventually(t, "the mail", func() bool { return len(mails(t, post, tt.user)) == 1 })
			m := mails(t, post, tt.user)[0]
			to, err := m.header.AddressList("To")
			if err != nil || len(to) != 1 || to[0].Name != `Zöë "X" Ünal` || to[0].Address != tt.user+"@example.test" {
				t.Errorf("To: %v, %v", to, err)
			}
			if !strings.HasPrefix(m.subject, "Ihr Passwort läuft am ") || !strings.Contains(m.body, "in 3 Tagen") || !strings.Contains(m.body, "ssh -p 2022 sftp.example.test passwd") {
				t.Errorf("%s\n%s\nwant the German text with 3 days and how to change it", m.subject, m.body)
			}
			if got := m.header.Get("Auto-Submitted"); got != "auto-generated" {
				t.Errorf("Auto-Submitted: %q", got)
			}

			// The next one is another, also after a restart.
			s.stop()
			plan := planned(t, dir, tt.user)
			if plan.Days != 1 || !plan.At.After(time.Now().Add(24*time.Hour)) || plan.Address != tt.user+"@example.test" || plan.Language != "de" || !plan.Passwd {
				t.Errorf("next: %+v; want the one of 1 day, in a day and a half", plan)
			}
			again()
			cmd := exec.Command("sshpass", "-p", peers.Password(tt.user), "ssh", "-F", "none", "-p", s.port(),
				"-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", tt.user+"@127.0.0.1", "passwd")
			const fresh = "Fr3sh-Secret-Word"
			cmd.Stdin = strings.NewReader(peers.Password(tt.user) + "\n" + fresh + "\n" + fresh + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("passwd: %v: %s", err, out)
			}
			eventually(t, "the second mail", func() bool { return len(mails(t, post, tt.user)) == 2 })
			for _, m := range mails(t, post, tt.user) {
				reminder := strings.HasPrefix(m.subject, "Ihr Passwort läuft")
				if !reminder && (!strings.HasPrefix(m.subject, "Ihr Passwort wurde") || !strings.Contains(m.body, "127.0.0.1")) {
					t.Errorf("%s\n%s\nwant that the password was changed", m.subject, m.body)
				}
				if strings.Contains(m.body, fresh) || strings.Contains(m.body, "-Passw0rd") {
					t.Error("a mail holds a password")
				}
			}
			eventually(t, "the events", has("mail_sent", 2))
			for _, file := range []string{"events.jsonl", "output.log", "mail.json"} {
				if text := readFile(t, filepath.Join(dir, file)); strings.Contains(text, fresh) || strings.Contains(text, "-Passw0rd") {
					t.Errorf("%s holds a password", file)
				}
			}
		})
	}
	if n := len(mails(t, post, "disabled")); n != 0 {
		t.Errorf("%d mails to somebody whose account is disabled", n)
	}
}

// A plan is a line of "berth mail --dry-run --json".
type plan struct {
	User, Address, Language string
	Days                    int
	At                      time.Time
	Passwd                  bool
}

// planned returns the next mail to somebody.
func planned(t *testing.T, dir, user string) (p plan) {
	t.Helper()
	out, err := exec.Command(berth, "mail", "--config", filepath.Join(dir, "berth.yaml"), "--dry-run", "--json").Output()
	if err != nil {
		t.Fatalf("berth mail: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		if p.User == user {
			return p
		}
	}
	t.Fatalf("no mail for %s is planned:\n%s", user, out)
	return p
}
