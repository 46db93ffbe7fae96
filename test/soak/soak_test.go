package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/test/peers"
)

// TestSoak is a short soak with few sessions: all services, all faults, and the books
// agree. What is long runs by "make soak".
func TestSoak(t *testing.T) {
	peers.Need(t, "openldap")
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	plot := filepath.Join(t.TempDir(), "soak.svg")
	if err := run(t.Context(), options{dir: t.TempDir(), last: 10 * time.Second, sessions: 60, plot: plot}); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(plot); err != nil || fi.Size() == 0 {
		t.Errorf("the drawing: %v", err)
	}
}
