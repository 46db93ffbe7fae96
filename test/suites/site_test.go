package suites

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/leaks"
	"berth/test/peers"
)

// A site is a configured server and its one user, who may do all.
type site struct {
	dir    string // holds everything
	root   string // the user's home, on this machine
	remote string // the same as a client names it
	port   string
	pid    int // once started
}

const password = "First-Pass-77"

// people is the embedded directory. The user's public key comes at its end.
const people = `version: 1

dn: dc=suites,dc=example
objectClass: dcObject
objectClass: organization
dc: suites
o: Suites

dn: uid=tester,dc=suites,dc=example
objectClass: inetOrgPerson
objectClass: ldapPublicKey
uid: tester
cn: Tess Tester
sn: Tester
userPassword: ` + password + `
sshPublicKey: `

// settings has an ECDSA host key because JSch knows no other of today. Clients
// that never rest would keep the server that ends for the whole drain.
const settings = `
listen: [127.0.0.1:%s]
host_keys: [%[2]s/ssh_host_ed25519_key, %[2]s/ssh_host_rsa_key, %[2]s/ssh_host_ecdsa_key]
directories:
  - {name: suites, kind: embedded, ldif: %[2]s/people.ldif}
rules:
  - name: all
    home: {host: %[3]s, permissions: [full]}
    services: [sftp, scp, passwd]
%[4]s
ssh: {drain: 2s}
events: {file: %[2]s/events.jsonl}
admin: {listen: "127.0.0.1:0"}
`

// token is the secret of one-time codes of those who have one.
const token = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// withCodes has every client log in as a user of its own, with a one-time code.
func (s *site) withCodes(t *testing.T) {
	t.Helper()
	edit := func(name string, change func(string) string) {
		file := filepath.Join(s.dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(change(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("berth.yaml", func(text string) string {
		return strings.NewReplacer(
			"kind: embedded,", "kind: embedded, totp_attribute: totpSecret,",
			"services: [", "require: [[publickey, totp], [password, totp]]\n    services: [whoami, ",
		).Replace(text)
	})
	edit("people.ldif", func(text string) string {
		_, tester, _ := strings.Cut(text, "dn: uid=tester,")
		for _, name := range []string{"openssh", "plink", "paramiko"} {
			text += "\ndn: uid=" + name + "," + strings.Replace(tester, "uid: tester", "uid: "+name+"\ntotpSecret: "+token, 1)
		}
		return text
	})
}

// withMustChange adds people who must choose a new password, one for each client.
func (s *site) withMustChange(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "people.ldif"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"openssh", "plink", "asyncssh", "paramiko"} {
		fmt.Fprintf(f, "\ndn: uid=%[1]s,dc=suites,dc=example\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nuserPassword: %[2]s\npwdReset: TRUE\n", name, password)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// samePaths shows the home also under the path that it has on this machine.
const samePaths = `
  - name: same paths
    folders: [{path: %[1]s, host: %[1]s, permissions: [full]}]
`

// tickets offers Kerberos to clients that have no ticket, and noPenalties lets them
// try again and again.
const (
	tickets     = "\nkerberos: {keytab: %[2]s/keytab}\n"
	noPenalties = "\nadmission: {penalties: {max: 0s}}\n"
)

// withKeytab makes a keytab for which there is no KDC.
func (s *site) withKeytab(t *testing.T) {
	t.Helper()
	cmd := exec.Command("ktutil")
	cmd.Stdin = strings.NewReader("addent -password -p host/localhost@SUITES.EXAMPLE -k 1 -e aes256-cts\nsecret\nwkt " + filepath.Join(s.dir, "keytab") + "\nq\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ktutil: %v\n%s", err, out)
	}
}

// virtualFolder shows a folder below a directory that is on no disk.
const virtualFolder = `
  - name: virtual
    folders: [{path: /virtual/folder, host: %[1]s, permissions: [full]}]
`

// uploads are rules for the two ways in which an upload may come to its name.
var uploads = map[string]string{
	"direct": "",
	"atomic": "\n  - {name: uploads, uploads: atomic}\n",
}

// newSite writes the configuration of a server, with more rules and settings. In
// them, %[1]s is the home, and %[2]s where everything is.
func newSite(t *testing.T, rules ...string) *site {
	t.Helper()
	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &site{dir: dir, root: filepath.Join(dir, "home"), remote: "/", port: port}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key")).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(filepath.Join(dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"people.ldif": people + string(public),
		"berth.yaml":  fmt.Sprintf(settings, s.port, dir, s.root, strings.NewReplacer("%[1]s", s.root, "%[2]s", dir).Replace(strings.Join(rules, ""))),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.keepsSecrets(t) })
	return s
}

// keepsSecrets looks for the passwords of the suites in the output of the
// server.
func (s *site) keepsSecrets(t *testing.T) {
	t.Helper()
	passwords, err := leaks.Passwords("site_test.go", "passwd.sh")
	if err != nil || len(passwords) < 3 {
		t.Errorf("passwords of the suites: %q, %v", passwords, err)
	}
	for _, name := range []string{"server.log", "events.jsonl"} {
		found, looked, err := leaks.Find(filepath.Join(s.dir, name), passwords)
		if err != nil || len(found) > 0 || looked == 0 {
			t.Errorf("secrets in %s, of %d bytes: %q, %v", name, looked, found, err)
		}
	}
}

func (s *site) serve() []string {
	return []string{berth, "serve", "--config", filepath.Join(s.dir, "berth.yaml")}
}

// start runs the server for the time of the test.
func (s *site) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := s.serve()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	s.pid = cmd.Process.Pid
	for said := bufio.NewScanner(out); said.Scan(); {
		if strings.HasPrefix(said.Text(), "listening on ") {
			go io.Copy(io.Discard, out)
			return
		}
	}
	t.Fatalf("the server ended:\n%s", tail(log.Name()))
}

func (s *site) environment() []string {
	return append(os.Environ(),
		"HOST=127.0.0.1", "PORT="+s.port,
		"SFTP_USER=tester", "SFTP_PASS="+password, "SFTP_KEY="+filepath.Join(s.dir, "key"), "TOTP_SECRET="+token,
		"REMOTE_DIR="+s.remote, "LOCAL_ROOT="+s.root,
		"SERVER_PID="+strconv.Itoa(s.pid),
		"SERVER_CMD="+strings.Join(s.serve(), " "), "SERVER_LOG="+filepath.Join(s.dir, "server.log"),
		"TMPDIR="+s.dir,
	)
}

// suite runs a suite of at least so many cases. Each is a subtest.
func (s *site) suite(t *testing.T, atLeast int, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end what it started
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("%s: %v", program, err)
	}
	cases, end := parse(string(out))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.said != "" {
				t.Log("\n" + c.said)
			}
			if c.failed {
				t.Fail()
			}
		})
	}
	if want := fmt.Sprintf("%d/%[1]d passed", len(cases)); end != want {
		t.Errorf("%s ended with %q, want %q", program, end, want)
	}
	if len(cases) < atLeast {
		t.Errorf("%s ran %d cases, want at least %d", program, len(cases), atLeast)
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", tail(filepath.Join(s.dir, "server.log")))
	}
}

// A outcome is one case of a suite.
type outcome struct {
	name   string
	failed bool
	said   string // indented lines below it
}

// parse reads what a suite prints; end is its last line.
func parse(output string) (cases []outcome, end string) {
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		end = line
		verdict, name, _ := strings.Cut(line, " ")
		switch {
		case verdict == "ok" || verdict == "FAIL":
			cases = append(cases, outcome{name: strings.TrimSpace(name), failed: verdict == "FAIL"})
		case strings.HasPrefix(line, "     ") && len(cases) > 0:
			cases[len(cases)-1].said += line + "\n"
		}
	}
	return cases, end
}

// tail returns the last lines of a file.
func tail(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
