package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSSHAudit holds the marks that ssh-audit gives to the algorithms of a
// server with the default settings to the table in docs/security.md: every mark
// is explained there, and nothing else.
func TestSSHAudit(t *testing.T) {
	need(t, "ssh-audit")
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startServer(berth, dir, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	// The exit status counts marks.
	out, _ := exec.Command("ssh-audit", "-n", "-p", s.port(), "127.0.0.1").CombinedOutput()
	got, want := marks(string(out)), explained(t)
	if len(got) == 0 {
		t.Fatalf("ssh-audit marks nothing at all:\n%s", out)
	}
	if !slices.Equal(got, want) {
		t.Errorf("ssh-audit marks %q, docs/security.md explains %q:\n%s", got, want, out)
	}
}

// marks are the algorithms with a [fail] or [warn], as "fail NAME".
func marks(report string) []string {
	named := regexp.MustCompile(`^\((?:kex|key|enc|mac)\) (\S+)`)
	mark := regexp.MustCompile(`\[(fail|warn)\] (.*)`)
	var all []string
	name := ""
	for line := range strings.Lines(report) {
		if m := named.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		m := mark.FindStringSubmatch(line)
		if m == nil || m[2] == "unknown algorithm" && newer[name] {
			continue
		}
		all = append(all, m[1]+" "+name)
	}
	slices.Sort(all)
	return all
}

// newer are algorithms that came after the ssh-audit of some distribution.
var newer = map[string]bool{"mlkem768x25519-sha256": true, "kex-strict-s-v00@openssh.com": true}

// explained are the marks in the table of docs/security.md.
func explained(t *testing.T) []string {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## What ssh-audit says")
	row := regexp.MustCompile(`(?m)^\| (fail|warn): ([^|]*)\|`)
	name := regexp.MustCompile("`([^`]+)`")
	var all []string
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		for _, n := range name.FindAllStringSubmatch(m[2], -1) {
			all = append(all, m[1]+" "+n[1])
		}
	}
	slices.Sort(all)
	return all
}
