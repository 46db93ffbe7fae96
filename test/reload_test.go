package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// TestReloadReachesOpenSessions has a session with a download and an upload under
// way while rules change: a broken file changes nothing, a folder that is taken
// away is gone at the next operation, and a denial ends the session.
func TestReloadReachesOpenSessions(t *testing.T) {
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	s, err := startServer(berth, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	conn, err := dialAlice(s.addr, demo)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	down, err := client.Open("/finance/budget.csv")
	if err != nil {
		t.Fatal(err)
	}
	up, err := client.Create("/finance/report")
	if err != nil {
		t.Fatal(err)
	}
	use := func() error {
		_, rerr := down.ReadAt(make([]byte, 4), 0)
		_, werr := up.Write([]byte("data"))
		_, serr := client.ReadDir("/finance")
		return errors.Join(rerr, werr, serr)
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, file, "    when: {groups: [finance]}", "    when: {groups: [finance], hours: never}")
	reload(t, s, demo, `"type":"reload_failed"`)
	if err := use(); err != nil {
		t.Errorf("after a reload of a broken file: %v", err)
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	edit(t, file, "groups: [finance]", "groups: [nobody]")
	reload(t, s, demo, `"type":"server_reloaded"`)
	eventually(t, "an open file in a folder that was taken away cannot be read", func() bool {
		_, err := down.ReadAt(make([]byte, 4), 0)
		return errors.Is(err, os.ErrPermission)
	})
	if _, err := up.Write([]byte("more")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("write to an open file there = %v", err)
	}
	if err := up.Close(); !errors.Is(err, os.ErrPermission) {
		t.Errorf("close of the upload = %v", err)
	}
	if _, err := client.ReadDir("/finance"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("listing of the folder = %v", err)
	}
	if _, err := client.ReadDir("/"); err != nil {
		t.Errorf("listing of what is left = %v", err)
	}
	if _, err := os.Stat(filepath.Join(demo, "finance/report")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the upload that was refused: %v, want it not there", err)
	}

	edit(t, file, "rules:\n", "rules:\n  - name: out\n    when: {users: [alice]}\n    deny: true\n")
	reload(t, s, demo, `"type":"login_revoked"`)
	if err := conn.Wait(); err == nil {
		t.Errorf("the session of somebody who is denied ended with %v", err)
	}
}

// TestReloadDuringStart: a signal that finds the pid file before the server is ready ends
// nothing. The server reloads when it is.
func TestReloadDuringStart(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	people, err := os.OpenFile(filepath.Join(demo, "people.ldif"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 { // it takes a while to hash their passwords
		fmt.Fprintf(people, "\ndn: uid=new%d,ou=people,dc=demo,dc=example\nobjectClass: inetOrgPerson\nuid: new%[1]d\nuserPassword: new-%[1]d\n", n)
	}
	if err := people.Close(); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(demo, "berth.pid")
	go func() {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			text, _ := os.ReadFile(pidFile)
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && strings.HasSuffix(string(text), "\n") {
				_ = syscall.Kill(pid, syscall.SIGHUP)
				return
			}
		}
	}()
	s, err := startServer(plain, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	recorded(t, demo, `"type":"server_reloaded"`)
}

// reload sends the server a SIGHUP and waits for one more event with that text.
func reload(t *testing.T, s *server, demo, event string) {
	t.Helper()
	count := func() int { return strings.Count(readFile(t, filepath.Join(demo, "events.jsonl")), event) }
	before := count()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an event with "+event, func() bool { return count() > before })
}
