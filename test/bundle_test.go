package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/test/leaks"
)

// TestSupportBundle: it has all that it is to have, and no password of the server or of
// somebody who has just used one. A file that exists is not overwritten.
func TestSupportBundle(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	s, err := startServer(berth, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	conn, err := ssh.Dial("tcp", s.addr, &ssh.ClientConfig{User: "bob", Auth: []ssh.AuthMethod{ssh.Password("bob-demo-1")}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := ssh.Dial("tcp", s.addr, &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.Password("Wrong-9-Horse")}, HostKeyCallback: ssh.InsecureIgnoreHostKey()}); err == nil {
		t.Fatal("a wrong password is accepted")
	}
	recorded(t, demo, `"type":"login_accepted".*"user":"bob"`)
	parts := bundle(t, file, demo)
	for name, want := range map[string]string{
		"version.txt": "berth 0.1.0", "machine.txt": "Linux", "configuration.yaml": "ldif: ", "check.txt": "", "events.jsonl": `"type":"login_accepted"`,
		"status.json": `"not_ready": ""`, "sessions.json": `"user": "bob"`, "penalties.json": "[]", "metrics.txt": "berth_sessions 1", "stacks.txt": "sshd.(*Server).Serve",
	} {
		text, err := os.ReadFile(filepath.Join(parts, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want %q in it:\n%.300s", name, err, want, text)
		}
	}

	// Without a server, and with a password in the configuration.
	secret := filepath.Join(demo, "secret.yaml")
	edit(t, file, "kind: embedded", "kind: embedded # as it is")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "directories:")
	_, rules, _ := strings.Cut(rest, "\nrules:")
	ldap := "directories:\n  - {name: corp, kind: openldap, urls: [ldaps://127.0.0.1:1], base: 'dc=x', bind_dn: 'cn=svc,dc=x', bind_password: svc-Passw0rd}\n"
	before = strings.ReplaceAll(before, "berth.pid", "other.pid")
	rules = strings.ReplaceAll(rules, "berth.sock", "other.sock")
	if err := os.WriteFile(secret, []byte(before+ldap+"\nrules:"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	parts = bundle(t, secret, demo)
	for name, want := range map[string]string{"configuration.yaml": "bind_password: '***'", "status.json": "no server answers", "stacks.txt": "no server answers"} {
		text, err := os.ReadFile(filepath.Join(parts, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want %q in it:\n%.300s", name, err, want, text)
		}
	}
}

// bundle makes a support bundle, unpacks it, looks for passwords, and returns the folder.
func bundle(t *testing.T, config, demo string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "bundle.tar.gz")
	if out, err := exec.Command(berth, "support-bundle", file, "--config", config).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle has mode %v, %v; want that only its owner reads it", info.Mode(), err)
	}
	if out, err := exec.Command(berth, "support-bundle", file, "--config", config).CombinedOutput(); err == nil || !strings.Contains(string(out), "exists already: name a new file") {
		t.Errorf("onto a file that exists: %v: %s", err, out)
	}
	if out, err := exec.Command("tar", "--extract", "--file", file, "--directory", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key, err := os.ReadFile(filepath.Join(demo, "keys/alice"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := append([]string{strings.Split(string(key), "\n")[3]}, outputs.passwords...)
	found, looked, err := leaks.Find(dir, secrets) // in the archive, unpacked
	if err != nil || looked < 10_000 || len(found) > 0 {
		t.Errorf("%d bytes were searched, %v; secrets: %v", looked, err, found)
	}
	return filepath.Join(dir, "berth-support")
}
