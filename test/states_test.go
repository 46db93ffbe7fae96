package test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

var updateStates = flag.Bool("update", false, "write the table of account states in docs/security.md")

// What becomes of a person, as the table in docs/security.md says it.
const (
	in     = "in"
	out    = "out"
	passwd = "passwd" // in, and only the password can be changed
	asked  = "asked"  // for a new password in the dialogue of the login, and then in
)

// An accountState is a row of the table. The change brings a person of each server
// there: lines of LDIF that replace an attribute each.
type accountState struct {
	name   string
	change map[string][]string
	cannot map[string]string // by server: why there is no such state
	want   string            // of a new login, of a live session, and of a login between two factors
	but    map[string]string // "server method" or "method": what is different there
}

// stateMethods are the columns of the table.
var stateMethods = []string{"password", "interactive", "key", "ticket", "certificate"}

// moments are when the account changes: before the login, in a session, after the first
// factor of two.
var moments = []string{"new", "live", "between"}

var stateServers = []string{"openldap", "samba", "389ds"}

// dialogue asks for the new password at once.
var dialogue = map[string]string{"interactive": asked + " " + passwd + " " + asked}

func accountStates(now time.Time) []accountState {
	day := 24 * time.Hour
	generalized := func(t time.Time) string { return t.UTC().Format("20060102150405Z") }
	fileTime := func(t time.Time) string { return fmt.Sprint((t.Unix() + 11644473600) * 10_000_000) }
	const gone = "out out out"
	return []accountState{
		{
			name: "active", want: "in in in",
			change: map[string][]string{"openldap": {"description: new"}, "samba": {"description: new"}, "389ds": {"description: new"}},
		},
		{
			name: "disabled", want: gone,
			change: map[string][]string{"samba": {"userAccountControl: 514"}, "389ds": {"nsAccountLock: true"}},
			cannot: map[string]string{"openldap": "an administrator can only lock an account"},
		},
		{
			name: "locked by wrong passwords", want: gone,
			change: map[string][]string{
				"openldap": {"pwdAccountLockedTime: " + generalized(now)}, "samba": {"lockoutTime: " + fileTime(now)},
				"389ds": {"accountUnlockTime: " + generalized(now.Add(day)), "passwordRetryCount: 9"},
			},
		},
		{
			name: "locked until an administrator unlocks it", want: gone,
			change: map[string][]string{"openldap": {"pwdAccountLockedTime: 000001010000Z"}, "389ds": {"accountUnlockTime: 19700101000000Z"}},
			cannot: map[string]string{"samba": "only wrong passwords lock an account, and the policy says for how long"},
		},
		{
			name: "ended", want: gone,
			change: map[string][]string{"openldap": {"pwdEndTime: " + generalized(now.Add(-day))}, "samba": {"accountExpires: " + fileTime(now.Add(-day))}},
			cannot: map[string]string{"389ds": "an entry has no date on which the account ends"},
		},
		{
			name: "not yet begun", want: gone,
			change: map[string][]string{"openldap": {"pwdStartTime: " + generalized(now.Add(day))}},
			cannot: map[string]string{"samba": "an entry has no date on which the account begins", "389ds": "an entry has no date on which the account begins"},
		},
		{
			name: "outside its hours", want: gone,
			change: map[string][]string{"samba": {"logonHours:: AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}},
			cannot: map[string]string{"openldap": "the server knows no hours", "389ds": "the server knows no hours"},
		},
		{
			name: "password expired", want: "passwd passwd passwd",
			// 389 DS asks once more after a change by the service account.
			but: map[string]string{"interactive": dialogue["interactive"], "389ds interactive": "passwd passwd passwd"},
			change: map[string][]string{
				"openldap": {"pwdChangedTime: 20200101000000Z"}, "samba": {"pwdLastSet: 132000000000000000"}, "389ds": {"passwordExpirationTime: 20200101000000Z"},
			},
		},
		{
			name: "password must be changed", want: "passwd passwd passwd", but: dialogue,
			change: map[string][]string{"openldap": {"pwdReset: TRUE"}, "samba": {"pwdLastSet: 0"}, "389ds": {"passwordExpirationTime: 19700101000000Z"}},
		},
		{
			name: "state cannot be read", want: gone,
			change: map[string][]string{
				"openldap": {"pwdPolicySubentry: cn=secret,ou=policies,dc=example,dc=test"},
				// Nobody may read userAccountControl.
				"samba": {"nTSecurityDescriptor: O:DAG:DAD:(OD;;RP;bf967a68-0de6-11d0-a285-00aa003049e2;;AU)(A;;RPLCRC;;;AU)"},
				"389ds": {"acctPolicySubentry: cn=nowhere,dc=example,dc=test"},
			},
		},
		{
			name: "deleted", want: gone,
			change: map[string][]string{"openldap": nil, "samba": nil, "389ds": nil},
		},
	}
}

// wants returns what becomes of a person of a server, by method, at each of the moments.
func (s accountState) wants(server, method string) []string {
	return strings.Fields(cmp.Or(s.but[server+" "+method], s.but[method], s.want))
}

// TestStatesPage holds docs/security.md to the table that TestAccountStates plays.
func TestStatesPage(t *testing.T) {
	const file, begin, end = "../docs/security.md", "<!-- states, by go test ./test -run TestStatesPage -update -->\n", "<!-- end of states -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", file)
	}
	var b strings.Builder
	b.WriteString(before + begin)
	for _, server := range stateServers {
		fmt.Fprintf(&b, "\n| %s | password | keyboard-interactive | key | ticket | certificate |\n|---|---|---|---|---|---|\n",
			map[string]string{"openldap": "OpenLDAP", "samba": "Active Directory (Samba)", "389ds": "389 DS"}[server])
		var never []string
		for _, s := range accountStates(time.Now()) {
			if why := s.cannot[server]; why != "" {
				never = append(never, fmt.Sprintf("*%s*: %s.", s.name, why))
				continue
			}
			fmt.Fprintf(&b, "| %s |", s.name)
			for _, m := range stateMethods {
				fmt.Fprintf(&b, " %s |", strings.Join(s.wants(server, m), ", "))
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\nNot there: %s\n", strings.Join(never, " "))
	}
	b.WriteString("\n" + end + after)
	if *updateStates {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if b.String() != string(page) {
		t.Errorf("%s is not up to date: go test ./test -run TestStatesPage -update", file)
	}
}

// TestAccountStates plays every cell of the table: each person has one state, one method
// and one moment. All sessions and logins are under way when the accounts change, all at
// once.
func TestAccountStates(t *testing.T) {
	need(t, "ldapmodify")
	for _, server := range stateServers {
		t.Run(server, func(t *testing.T) {
			p := domains[server].start(t)
			w := newStateWorld(t, server, p)
			w.begin(t)
			var changes strings.Builder
			for _, h := range w.all {
				changes.WriteString(w.changeOf(h))
			}
			w.modify(t, changes.String())
			w.finish(t)
		})
	}
}

// A stateWorld is a directory with a person for each cell, and Berth in front of it.
type stateWorld struct {
	server string
	peer   *peers.Peer
	addr   string
	key    ssh.Signer
	issue  func(user string) ssh.Signer
	ticket func(user string, before func()) ssh.AuthMethod
	all    []*human
	canary *human
}

// A human is the person of one cell.
type human struct {
	name, method, moment string
	state                accountState
	want                 string

	client   *ssh.Client
	err      error
	asked    bool          // for a new password
	midway   chan struct{} // closed when the first factor is proved
	goOn     chan struct{} // closed when the account has changed
	finished chan struct{}
}

func (w *stateWorld) human(name string, s accountState, method, moment, want string) *human {
	return &human{
		name: name, method: method, moment: moment, state: s, want: want,
		midway: make(chan struct{}), goOn: make(chan struct{}), finished: make(chan struct{}),
	}
}

func newStateWorld(t *testing.T, server string, p *peers.Peer) *stateWorld {
	w := &stateWorld{server: server, peer: p}
	for i, s := range accountStates(time.Now()) {
		if s.cannot[server] != "" {
			continue
		}
		if _, ok := s.change[server]; !ok {
			t.Fatalf("%s, %s: there is neither a change nor a reason", server, s.name)
		}
		for _, method := range stateMethods {
			for j, moment := range moments {
				name := fmt.Sprintf("s%d-%.6s-%s", i, method, moment)
				w.all = append(w.all, w.human(name, s, method, moment, s.wants(server, method)[j]))
			}
		}
	}
	w.canary = w.human("canary", accountState{change: map[string][]string{server: nil}}, "key", "live", out)
	dir := t.TempDir()
	w.key = newSigner(t)
	authority := newSigner(t)
	w.issue = func(user string) ssh.Signer { return certify(t, authority, user) }
	w.ticket = tickets(t, filepath.Join(dir, "keytab"))
	if err := os.WriteFile(filepath.Join(dir, "ca.pub"), ssh.MarshalAuthorizedKey(authority.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.add(t)
	w.serve(t, dir)
	return w
}

// serve starts Berth. Whose account changes between two factors needs two.
func (w *stateWorld) serve(t *testing.T, dir string) {
	t.Helper()
	p := w.peer
	if err := os.WriteFile(filepath.Join(dir, "bind-password"), []byte(p.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: domain, kind: %[2]s, urls: [%[3]s], ca_file: %[4]s, base: "%[5]s", bind_dn: "%[6]s", bind_password_file: %[1]s/bind-password, key_attribute: %[7]s, cache: 0s}
rules:
  - {name: all, home: {host: "%[1]s/home/%%u", create: true}, services: [sftp, passwd, quota]}
  - {name: two, when: {users: ["*-between"]}, require: [[publickey, password], [password, publickey], [password, gssapi-with-mic]]}
certificates: {ca_keys: [%[1]s/ca.pub]}
kerberos: {keytab: %[1]s/keytab}
ssh: {refusal_delay: 0s, recheck: 1s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, p.Kind, p.LDAPS, p.CAFile, p.Base, p.BindDN, p.KeyAttribute)
	config := filepath.Join(dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	w.addr = s.addr
}

// dn is the entry of a person.
func (w *stateWorld) dn(name string) string {
	if w.server == "samba" {
		return "CN=" + name + ",CN=Users," + w.peer.Base
	}
	return "uid=" + name + ",ou=people," + w.peer.Base
}

// add makes the people.
func (w *stateWorld) add(t *testing.T) {
	t.Helper()
	var b strings.Builder
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(w.key.PublicKey())))
	for _, h := range append(slices.Clip(w.all), w.canary) {
		fmt.Fprintf(&b, "dn: %s\nchangetype: add\n%s: %s\n", w.dn(h.name), w.peer.KeyAttribute, key)
		if w.server == "samba" {
			fmt.Fprintf(&b, "objectClass: user\nsAMAccountName: %s\nunicodePwd:: %s\nuserAccountControl: 512\n\n", h.name, utf16le(`"`+peers.Password(h.name)+`"`))
			continue
		}
		class := map[string]string{"openldap": "ldapPublicKey", "389ds": "nsAccount"}[w.server]
		fmt.Fprintf(&b, "objectClass: inetOrgPerson\nobjectClass: %[2]s\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nuserPassword: %[3]s\n\n", h.name, class, peers.Password(h.name))
	}
	must := func(value string) string {
		return "dn: cn=config\nchangetype: modify\nreplace: passwordMustChange\npasswordMustChange: " + value + "\n\n"
	}
	if w.server == "389ds" { // which would have everybody change what an administrator set
		w.modify(t, must("off")+b.String()+must("on"))
		return
	}
	w.modify(t, b.String())
}

// changeOf is the LDIF of what happens to a person's account.
func (w *stateWorld) changeOf(h *human) string {
	lines := h.state.change[w.server]
	if len(lines) == 0 {
		return "dn: " + w.dn(h.name) + "\nchangetype: delete\n\n"
	}
	text := "dn: " + w.dn(h.name) + "\nchangetype: modify\n"
	for _, line := range lines {
		attribute, _, _ := strings.Cut(line, ":")
		text += "replace: " + attribute + "\n" + line + "\n-\n"
	}
	return text + "\n"
}

// modify applies LDIF as the administrator. Some states only the server itself sets, so its
// files or rules must be bypassed.
func (w *stateWorld) modify(t *testing.T, ldif string) {
	t.Helper()
	d := domains[w.server]
	cmd := exec.Command("ldapmodify", "-x", "-H", w.peer.LDAPS, "-D", d.admin, "-w", d.adminSecret)
	switch w.server {
	case "openldap":
		cmd.Args = append(cmd.Args, "-e", "relax")
	case "samba":
		cmd = w.peer.LDB("ldbmodify", strings.Contains(ldif, "unicodePwd"))
	}
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+w.peer.CAFile)
	cmd.Stdin = strings.NewReader(ldif)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd.Path, err, text[max(0, len(text)-600):])
	}
}

// atOnce is how many log in at the same time, a few less than max_startups refuses.
const atOnce = 8

// begin opens the sessions, and brings the others to where the account changes.
func (w *stateWorld) begin(t *testing.T) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for _, h := range append(slices.Clip(w.all), w.canary) {
		if h.moment == "new" {
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			go func() {
				defer close(h.finished)
				h.client, h.err = w.dial(h)
			}()
			select {
			case <-h.finished:
			case <-h.midway:
			}
		})
	}
	wait.Wait()
	t.Cleanup(func() {
		for _, h := range w.all {
			if h.client != nil {
				h.client.Close()
			}
		}
	})
	for _, h := range append(slices.Clip(w.all), w.canary) {
		got := in
		if h.moment == "live" {
			got, h.err = h.probe()
		} else if h.moment == "between" {
			select {
			case <-h.finished:
				got = out
			default:
			}
		}
		if got != in {
			t.Fatalf("%s cannot begin: %s, %v", h.name, got, h.err)
		}
	}
}

// finish has everybody go on, and compares what becomes of them with the table.
func (w *stateWorld) finish(t *testing.T) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for _, h := range w.all {
		if h.moment == "live" {
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if close(h.goOn); h.moment == "new" {
				h.client, h.err = w.dial(h)
			} else {
				<-h.finished
			}
		})
	}
	wait.Wait()
	// All sessions are looked at together. So when the canary is out, all were.
	w.modify(t, w.changeOf(w.canary))
	eventually(t, "the last session to end", func() bool { got, _ := w.canary.probe(); return got == out })
	for _, h := range w.all {
		got, err := h.probe()
		if got == in && h.asked {
			got = asked
		}
		if got != h.want {
			t.Errorf("%s, %s, %s: %s, want %s (%s: %v)", h.state.name, h.method, h.moment, got, h.want, h.name, err)
		}
	}
}

// dial logs a person in by the method, after another factor if the account changes between
// them.
func (w *stateWorld) dial(h *human) (*ssh.Client, error) {
	var once sync.Once
	before := func() { // the method that counts
		if h.moment == "between" {
			once.Do(func() { close(h.midway) })
			<-h.goOn
		}
	}
	password := peers.Password(h.name)
	key, byPassword := ssh.PublicKeys(w.key), ssh.Password(password)
	signers := func(s ssh.Signer) ssh.AuthMethod {
		return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { before(); return []ssh.Signer{s}, nil })
	}
	first, second := byPassword, ssh.AuthMethod(nil)
	switch h.method {
	case "password":
		first, second = key, ssh.PasswordCallback(func() (string, error) { before(); return password, nil })
	case "interactive":
		first, second = key, ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			before()
			answers := make([]string, len(questions))
			for i, q := range questions {
				answers[i] = password
				if q != "Password: " {
					h.asked, answers[i] = true, "N3w-Passw0rd!"
				}
			}
			return answers, nil
		})
	case "key":
		second = signers(w.key)
	case "certificate":
		second = signers(w.issue(h.name))
	case "ticket":
		second = w.ticket(h.name, before)
	}
	methods := []ssh.AuthMethod{second}
	if h.moment == "between" {
		methods = []ssh.AuthMethod{first, second}
	}
	return ssh.Dial("tcp", w.addr, &ssh.ClientConfig{User: h.name, Auth: methods, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
}

// probe says what a person can do now.
func (h *human) probe() (string, error) {
	if h.client == nil {
		return out, h.err
	}
	s, err := h.client.NewSession()
	if err != nil {
		return out, err
	}
	defer s.Close()
	text, err := s.CombinedOutput("quota")
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return in, nil
	case errors.As(err, &exit) && strings.Contains(string(text), "Change it with"):
		return passwd, nil
	}
	return out, fmt.Errorf("%w: %s", err, text)
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// certify makes a key with a certificate for a user.
func certify(t *testing.T, authority ssh.Signer, user string) ssh.Signer {
	s := newSigner(t)
	c := &ssh.Certificate{
		Key: s.PublicKey(), CertType: ssh.UserCert, KeyId: user, ValidPrincipals: []string{user},
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if err := c.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(c, s)
	if err != nil {
		t.Fatal(err)
	}
	return certified
}
