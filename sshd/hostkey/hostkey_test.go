package hostkey

import (
	"crypto/rand"
	"errors"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestLoadMakesWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	paths := []string{
		filepath.Join(dir, "ssh_host_rsa_key"),
		filepath.Join(dir, "ssh_host_ecdsa_key"),
		filepath.Join(dir, "ssh_host_ed25519_key"),
	}
	made, err := Load(paths, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"}
	if got := types(made); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("types: got %v, want %v", got, want)
	}
	for _, path := range paths {
		if got := mode(t, path); got != 0o600 {
			t.Errorf("%s: got mode %04o, want 0600", path, got)
		}
	}

	again, err := Load(paths, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range made {
		if got, want := ssh.FingerprintSHA256(again[i].PublicKey()), ssh.FingerprintSHA256(made[i].PublicKey()); got != want {
			t.Errorf("loaded again: got %s, want %s", got, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The first key of a type is the one that is offered.
func TestLoadKeepsTheOrderOfOneType(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "b_ed25519"), filepath.Join(dir, "rsa"), filepath.Join(dir, "a_ed25519")}
	keys, err := Load(paths, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{paths[0], paths[2], paths[1]} {
		if got, want := ssh.FingerprintSHA256(keys[i].PublicKey()), keygen(t, "-l", "-f", path); !strings.Contains(want, got) {
			t.Errorf("key %d: got %s, want %s", i, got, want)
		}
	}
}

func TestLoadedKeysAreWhatKeygenSees(t *testing.T) {
	for _, word := range []string{"ed25519", "ecdsa", "rsa"} {
		path := filepath.Join(t.TempDir(), "host_"+word)
		signers, err := Load([]string{path}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		want := ssh.FingerprintSHA256(signers[0].PublicKey())
		for _, file := range []string{path, path + ".pub"} {
			if got := keygen(t, "-l", "-f", file); !strings.Contains(got, want) {
				t.Errorf("ssh-keygen -l %s: got %q, want %s", file, got, want)
			}
		}
	}
}

func TestRSASignsWithSHA2Only(t *testing.T) {
	signers, err := Load([]string{filepath.Join(t.TempDir(), "rsa")}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	s := signers[0].(ssh.MultiAlgorithmSigner)
	if got := strings.Join(s.Algorithms(), " "); got != "rsa-sha2-512 rsa-sha2-256" {
		t.Errorf("algorithms: got %s", got)
	}
	if _, err := s.SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSA); err == nil {
		t.Error("signed with SHA-1")
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	write(t, secret, "open sesame\r\nsecond line\n", 0o600)
	paths := []string{filepath.Join(dir, "ed25519")}

	made, err := Load(paths, PassphraseFile(secret), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := keygen(t, "-y", "-P", "open sesame", "-f", paths[0]), string(ssh.MarshalAuthorizedKey(made[0].PublicKey())); !strings.HasPrefix(got, strings.TrimSpace(want)) {
		t.Errorf("ssh-keygen -y: got %q, want %q", got, want)
	}
	// One round of the key derivation instead of sixteen, to save time.
	keygen(t, "-q", "-p", "-a", "1", "-P", "open sesame", "-N", "open sesame", "-f", paths[0])
	if _, err := Load(paths, PassphraseFile(secret), ""); err != nil {
		t.Error(err)
	}
	for name, passphrase := range map[string]Ask{
		"no passphrase is configured": nil,
		"wrong passphrase":            func() ([]byte, error) { return []byte("wrong"), nil },
		"cannot ask":                  func() ([]byte, error) { return nil, errors.New("cannot ask") },
	} {
		if _, err := Load(paths, passphrase, ""); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error that says %q", err, name)
		}
	}
}

// TestPassphraseFileOfSystemd reads a file with the mode of a credential whose
// service has a user of its own.
func TestPassphraseFileOfSystemd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "host-keys")
	write(t, file, "open sesame\r\nmore", 0o440)
	got, err := PassphraseFile(file)()
	if err != nil || string(got) != "open sesame" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPassphraseFileRefuses(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	empty := filepath.Join(dir, "empty")
	write(t, open, "secret\n", 0o644)
	write(t, empty, "\nsecret\n", 0o600)
	for file, want := range map[string]string{open: "chmod 0640", empty: "empty", filepath.Join(dir, "none"): "no such file"} {
		if _, err := PassphraseFile(file)(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name string
		set  func(t *testing.T, dir string) []string
		want string
	}{
		{"readable by others", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "ed25519")
			mustLoad(t, path)
			chmod(t, path, 0o644)
			return []string{path}
		}, "mode 0644 gives other users too much access: chmod 0600"},
		{"group may read", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "ed25519")
			mustLoad(t, path)
			chmod(t, path, 0o640)
			return []string{path}
		}, "mode 0640"},
		{"not a key", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "ed25519")
			write(t, path, "hello", 0o600)
			return []string{path}
		}, "no key found in any known format"},
		{"a directory", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "ed25519")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return []string{path}
		}, "not a regular file"},
		{"empty", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "ed25519")
			write(t, path, "", 0o600)
			return []string{path}
		}, "no key found in any known format"},
		{"weak RSA", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "key")
			keygen(t, "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", path)
			return []string{path}
		}, "RSA key of 1024 bits"},
		{"DSA", func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "key")
			keygen(t, "-q", "-t", "dsa", "-N", "", "-f", path)
			return []string{path}
		}, "unhandled key type"},
		{"name tells no type", func(t *testing.T, dir string) []string {
			return []string{filepath.Join(dir, "host")}
		}, "should hold ed25519, ecdsa or rsa"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.set(t, t.TempDir()), nil, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that says %q", err, tt.want)
			}
		})
	}
}

func TestMakeKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ed25519")
	before := mustLoad(t, path)
	if err := Make(path, nil); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("got %v, want %v", err, iofs.ErrExist)
	}
	if got, want := ssh.FingerprintSHA256(mustLoad(t, path)), ssh.FingerprintSHA256(before); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestManyMakersAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ed25519")
	prints := make([]string, 16)
	var wg sync.WaitGroup
	for i := range prints {
		wg.Go(func() {
			signers, err := Load([]string{path}, nil, "")
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = ssh.FingerprintSHA256(signers[0].PublicKey())
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] {
			t.Fatalf("got %s and %s", p, prints[0])
		}
	}
}

func mustLoad(t *testing.T, path string) ssh.PublicKey {
	t.Helper()
	signers, err := Load([]string{path}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return signers[0].PublicKey()
}

func types(signers []ssh.Signer) []string {
	var out []string
	for _, s := range signers {
		out = append(out, s.PublicKey().Type())
	}
	return out
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
}

// keygen runs the real ssh-keygen, the judge of what a key file should be.
func keygen(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestStalePublicKey makes a key beside the public half of one that is gone.
func TestStalePublicKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ed25519")
	write(t, file+".pub", "ssh-ed25519 AAAA of a key that is gone\n", 0o644)
	if err := Make(file, nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(text, nil)
	if err != nil || string(public) != string(ssh.MarshalAuthorizedKey(k.Public)) {
		t.Errorf("%s.pub is %q, %v, want the public half of the new key", file, public, err)
	}
}
