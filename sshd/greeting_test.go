package sshd

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/directory"
)

func TestMessageOfTheDay(t *testing.T) {
	dir := t.TempDir()
	banner, motd := filepath.Join(dir, "banner"), filepath.Join(dir, "motd")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(banner, "No trespassing.")
	f := start(t, func(f *fixture) { f.Gate.Banner, f.Gate.MOTD = banner, motd })
	tests := []struct {
		name, motd, password string
		state                directory.Status
		want                 string
	}{
		{"no file", "", "secret-1", directory.StatusActive, "No trespassing.\n"},
		{"shown", "Maintenance on Friday.\n", "secret-1", directory.StatusActive, "No trespassing.\nMaintenance on Friday.\n"},
		{"not UTF-8", "Gr\xfc\xdfe\n", "secret-1", directory.StatusActive, "No trespassing.\nGr?e\n"},
		{"not to strangers", "Maintenance on Friday.\n", "wrong", directory.StatusActive, "No trespassing.\n"},
		{
			"before what must be done", "Maintenance on Friday.\n", "secret-1", directory.StatusMustChange,
			"No trespassing.\nMaintenance on Friday.\nYour password must be changed before you can go on. Change it with: ssh HOST passwd\n",
		},
	}
	for _, tt := range tests {
		if tt.motd != "" {
			write(motd, tt.motd)
		}
		f.people.set("alice", tt.state)
		_, told, err := f.dial(t, "alice", ssh.Password(tt.password))
		if (err == nil) != (tt.password == "secret-1") || told != tt.want {
			t.Errorf("%s: login = %v, told %q, want %q", tt.name, err, told, tt.want)
		}
	}
	write(motd, "")
	f.people.set("alice", directory.StatusActive)
	if _, told, err := f.dial(t, "alice", ssh.Password("secret-1")); err != nil || told != "No trespassing.\n" {
		t.Errorf("empty file: login = %v, told %q", err, told)
	}
}
