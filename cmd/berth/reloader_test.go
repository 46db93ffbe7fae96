package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"berth/config"
	"berth/sshd/state"
)

// TestReload takes up rules, says what it leaves, and refuses rules that the
// directories would not have the answers for.
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
