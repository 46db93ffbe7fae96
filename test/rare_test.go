package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRareEvents causes what no other test here causes: links and copies, a missing
// folder, a removed events file, a webhook that refuses an event, a full disk and a
// flood of events.
func TestRareEvents(t *testing.T) {
	slow(t)
	t.Parallel()
	need(t, "sftp")
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(body), "/report-copy") {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer receiver.Close()
	dir := filepath.Join(t.TempDir(), "demo")
	smallDisk(t, dir, "4m")
	file := atomicDemo(t, dir)
	edit(t, file, `events.jsonl"}`, `events.jsonl", queue: 64KiB, webhook: {url: "`+receiver.URL+`"}}`)
	s, err := startServer(plain, dir, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	record := filepath.Join(dir, "events.jsonl")
	written := func(typ string) {
		t.Helper()
		recorded(t, dir, `"type":"`+typ+`"`)
	}
	batch := func(commands string) {
		t.Helper()
		cmd := exec.Command("sftp", append(clientOptions(s, dir), "-b", "-", "alice@127.0.0.1")...)
		cmd.Stdin = strings.NewReader(commands)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}

	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	finance := filepath.Join(dir, "finance")
	if err := os.Rename(finance, finance+".away"); err != nil {
		t.Fatal(err)
	}
	batch("ls\n")
	if err := os.Rename(finance+".away", finance); err != nil {
		t.Fatal(err)
	}
	written("folder_missing")
	written("events_file_lost")
	batch("put " + file + " report\nln report report-2\n-ln report report-2\n-ln -s report report-2\ncp report report-copy\nrm report-2\n")
	for _, typ := range []string{"linked", "link_failed", "symlink_failed", "copied", "events_refused"} {
		written(typ)
	}

	full, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; _, err = full.Write(block) {
	}
	full.Close()
	batch("-cp report report-3\n")
	client := aliceFiles(t, s.addr, dir)
	for range 300 { // more than one person's part of the queue
		if err := client.Remove("nothing"); err == nil {
			t.Fatal("removed what is not there")
		}
	}
	lost := regexp.MustCompile(`berth_events_dropped_total\{sink="file"\} [1-9]`)
	eventually(t, "events that are lost", func() bool {
		conn, err := dialAlice(s.addr, dir) // logins have all of the queue
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		body, _, err := httpGet(t.Context(), "http://"+s.admin+"/metrics")
		return err == nil && lost.MatchString(body)
	})
	if err := os.Remove(full.Name()); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"copy_failed", "events_dropped", "events_left_out"} {
		written(typ)
	}
}
