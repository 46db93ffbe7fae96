package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestEventsSurviveKills kills the server again and again in the middle of uploads,
// while the receiver of its events can be reached and while it cannot. Every line
// of the record arrives, none with two contents, and the chain of the record is
// whole.
func TestEventsSurviveKills(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, dir)
	var mu sync.Mutex
	got, twice, away := map[string]string{}, 0, false
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch []struct {
			ID   string
			Data json.RawMessage
		}
		err := json.NewDecoder(r.Body).Decode(&batch)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || away { // err: the sender was killed
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for _, e := range batch {
			if before, ok := got[e.ID]; ok {
				if twice++; before != string(e.Data) {
					t.Errorf("%s is both %s and %s", e.ID, before, e.Data)
				}
			}
			got[e.ID] = string(e.Data)
		}
	}))
	defer receiver.Close()
	edit(t, file, `events.jsonl"}`, `events.jsonl", max_size: 64KiB, webhook: {url: "`+receiver.URL+`"}}`)
	record := filepath.Join(dir, "events.jsonl")
	before := strings.Count(readFile(t, record), "\n") // of the demonstration, which had no receiver
	next := 0
	for round := range 12 {
		mu.Lock()
		away = round%4 == 3
		mu.Unlock()
		s, err := startServer(plain, dir, "serve", "--config", file)
		if err != nil {
			t.Fatal(err)
		}
		done := uploadUntilKilled(t, s, dir, uploadSFTP, next, next+10+round, round%8)
		<-s.done
		if len(done) == 0 {
			t.Fatal("the server acknowledged nothing")
		}
		next = done[len(done)-1] + 2
	}
	mu.Lock()
	away = false
	mu.Unlock()
	s, err := startServer(plain, dir, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	files := func() (lines []string) {
		older, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range append(older, record) {
			if strings.HasSuffix(path, ".part") {
				continue // a kill came while it was made
			}
			cmd := exec.Command("gzip", "-dcf", path)
			text, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.Split(strings.TrimSpace(string(text)), "\n")...)
		}
		return lines
	}
	s.stop()
	all := files()
	mu.Lock()
	for _, line := range all[before:] {
		var e struct{ Chain string }
		if json.Unmarshal([]byte(line), &e) == nil && got[e.Chain] != line { // else a kill has cut the line
			t.Errorf("did not arrive: %s", line)
		}
	}
	t.Logf("%d lines in the record, %d arrived, %d twice", len(all), len(got), twice)
	mu.Unlock()
	if len(all) < before+100 {
		t.Errorf("only %d lines", len(all))
	}
	verify := exec.Command(plain, "events", "verify", record, "--key", filepath.Join(dir, "ssh_host_ed25519_key.pub"))
	if out, err := verify.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "intact: ") {
		t.Errorf("the chain: %v\n%s", err, out)
	}
}
