package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// hasLandlock reports whether the kernel can confine the server.
func hasLandlock() bool {
	const version = 1 // the flag of landlock_create_ruleset(2) that asks for it
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	return errno == 0 && abi >= 3
}

// TestLandlock confines a server: sessions and operators can do everything, and files
// outside cannot be read, although the user of the process may. The process of an
// upgrade is confined, too, and neither reload nor upgrade brings in a folder outside.
// The scripts against OpenLDAP run confined, too.
func TestLandlock(t *testing.T) {
	t.Parallel()
	if !hasLandlock() {
		t.Skip("this kernel has no Landlock, or one that is too old")
	}
	dir := t.TempDir()
	demo, outside := filepath.Join(dir, "demo"), filepath.Join(dir, "outside")
	file := atomicDemo(t, demo)
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	edit(t, file, "admin:", "landlock: {enabled: true}\nadmin:")
	program := filepath.Join(dir, "bin", "berth")
	build(t, program, "0.1.0-test")
	s, err := startServer(program, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, demo) })
	operate := func(args ...string) string {
		out, err := exec.Command(program, append(args, "--config", file)...).CombinedOutput()
		if err != nil {
			return "FAILED: " + string(out)
		}
		return string(out)
	}
	want := func(what, got, part string) {
		t.Helper()
		if !strings.Contains(got, part) {
			t.Errorf("%s: got %q, want %q in it", what, got, part)
		}
	}
	used := func() {
		t.Helper()
		if err := useFiles(s.addr, demo); err != nil {
			t.Errorf("a session: %v", err)
		}
	}
	used()
	passwd := exec.Command("sshpass", "-p", "bob-demo-1", "ssh", "-F", "none", "-p", s.port(), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "bob@127.0.0.1", "passwd")
	passwd.Stdin = strings.NewReader("bob-demo-1\nBetter-9-Horse\nBetter-9-Horse\n")
	if out, err := passwd.CombinedOutput(); err != nil { // writes the LDIF file
		t.Errorf("passwd: %v: %s", err, out)
	}
	want("status", operate("status"), "writes only below "+demo)
	want("check", operate("check"), "landlock: the kernel will confine")
	events := filepath.Join(demo, "events.jsonl")
	if err := os.Rename(events, events+".1"); err != nil {
		t.Fatal(err)
	}
	want("reload", operate("reload"), "rules")
	if _, err := os.Stat(events); err != nil {
		t.Errorf("a reload begins a new events file: %v", err)
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, file, "rules:\n", "rules:\n  - {name: more, folders: [{path: /more, host: "+outside+"}]}\n")
	for _, command := range []string{"reload", "upgrade"} {
		got := operate(command)
		want(command+" with a folder outside", got, "FAILED: ")
		want(command+" with a folder outside", got, outside+" is outside the folders that the server was confined to at its start: restart it")
	}
	elsewhere := filepath.Join(outside, "berth.yaml") // which this user may read
	if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, file); err != nil {
		t.Fatal(err)
	}
	want("reload by a link to the outside", operate("reload"), "permission denied")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}

	want("upgrade", operate("upgrade"), "serves now")
	want("status after an upgrade", operate("status"), "writes only below "+demo)
	used()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, file); err != nil {
		t.Fatal(err)
	}
	want("reload of the next process by a link to the outside", operate("reload"), "permission denied")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, good, 0o600); err != nil { // for the end of the process
		t.Fatal(err)
	}
}

// useFiles does as alice what clients do: make, write, read, list, link, rename within
// and between folders, remove.
func useFiles(addr, demo string) error {
	conn, err := dialAlice(addr, demo)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := sftp.NewClient(conn)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { return c.Mkdir("/a") },
		func() error { return c.Mkdir("/b") },
		func() error {
			f, err := c.Create("/a/f")
			if err != nil {
				return err
			}
			if _, err := f.Write([]byte("text")); err != nil {
				return err
			}
			return f.Close()
		},
		func() error { return c.Truncate("/a/f", 2) },
		func() error { return c.Rename("/a/f", "/b/g") },
		func() error { return c.Link("/b/g", "/a/h") },
		func() error { _, err := c.ReadDir("/shared"); return err },
		func() error {
			f, err := c.Open("/b/g")
			if err != nil {
				return err
			}
			return f.Close()
		},
		func() error { return c.Remove("/b/g") },
		func() error { return c.Remove("/a/h") },
		func() error { return c.RemoveDirectory("/a") },
		func() error { return c.RemoveDirectory("/b") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
