package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/config"
	"berth/sshd/event"
	"berth/sshd/totp"
)

// TestSecretsChangeOnRecord sees that no secret is changed without an event, and
// that a change that failed makes none.
func TestSecretsChangeOnRecord(t *testing.T) {
	cfg := config.Default()
	cfg.Events.File = filepath.Join(t.TempDir(), "events")
	bob := totp.Person{ID: "id-1", Directory: "corp", Name: "bob"}
	refused := errors.New("refused")
	if err := recorded(&cfg, secretEvent(event.CodeSecretRemoved, bob), func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the change", err)
	}
	if text, err := os.ReadFile(cfg.Events.File); err != nil || len(text) > 0 {
		t.Errorf("after a change that failed: %s, %v", text, err)
	}
	if err := recorded(&cfg, secretEvent(event.CodeSecretRemoved, bob), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cfg.Events.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"type":"code_secret_removed"`, `"user":"bob"`, `"user_id":"id-1"`, `"directory":"corp"`, `"operator":"`, `"operator_uid":"`} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("%s is not once in %s", want, text)
		}
	}
	cfg.Events.File = t.TempDir() // cannot be opened as a file
	changed := false
	if err := recorded(&cfg, secretEvent(event.CodeSecretAdded, bob), func() error { changed = true; return nil }); err == nil || changed {
		t.Errorf("events cannot be written: %v, changed: %t", err, changed)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestSecretThatCannotBePrinted: it is stored, so it has an event.
func TestSecretThatCannotBePrinted(t *testing.T) {
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	config, file := filepath.Join(d.Dir, "berth.yaml"), filepath.Join(d.Dir, "totp")
	replace(t, config, "\nevents:", "\ntotp: {file: "+file+", key_file: "+file+".key}\nevents:")
	cmd := root()
	cmd.SetOut(fullDisk{})
	cmd.SetArgs([]string{"totp", "add", "alice", "--config=" + config})
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	if stored := run(t, "berth totp list --config="+config); !strings.Contains(stored, "alice") {
		t.Fatalf("nothing is stored: %q", stored)
	}
	if text, err := os.ReadFile(filepath.Join(d.Dir, "events.jsonl")); err != nil || !strings.Contains(string(text), "code_secret_added") {
		t.Errorf("no event says so: %v, %s", err, text)
	}
}
