package peers

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOpenLDAP(t *testing.T) {
	p := OpenLDAP(t)
	if _, err := os.Stat(filepath.Join(p.Dir, "keys/alice")); err != nil {
		t.Errorf("private key of alice: %v", err)
	}
	p.Kill()
	if err := p.ready(); err == nil {
		t.Error("a killed server still serves, want an error")
	}
	if err := p.Start(); err != nil {
		t.Errorf("start again: %v", err)
	}
}

func TestSamba(t *testing.T) {
	p := Samba(t)
	p.Kill()
	if err := p.Start(); err != nil {
		t.Errorf("start again: %v", err)
	}
}

func TestDS389(t *testing.T) {
	p := DS389(t)
	p.Kill()
	if err := p.Start(); err != nil {
		t.Errorf("start again: %v", err)
	}
}
