package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestTicketsOfActiveDirectory logs in with kinit and sftp, without a
// question. The ticket identifies the person, and the groups of the same
// domain decide about the rights.
func TestTicketsOfActiveDirectory(t *testing.T) {
	r := peers.SambaRealm(t)
	dir := t.TempDir()
	password := filepath.Join(dir, "bind-password")
	if err := os.WriteFile(password, []byte(r.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "berth.yaml")
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: ad, kind: active_directory, urls: [%[2]s], ca_file: %[3]s, base: "%[4]s", bind_dn: "%[5]s", bind_password_file: %[6]s}
rules:
  - {name: all, when: {method: [gssapi-with-mic]}, home: {host: "%[1]s/home/%%u", create: true}, services: [sftp, whoami]}
kerberos: {keytab: %[7]s, principal: host/%[8]s}
ssh: {refusal_delay: 0s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, r.LDAPS, r.CAFile, r.Base, r.BindDN, password, r.Keytab, peers.ServiceHost)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	tests := []struct{ ticket, user, refused string }{
		{"alice", "alice", ""},
		{"alice", "ALICE", ""},
		{"alice", "alice@ad.example.test", ""},
		{"bob", "alice", "ticket_not_accepted"},
	}
	for _, tt := range tests {
		cache := filepath.Join(t.TempDir(), "cache")
		if err := r.Ticket(cache, tt.ticket); err != nil {
			t.Fatal(err)
		}
		set := r.Command("sftp", "-F", "none", "-P", s.port(), "-b", "-", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=gssapi-with-mic", "-o", "GSSAPIAuthentication=yes",
			"-o", "GSSAPIServerIdentity="+peers.ServiceHost, "-o", "User="+tt.user, "127.0.0.1")
		cmd := exec.Command(set.Path, set.Args[1:]...)
		cmd.Env = append(set.Env, "KRB5CCNAME=FILE:"+cache)
		cmd.Stdin = strings.NewReader("put " + config + " /was-here\nls\n")
		out, err := cmd.CombinedOutput()
		if (err == nil) != (tt.refused == "") || (tt.refused == "" && !strings.Contains(string(out), "was-here")) {
			t.Errorf("%s with the ticket of %s: %v: %s", tt.user, tt.ticket, err, out)
		}
		recorded(t, dir, regexp.QuoteMeta(tt.refused))
	}
}
