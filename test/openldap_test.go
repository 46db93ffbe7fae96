package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/peers"
)

// TestScriptsOpenLDAP runs the same scenarios with slapd in place of the
// embedded directory; nothing but the configuration is another. StartTLS is
// another way to open a connection only, so what asks slapd most will do.
func TestScriptsOpenLDAP(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "scp", "ssh", "sshpass", "ssh-keygen", "expect", "ldapmodify")
	all, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for encrypted, scripts := range map[string][]string{
		"ldaps":    all,
		"starttls": {"testdata/script/life.txtar", "testdata/script/passwd.txtar", "testdata/script/ownkeys.txtar"},
	} {
		t.Run(encrypted, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: scripts,
				Setup: func(env *testscript.Env) error {
					return setup(env, func(env *testscript.Env, dir string) (*server, error) {
						return startWithOpenLDAP(env, dir, encrypted == "starttls")
					})
				},
				Cmds:      commands,
				Condition: func(cond string) (bool, error) { return has(cond), nil },
			})
		})
	}
}

// demoBase is where the demonstration's people are in slapd.
const demoBase = "ou=demo,dc=example,dc=test"

func startWithOpenLDAP(env *testscript.Env, dir string, startTLS bool) (*server, error) {
	for _, sub := range []string{"home", "shared", "finance", "drop", "keys", "slapd"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"shared/welcome.txt": "welcome\n", "finance/budget.csv": "year,euros\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	people, err := demoPeople(dir)
	if err != nil {
		return nil, err
	}
	p, err := peers.StartOpenLDAP(filepath.Join(dir, "slapd"), people)
	if err != nil {
		return nil, err
	}
	env.Defer(p.Kill)
	config, err := openLDAPConfig(dir, p, startTLS)
	if err != nil {
		return nil, err
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		return nil, err
	}
	s.addKeys = func(_ *server, user string, keys []string) error { return addKeysByLDAP(p, user, keys) }
	return s, nil
}

// demoPeople is the people of the demonstration as slapd takes them, with new
// keys in dir.
func demoPeople(dir string) (string, error) {
	public := map[string]string{}
	for _, name := range []string{"Alice", "Dave"} {
		file := filepath.Join(dir, "keys", strings.ToLower(name))
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
			return "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
		line, err := os.ReadFile(file + ".pub")
		if err != nil {
			return "", err
		}
		public[name] = strings.TrimSpace(string(line))
	}
	t, err := template.ParseFiles("../cmd/berth/demo/people.ldif")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := t.Execute(&text, public); err != nil {
		return "", err
	}
	_, entries, _ := strings.Cut(text.String(), "dn: ou=people,")
	return "dn: " + demoBase + "\nobjectClass: organizationalUnit\nou: demo\n\n" + strings.NewReplacer(
		"dc=demo,dc=example", demoBase,
		"nsAccountLock: TRUE", "pwdAccountLockedTime: 000001010000Z", // how OpenLDAP says it
	).Replace("dn: ou=people,"+entries), nil
}

// openLDAPConfig is the demonstration's configuration with another directory.
func openLDAPConfig(dir string, p *peers.Peer, startTLS bool) (string, error) {
	t, err := template.ParseFiles("../cmd/berth/demo/berth.yaml")
	if err != nil {
		return "", err
	}
	listen, admin, err := addresses()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]string{"Dir": dir, "Listen": listen, "Admin": admin, "Console": "", "Socket": filepath.Join(dir, "berth.sock")})
	if err != nil {
		return "", err
	}
	url := p.LDAPS
	if startTLS {
		url = p.LDAP
	}
	password := filepath.Join(dir, "bind-password")
	if err := os.WriteFile(password, []byte(p.BindPassword+"\n"), 0o600); err != nil {
		return "", err
	}
	head, rest, _ := strings.Cut(text.String(), "directories:\n")
	_, rest, _ = strings.Cut(rest, "\nrules:\n")
	directory := fmt.Sprintf(`directories:
  - name: slapd
    kind: openldap
    urls: [%s]
    start_tls: %t
    ca_file: %s
    base: %s
    group_base: %s
    bind_dn: %s
    bind_password_file: %s
    key_change: service
    password_policy: cn=default,ou=policies,dc=example,dc=test
`, url, startTLS, p.CAFile, demoBase, demoBase, p.BindDN, password)
	if hasLandlock() { // so that it is known to need no more
		directory += "landlock: {enabled: true}\n"
	}
	file := filepath.Join(dir, "berth.yaml")
	return file, os.WriteFile(file, []byte(head+directory+"\nrules:\n"+rest), 0o600)
}

func addKeysByLDAP(p *peers.Peer, user string, keys []string) error {
	change := fmt.Sprintf("dn: uid=%s,ou=people,%s\nchangetype: modify\nadd: objectClass\nobjectClass: ldapPublicKey\n-\nadd: sshPublicKey\n", user, demoBase)
	for _, k := range keys {
		change += "sshPublicKey: " + k + "\n"
	}
	cmd := exec.Command("ldapmodify", "-x", "-H", p.LDAPS, "-D", "cn=admin,dc=example,dc=test", "-w", peers.Password("admin"))
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	cmd.Stdin = strings.NewReader(change)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ldapmodify: %w: %s", err, out)
	}
	return nil
}
