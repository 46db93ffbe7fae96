package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs a command line and returns what it printed.
func call(args ...string) (string, error) {
	var out strings.Builder
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

// TestKeysCommands makes, shows and converts keys.
func TestKeysCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"one": "secret one\n", "two": "secret two\n", "junk": "no key\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, tt := range []struct {
		line string
		want string // in the output, or in the error if fails
		fail bool
	}{
		{"make ed25519 --passphrase-file one", "ed25519: 256 SHA256:", false},
		{"make ed25519", "exists", true},
		{"make new/ed25519 name", "make name: is missing and cannot be made", true},
		{"show ed25519 --passphrase-file one", "no comment (ED25519)", false},
		{"show ed25519 --passphrase-file two", "ed25519: wrong passphrase", true},
		{"show ed25519 --passphrase-file none", "none: no such file", true},
		{"show ed25519.pub new/ed25519", "new/ed25519: 256 SHA256:", false},
		{"show ed25519.pub --randomart", "[SHA256]", false},
		{"show junk", "junk: no key found", true},
		{"show none", "open none: no such file", true},
		{"convert ed25519 --to openssh --public --passphrase-file one --out public", "", false},
		{"convert ed25519 --to openssh --public --passphrase-file one --out public", "public: file already exists", true},
		{"convert ed25519.pub --to rfc4716", "BEGIN SSH2 PUBLIC KEY", false},
		{"convert ed25519.pub --to ppk3", `convert ed25519.pub: format "ppk3" is not for public keys`, true},
		{"convert ed25519 --to rfc4716 --passphrase-file one", `convert ed25519: format "rfc4716" cannot hold a private key`, true},
		{"convert new/ed25519 --to pkcs8", "BEGIN PRIVATE KEY", false},
		// A key stays encrypted unless something else is asked for.
		{"convert ed25519 --to pkcs8 --passphrase-file one", "BEGIN ENCRYPTED PRIVATE KEY", false},
		{"convert ed25519 --to pkcs8 --passphrase-file one --no-passphrase", "BEGIN PRIVATE KEY", false},
		{"convert ed25519 --to pkcs8 --passphrase-file one --new-passphrase-file none", "new passphrase: none: no such file", true},
		{"convert ed25519 --to openssh --passphrase-file one --new-passphrase-file two --out again", "", false},
		{"show again --passphrase-file two", "256 SHA256:", false},
		{"show again --passphrase-file one", "wrong passphrase", true},
	} {
		got, err := call(append([]string{"keys"}, strings.Fields(tt.line)...)...)
		switch {
		case tt.fail != (err != nil):
			t.Fatalf("%d: keys %s: got %q, %v, want an error: %t", i, tt.line, got, err, tt.fail)
		case err != nil:
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%d: keys %s: got %q, want %q", i, tt.line, got, tt.want)
		}
	}
	same := func(a, b string) bool {
		x, err := os.ReadFile(a)
		y, err2 := os.ReadFile(b)
		return err == nil && err2 == nil && string(x) == string(y)
	}
	if !same("public", "ed25519.pub") {
		t.Error("the public key differs after the conversion")
	}
	for file, want := range map[string]os.FileMode{"again": 0o600, "public": 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&^want != 0 {
			t.Errorf("%s: %v, %v, want mode %v", file, info.Mode(), err, want)
		}
	}
}

// TestTOTPCommands keeps the secrets of the demonstration's people.
func TestTOTPCommands(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	totp := func(line string) (string, error) {
		return call(append(append([]string{"totp"}, strings.Fields(line)...), "--config", "berth.yaml")...)
	}
	if _, err := totp("list"); err == nil || !strings.Contains(err.Error(), "totp.file: missing") {
		t.Errorf("without a file: %v", err)
	}
	text, err := os.ReadFile("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "totp: {file: "+filepath.Join(dir, "totp")+", key_file: "+filepath.Join(dir, "key")+"}\n"...)
	if err := os.WriteFile("berth.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		line, want string
		fail       bool
	}{
		{"list", "", false},
		{"add bob", "otpauth://totp/Berth:bob?", false},
		{"add BOB", `"bob" has a secret already: remove it first`, true},
		{"add nobody", "no such user", true},
		{"add alice", "otpauth://totp/Berth:alice?", false},
		{"list", "@demo\nbob ", false},
		{"remove nobody", `"nobody": has no secret here`, true},
		{"remove bob", "", false},
		{"remove bob", "has no secret here", true},
	} {
		got, err := totp(tt.line)
		if tt.fail != (err != nil) {
			t.Fatalf("%d: totp %s: got %q, %v, want an error: %t", i, tt.line, got, err, tt.fail)
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%d: totp %s: got %q, want %q", i, tt.line, got, tt.want)
		}
	}
	// By the id, with and without the directory.
	list, err := totp("list")
	if err != nil {
		t.Fatal(err)
	}
	who := strings.Fields(list)[2]
	if _, err := totp("remove " + who); err != nil {
		t.Errorf("remove %s: %v", who, err)
	}
	if _, err := totp("add alice"); err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(who, "@")
	if _, err := totp("remove " + id); err != nil {
		t.Errorf("remove %s: %v", id, err)
	}
	events, err := os.ReadFile("events.jsonl")
	if added, removed := strings.Count(string(events), `"code_secret_added"`), strings.Count(string(events), `"code_secret_removed"`); err != nil || added != 3 || removed != 3 {
		t.Errorf("%d secrets added, %d removed in the events, %v, want 3 each", added, removed, err)
	}
}
