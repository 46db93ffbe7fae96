package peers

import (
	"path/filepath"
	"testing"
)

func TestKDC(t *testing.T) {
	r := KDC(t)
	for _, name := range mitPeople {
		if err := r.Ticket(filepath.Join(t.TempDir(), "cache"), name); err != nil {
			t.Errorf("ticket of %s: %v", name, err)
		}
	}
	if err := r.Ticket(filepath.Join(t.TempDir(), "cache"), "nobody"); err == nil {
		t.Error("ticket of nobody: got none, want an error")
	}
	r.Kill()
	if err := r.Start(); err != nil {
		t.Errorf("start again: %v", err)
	}
}
