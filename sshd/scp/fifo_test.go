package scp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSpecialBits checks that a source sends the bits that OpenSSH's scp sends: set-id
// and not sticky, with and without -p.
func TestSpecialBits(t *testing.T) {
	host := t.TempDir()
	for name, mode := range map[string]uint32{"f": 0o6755, "d": 0o3775} {
		path := filepath.Join(host, name)
		err := os.WriteFile(path, nil, 0o600)
		if name == "d" {
			err = errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}
		if err := errors.Join(err, syscall.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	files := open(t, host)
	for command, want := range map[string]string{"scp -f f": "C6755 0 f\n\x00", "scp -rf d": "D2775 0 d\nE\n"} {
		if told, err := serve(t, files, command, "\x00\x00\x00\x00"); told != want || err != nil {
			t.Errorf("%s told %q, %v; want %q", command, told, err, want)
		}
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	host := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(host, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := open(t, host)
	want := "\x01scp: fifo: not a regular file\n"
	if told, err := serve(t, files, "scp -f fifo", "\x00"); told != want || err == nil {
		t.Errorf("source told %q, %v; want %q", told, err, want)
	}
	if told, err := serve(t, files, "scp -t fifo", "C0644 1 a\na\x00"); !strings.HasPrefix(told, "\x00\x01scp: fifo: ") || err == nil {
		t.Errorf("sink told %q, %v; want an error", told, err)
	}
}
