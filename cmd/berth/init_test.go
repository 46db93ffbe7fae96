package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/config"
	"berth/directory/ldap"
	"berth/test/peers"
)

// initialize runs berth init in a folder of its own.
func initialize(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	return initializeHere(t, args...)
}

func initializeHere(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var text strings.Builder
	cmd := root()
	cmd.SetOut(&text)
	cmd.SetArgs(slices.Concat([]string{"init", "--config", "berth.yaml", "--state", "state", "--folder", "homes", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args))
	err = cmd.ExecuteContext(t.Context())
	return text.String(), err
}

// TestInitOpenLDAP checks that init takes from the server what the server shows, and
// asks only for the rest.
func TestInitOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(p.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := func(url string) []string {
		return []string{"--url", url, "--ca-file", p.CAFile, "--account", p.BindDN, "--password-file", password, "--group", "middle"}
	}
	for _, url := range []string{p.LDAPS, p.LDAP} {
		out, err := initialize(t, flags(url)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{
			"found    openldap at " + url + ", people below dc=example,dc=test\n",
			"found    the group cn=middle,ou=groups,dc=example,dc=test, which lists ",
			"ok       example: users: ", "\n  berth explain NAME --config ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("init does not say %q:\n%s", want, out)
			}
		}
		cfg, err := config.Load("berth.yaml")
		if err != nil {
			t.Fatal(err)
		}
		d := cfg.Directories[0]
		if d.Kind != "openldap" || d.Base != p.Base || d.BindDN != p.BindDN || d.StartTLS != strings.HasPrefix(url, "ldap:") {
			t.Errorf("written: %+v", d)
		}
		if fi, err := os.Stat("berth.yaml"); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("mode of the file: %v, %v; want 0640", fi.Mode(), err)
		}
		before, err := os.ReadFile("state/ssh_host_ed25519_key")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := initializeHere(t, flags(url)...); err == nil || !strings.Contains(err.Error(), "berth.yaml exists already") {
			t.Errorf("init over a configuration = %v", err)
		}
		// Another node has the key already.
		if err := os.Remove("berth.yaml"); err != nil {
			t.Fatal(err)
		}
		if _, err := initializeHere(t, flags(url)...); err != nil {
			t.Errorf("init with a host key = %v", err)
		}
		if after, _ := os.ReadFile("state/ssh_host_ed25519_key"); string(after) != string(before) {
			t.Error("the host key has changed")
		}
	}

	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, change, to, want string }{
		{"a group that is not there", "middle", "gone", `--group: the directory has no group "gone"`},
		{"a name of two groups", "middle", "twice", "cn=twice,ou=other,ou=groups,dc=example,dc=test"},
		{"a password that is wrong", password, wrong, `bind as "cn=svc,`},
		{"an authority that is not the right one", p.CAFile, "/etc/ssl/certs/ca-certificates.crt", "unknown authority"},
		{"a server that is not there", p.LDAPS, "ldaps://127.0.0.1:1", "connection refused"},
		{"a kind that is not there", "middle", "middle --kind nds", `--kind: "nds": must be ad or one of`},
	} {
		args := strings.Fields(strings.Replace(strings.Join(flags(p.LDAPS), " "), tt.change, tt.to, 1))
		if out, err := initialize(t, args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q\n%s", tt.name, err, tt.want, out)
		}
		if files, _ := os.ReadDir("."); len(files) > 0 {
			t.Errorf("%s: %v was made", tt.name, files)
		}
	}
}

// TestQuickStartActiveDirectory makes the account and the group of the quick start in a
// Samba domain, with its lines of samba-tool, and has init find the rest.
func TestQuickStartActiveDirectory(t *testing.T) {
	p := peers.Samba(t)
	page, err := os.ReadFile("../../docs/quickstart-active-directory.md")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "Quick-Start-1"
	calls := 0
	for line := range strings.Lines(string(page)) {
		command, ours := strings.CutPrefix(line, "    samba-tool ")
		if !ours {
			continue
		}
		calls++
		var args []string
		for i, part := range strings.Split(strings.TrimSpace(command), `"`) { // every second one was quoted
			if i%2 == 1 {
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		if strings.Contains(command, "user create") {
			args = append(args, secret) // else it asks
		}
		args = append(args, "-H", filepath.Join(p.Dir, "private/sam.ldb"), "--configfile="+filepath.Join(p.Dir, "smb.conf"))
		if out, err := exec.Command("samba-tool", args...).CombinedOutput(); err != nil {
			t.Fatalf("samba-tool %q: %v\n%s", args, err, out)
		}
	}
	if calls < 5 {
		t.Errorf("%d lines of samba-tool, want more", calls)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := initialize(t, "--url", p.LDAPS, "--ca-file", p.CAFile, "--account", "svc-berth@ad.example.test", "--password-file", password, "--group", "Staff")
	for _, want := range []string{"found    active_directory at ", "people below DC=ad,DC=example,DC=test\n", "the group CN=Staff,CN=Users,DC=ad,DC=example,DC=test, which lists 1 member\n"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v, no %q in:\n%s", err, want, out)
		}
	}
	if out := run(t, "berth explain alice --config berth.yaml"); !strings.Contains(out, "/homes/alice") {
		t.Errorf("alice gets no home:\n%s", out)
	}
}

// TestInitEmbedded needs two answers.
func TestInitEmbedded(t *testing.T) {
	people := filepath.Join(t.TempDir(), "people.ldif")
	text := "dn: dc=x\nobjectClass: domain\ndc: x\n\ndn: uid=al,dc=x\nobjectClass: inetOrgPerson\nuid: al\ncn: al\nsn: al\nuserPassword: password-1\n\n" +
		"dn: cn=all,dc=x\nobjectClass: groupOfNames\ncn: all\nmember: uid=al,dc=x\n"
	if err := os.WriteFile(people, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := initialize(t, "--ldif", people, "--group", "all", "--listen", "nonsense")
	if made, _ := filepath.Glob("*"); err == nil || len(made) > 0 {
		t.Errorf("init with a wrong address: %v, and made %q", err, made)
	}
	out, err := initialize(t, "--ldif", people, "--group", "all")
	if err != nil || !strings.Contains(out, "cn=all,dc=x, which lists 1 member\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out := run(t, "berth explain al --config berth.yaml"); !strings.Contains(out, "/homes/al") {
		t.Errorf("al gets no home:\n%s", out)
	}
}

// TestNoConfiguration checks that the error says what to do next.
func TestNoConfiguration(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"serve"}, {"explain", "alice"}} {
		cmd := root()
		cmd.SetArgs(append(args, "--config", filepath.Join(t.TempDir(), "berth.yaml")))
		err := cmd.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), "berth init") || !strings.Contains(err.Error(), "berth demo") {
			t.Errorf("%v without a configuration = %v, want berth init and berth demo in it", args, err)
		}
	}
}

// TestInitDomain: a domain stays a domain, so that DNS names the servers later, too.
func TestInitDomain(t *testing.T) {
	t.Chdir(t.TempDir())
	s := setup{config: "berth.yaml", folder: "homes", state: "state", out: io.Discard, Listen: "127.0.0.1:0", Group: "staff", Rule: "staff"}
	s.Settings = ldap.Settings{URLs: []string{"corp.example"}, Kind: "openldap", Base: "dc=corp,dc=example", BindDN: "cn=svc,dc=corp,dc=example", BindPasswordFile: "password"}
	s.password = "secret"
	for _, step := range []func() error{s.findServers, s.choosePlaces, s.write} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cfg.Directories[0]; d.Domain != "corp.example" || len(d.URLs) != 0 {
		t.Errorf("written: domain %q and URLs %q", d.Domain, d.URLs)
	}
	s.Settings.URLs = []string{"other.example"}
	if err := s.findServers(); err == nil || !strings.Contains(err.Error(), `"corp.example" and "other.example": only one`) {
		t.Errorf("two domains = %v", err)
	}
}
