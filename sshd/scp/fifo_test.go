package scp

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

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
