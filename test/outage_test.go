package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestStartWithoutDirectory starts berth while no directory answers: it serves,
// says that it is not ready, tells people why they cannot log in, and is ready
// when the directory is.
func TestStartWithoutDirectory(t *testing.T) {
	p := peers.OpenLDAP(t)
	p.Kill()
	s, dir := serveDomain(t, p)

	ready := func() (int, string) {
		body, status, err := httpGet(t.Context(), "http://"+s.admin+"/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	if status, body := ready(); status != http.StatusServiceUnavailable || !strings.Contains(body, "connection refused") {
		t.Errorf("/readyz = %d %q, want 503 and the reason", status, body)
	}
	banner, err := login(s.addr, "alice", peers.Password("alice"))
	if err == nil || !strings.Contains(banner, "The directory cannot be reached") {
		t.Errorf("login = %v, banner %q", err, banner)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "readiness", func() bool {
		status, _ := ready()
		return status == http.StatusOK
	})
	if _, err := login(s.addr, "alice", peers.Password("alice")); err != nil {
		t.Errorf("login with the directory back: %v", err)
	}
	waitFor(t, "the events", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl"))
		return strings.Contains(string(text), `"reason":"directory_unavailable"`) && strings.Contains(string(text), `"type":"directory_up"`)
	})
}
