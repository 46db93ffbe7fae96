package leaks

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/x.txtar"), []byte("exec sshpass -p bob-demo-1 ssh\nexpect login.exp Erin-3-Chose\n! exec sshpass -p '' sftp\n"))
	write(t, filepath.Join(dir, "x_test.go"), []byte(`s.Password = peers.Password("carol") // N3w-Passw0rd!, First-Pass-77`))
	write(t, filepath.Join(dir, "data.ldif"), []byte(`{{template "person" "jörg"}}`+"\nuserPassword: {{.}}-Passw0rd"))
	got, err := Passwords(dir)
	want := []string{"-Passw0rd", "Erin-3-Chose", "First-Pass-77", "N3w-Passw0rd!", "bob-demo-1", "carol-Passw0rd", "jörg-Passw0rd"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	write(t, filepath.Join(dir, "y.txtar"), []byte("exec sshpass -p hunter2 ssh"))
	if _, err := Passwords(dir); err == nil || !strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password of another shape: %v, want an error", err)
	}
}

func TestFind(t *testing.T) {
	const password = "Better-9-Horse"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprintln(z, "bind as alice with "+password)
	z.Close()
	wide := []byte{'B', 0, 'e', 0, 't', 0, 't', 0, 'e', 0, 'r', 0, '-', 0, '9', 0, '-', 0, 'H', 0, 'o', 0, 'r', 0, 's', 0, 'e', 0}
	for name, text := range map[string][]byte{
		"output.log":           []byte("ok\npanic: bind as alice with " + password + "\n"),
		"events.jsonl":         []byte(`{"detail":"` + password + `"}`),
		"events-1.jsonl.gz":    zipped.Bytes(),
		"deep/er/server.log":   []byte(base64.StdEncoding.EncodeToString([]byte(password))),
		"hex.log":              []byte(hex.EncodeToString([]byte(password))),
		"bytes.log":            fmt.Appendf(nil, "%v", []byte(password)),
		"unicodePwd.log":       wide,
		"unicodePwd-bytes.log": fmt.Appendf(nil, "request: %v", wide),
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), text)
		found, looked, err := Find(dir, []string{"bob-demo-1", password})
		if err != nil || len(found) != 1 || looked == 0 {
			t.Errorf("%s: got %q after %d bytes, %v; want one", name, found, looked, err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "output.log"), []byte("all is well"))
	write(t, filepath.Join(dir, "bind-password"), []byte(password)) // where it belongs
	if found, looked, err := Find(dir, []string{password}); err != nil || len(found) != 0 || looked != len("all is well") {
		t.Errorf("got %q after %d bytes, %v; want none", found, looked, err)
	}
}
