// Package suites tests Berth by what was not written for it: OpenSSH's own
// regression tests, the clients that people have, security scanners; and by a
// client that means harm and a machine that fails. Each suite is a script here
// (lib.sh says what it is told of the server) with a server of its own.
//
// They need many packages and minutes, so they run only when the environment
// variable BERTH_PEERS names "suites", as `make test-peers` does. Then nothing
// that a suite needs may be missing.
package suites

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/sshd/oidc/oidctest"
)

// berth is the binary under test, as it is installed; hostile is the client
// that means harm. TestMain builds both.
var berth, hostile string

func wanted() bool {
	return slices.Contains(strings.Split(os.Getenv("BERTH_PEERS"), ","), "suites")
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if !wanted() {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "berth-suites-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	berth, hostile = filepath.Join(dir, "berth"), filepath.Join(dir, "hostile")
	for _, build := range [][]string{
		{"make", "-s", "-C", "../..", "build", "OUT=" + berth},
		{"go", "build", "-o", hostile, "berth/test/suites/hostile"},
	} {
		if out, err := exec.Command(build[0], build[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
			return 1
		}
	}
	return m.Run()
}

// need skips a test that was not asked for, and fails one that lacks a program.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if !wanted() {
		t.Skip(`runs only when BERTH_PEERS names "suites", as make test-peers does`)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: run test/packages.sh base peers", err)
		}
	}
}

// Timing is what the scanners look at, so this suite runs alone.
func TestScanners(t *testing.T) {
	need(t, "ssh", "ssh-audit", "nmap", "hydra")
	s := newSite(t)
	s.start(t)
	s.suite(t, 12, "./scanners.sh")
}

func TestOpenSSHRegress(t *testing.T) {
	need(t, "sftp", "scp")
	t.Parallel()
	s := newSite(t, samePaths)
	s.remote = s.root // the scripts compare a client's paths with the disk's
	s.start(t)
	s.suite(t, 120, "./regress.sh")
}

func TestClients(t *testing.T) {
	need(t, "sftp", "sshpass", "curl", "lftp", "psftp", "dbclient", "rclone", "restic", "sshfs",
		"git", "ruby", "php", "perl", "java", "javac", "node", "npm", "gcc")
	for mode, rule := range uploads {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, rule, virtualFolder, tickets)
			s.withKeytab(t)
			s.start(t)
			s.suite(t, 183, "./clients.sh")
		})
	}
}

// TestMessages sends what the SSH library ends the connection for without Berth's patches.
func TestMessages(t *testing.T) {
	need(t, "/usr/bin/python3", "ktutil")
	t.Parallel()
	s := newSite(t, tickets, noPenalties)
	s.withKeytab(t)
	s.start(t)
	s.suite(t, 50, "/usr/bin/python3", "-W", "ignore", "messages.py")
}

func TestPasswd(t *testing.T) {
	need(t, "ssh", "sshpass", "expect", "plink", "/usr/bin/python3")
	t.Parallel()
	s := newSite(t)
	s.withMustChange(t)
	s.start(t)
	s.suite(t, 18, "./passwd.sh")
}

func TestCodes(t *testing.T) {
	need(t, "ssh", "expect", "plink", "/usr/bin/python3")
	t.Parallel()
	s := newSite(t)
	s.withCodes(t)
	s.start(t)
	s.suite(t, 8, "./codes.sh")
}

// TestBrowser has an identity provider in this process.
func TestBrowser(t *testing.T) {
	need(t, "ssh", "psftp", "/usr/bin/python3")
	t.Parallel()
	at := oidctest.New(t)
	at.Claims = map[string]any{"preferred_username": "tester"}
	s := newSite(t, fmt.Sprintf("\noidc: {issuer: %q, client_id: %s, ca_file: %s, prompt: browser}\n", at.URL, at.ClientID, at.CAFile), noPenalties)
	s.start(t)
	s.suite(t, 8, "./browser.sh")
}

func TestHostile(t *testing.T) {
	need(t)
	t.Parallel()
	s := newSite(t)
	s.start(t)
	s.suite(t, 47, hostile)
	s.suite(t, 10, "/usr/bin/python3", "-W", "ignore", "windows.py")
}

// The suite starts and kills the server itself.
func TestFaults(t *testing.T) {
	need(t, "mkfs.ext4", "mount")
	cases := 16
	if os.Geteuid() != 0 {
		cases = 9 // without mounts
	}
	for mode, rule := range uploads {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, rule)
			s.suite(t, cases, "/usr/bin/python3", "-W", "ignore", "faults.py")
		})
	}
}
