package main

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/sshd/hostkey"
)

// TestSecretFilesArePrivate has secrets on the command line that other users of
// the machine can read.
func TestSecretFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	k, err := hostkey.Generate("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Encode(hostkey.OpenSSH, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		use        func(file string) error
	}{
		{"password", "secret\n", func(file string) error { _, err := (&probeLogin{passwordFile: file}).auth(); return err }},
		{"identity", string(key), func(file string) error { _, err := (&probeLogin{identity: file}).auth(); return err }},
		{"passphrase", "secret\n", func(file string) error { _, err := passphraseFrom(file)(); return err }},
	} {
		file := filepath.Join(dir, tt.name)
		for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o644: false, 0o604: false, 0o660: false} {
			os.Remove(file)
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			err := tt.use(file)
			if (err == nil) != ok || err != nil && !(strings.Contains(err.Error(), file) && strings.Contains(err.Error(), "too much access")) {
				t.Errorf("%s with mode %o: %v", tt.name, mode, err)
			}
		}
	}
}

// TestExtensions reads them from a packet that arrives in pieces, and from
// packets that are cut off.
func TestExtensions(t *testing.T) {
	packet := []byte{0, 0, 0, 0, 2, 0, 0, 0, 3} // length, type, version
	for _, s := range []string{"statvfs@openssh.com", "2", "limits@openssh.com", "1"} {
		packet = append(binary.BigEndian.AppendUint32(packet, uint32(len(s))), s...)
	}
	binary.BigEndian.PutUint32(packet, uint32(len(packet)-4))
	want := map[string]string{"statvfs@openssh.com": "2", "limits@openssh.com": "1"}
	for size := 1; size <= len(packet)+3; size++ {
		var h head
		for rest := append(packet[:len(packet):len(packet)], "next packets"...); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			h.Write(rest[:min(size, len(rest))])
		}
		if got := extensions(h); !maps.Equal(got, want) {
			t.Errorf("in pieces of %d: %v", size, got)
		}
	}
	for n := range packet {
		for name, version := range extensions(packet[:n]) {
			if want[name] != version {
				t.Errorf("of %d bytes: %s %s", n, name, version)
			}
		}
	}
	var h head
	h.Write(make([]byte, 2))
	h.Write(append([]byte{0xff, 0xff}, make([]byte, 100<<10)...))
	h.Write(make([]byte, 100))
	if len(h) > 3*mostVersion {
		t.Errorf("%d bytes are kept", len(h))
	}
}
