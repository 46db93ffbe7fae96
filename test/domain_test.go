package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestDomainAndKeytab gives the server the name of a domain and a keytab, and nothing
// else of the directory.
func TestDomainAndKeytab(t *testing.T) {
	need(t, "sftp", "sshpass")
	p := peers.Samba(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: ad, kind: active_directory, domain: %[2]s, resolver: %[3]s, ca_file: %[4]s, bind: {keytab: %[5]s, seal: true}}
rules:
  - name: all
    home: {host: "%[1]s/home/%%u", create: true}
    limits: {quota: "%%{employeeNumber} or 1GiB"}
    services: [sftp, whoami]
ssh: {refusal_delay: 0s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, p.Domain, p.Resolver, p.CAFile, p.SambaKeytab(t, "svc"))
	config := filepath.Join(dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"check":         "functional level 2008 R2",
		"explain alice": "employeeNumber has no value; the limit of the rule applies",
	} {
		args := append(strings.Fields(command), "--config", config)
		if out, err := exec.Command(berth, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("berth %s: %v, want %q:\n%s", command, err, want, out)
		}
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	cmd := exec.Command("sshpass", "-p", peers.Password("alice"), "sftp", "-q", "-oBatchMode=no", "-b", "-", "-F", "none", "-P", s.port(),
		"-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "alice@127.0.0.1")
	cmd.Stdin = strings.NewReader("put " + config + " /was-here\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "home/alice/was-here")); err != nil {
		t.Error(err)
	}
}
