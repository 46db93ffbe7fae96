package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/directory/ldap"
	"berth/sshd/state"
)

// TestReload: a reload applies rules, names the changes that need a restart,
// and refuses rules that need attributes for which the directories are not
// asked.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	file := dir + "/berth.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	started, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	first, err := started.Compile()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, old, next string
		waits, fails    string
	}{
		{name: "nothing"},
		{name: "a rule", old: "name: finance", next: "name: money"},
		{
			name: "more than rules", old: "pid_file: ", next: "ssh: {idle: 1h}\npid_file: /x",
			waits: "also changed, but only a restart applies it: pid_file, ssh.idle",
		},
		{name: "admission", old: "pid_file: ", next: "admission: {blocked: [192.0.2.0/24]}\npid_file: "},
		{name: "a mistake", old: "name: finance", next: "nmae: finance", fails: `is "name" meant?`},
		{name: "an attribute", old: "/home/%u", next: "/home/%{departmentNumber}/%u", fails: "rules: %{departmentnumber}: "},
		{
			name: "a factor", old: "rules:\n", next: "oidc: {issuer: \"https://id.example\", client_id: berth}\nrules:\n  - {name: browser, require: [[oidc]]}\n",
			fails: "rules[0].require: oidc: ",
		},
	}
	for _, tt := range tests {
		next := strings.Replace(string(text), tt.old, tt.next, 1)
		if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
			t.Fatal(err)
		}
		r := reloader{started: started, attributes: first.Attributes(), rules: &rules{}, people: &directories{}, store: state.NewMemory(started.Admission)}
		r.rules.set.Store(first)
		if err := r.hashed(started); err != nil {
			t.Fatal(err)
		}
		hash := *r.hash.Load()
		waits, err := r.reload()
		if waits != tt.waits || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: reload = %q, %v, want %q, %q", tt.name, waits, err, tt.waits, tt.fails)
		}
		if taken := r.rules.set.Load() != first; taken != (tt.fails == "") {
			t.Errorf("%s: new rules are in force: %t", tt.name, taken)
		}
		if changed := *r.hash.Load() != hash; changed != (tt.name == "a rule" || tt.name == "admission") {
			t.Errorf("%s: the hash of what is in force changed: %t", tt.name, changed)
		}
		end, err := r.store.Admit(netip.MustParseAddr("192.0.2.1"))
		if blocked := err != nil; blocked != (tt.name == "admission") {
			t.Errorf("%s: 192.0.2.1 is blocked: %t", tt.name, blocked)
		}
		if end != nil {
			end()
		}
	}
}

// TestReloadIsWhole: a mistake in the file of one directory leaves the people of another
// one as they were.
func TestReloadIsWhole(t *testing.T) {
	dir := t.TempDir()
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	started, err := config.Load(dir + "/berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const people = "dn: dc=x\nobjectClass: domain\ndc: x\n\ndn: uid=NAME,dc=x\nobjectClass: inetOrgPerson\nuid: NAME\ncn: NAME\nsn: NAME\n"
	write := func(file, name string) string {
		t.Helper()
		if err := os.WriteFile(dir+"/"+file, []byte(strings.ReplaceAll(people, "NAME", name)), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir + "/" + file
	}
	list := []ldap.Settings{ldap.DefaultSettings(), ldap.DefaultSettings()}
	for i, name := range []string{"one", "two"} {
		list[i].Name, list[i].Kind, list[i].LDIF = name, "embedded", write(name, "alice")
		list[i].Suffixes = []string{name}
		list[i].Cache = 0
	}
	served, err := openDirectories(list, nil, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	set, err := started.Compile()
	if err != nil {
		t.Fatal(err)
	}
	r := reloader{started: started, attributes: set.Attributes(), rules: &rules{}, people: served, store: state.NewMemory(started.Admission)}
	r.rules.set.Store(set)
	write("one", "bob")
	if err := os.WriteFile(dir+"/two", []byte("dn: nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload(); err == nil {
		t.Error("a mistake is no error")
	}
	if _, err := served.clients[0].Lookup(t.Context(), "alice"); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
}

// TestReloadMovesBase: people whom a client would not find are no reload that succeeds.
func TestReloadMovesBase(t *testing.T) {
	file := t.TempDir() + "/people.ldif"
	const people = "dn: ou=people,dc=x\nobjectClass: organizationalUnit\nou: people\n\ndn: uid=alice,ou=people,dc=x\nobjectClass: inetOrgPerson\nuid: alice\n"
	if err := os.WriteFile(file, []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	s := ldap.DefaultSettings()
	s.Name, s.Kind, s.LDIF, s.Cache = "one", "embedded", file, 0
	served, err := openDirectories([]ldap.Settings{s}, nil, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if err := os.WriteFile(file, []byte(people+"\ndn: uid=carol,dc=x\nobjectClass: inetOrgPerson\nuid: carol\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = served.embedded[0].Reload()
	if _, missing := served.clients[0].Lookup(t.Context(), "carol"); err == nil && missing != nil {
		t.Errorf("the reload succeeds, and then: %v", missing)
	} else if err != nil && !strings.Contains(err.Error(), "all entries are below dc=x now, and were below ou=people,dc=x: only a restart applies this") {
		t.Error(err)
	}
	if _, err := served.clients[0].Lookup(t.Context(), "alice"); err != nil {
		t.Errorf("who was there before: %v", err)
	}
}
