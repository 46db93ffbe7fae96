package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBigFile moves 1 GiB both ways, by SFTP and by the old SCP protocol, and
// compares checksums. The binary has no race detector: it is about size.
func TestBigFile(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "scp")
	if testing.Short() {
		t.Skip("1 GiB four times: not with -short")
	}
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	s, err := startServer(plain, demo, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", demo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	big := filepath.Join(dir, "big")
	want := writeBig(t, big, 1<<30)
	run := func(stdin, program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, append(clientOptions(s, demo), args...)...)
		cmd.Stdin = bytes.NewBufferString(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	check := func(file string) {
		t.Helper()
		if got := sum(t, file); got != want {
			t.Errorf("%s: SHA-256 %s, want %s", filepath.Base(file), got, want)
		}
		os.Remove(file)
	}
	back := filepath.Join(dir, "back")
	run(fmt.Sprintf("put %s big\nget big %s\n", big, back), "sftp", "-b", "-", "alice@127.0.0.1")
	check(back)
	check(filepath.Join(demo, "home/alice/big"))
	run("", "scp", "-O", big, "alice@127.0.0.1:big")
	run("", "scp", "-O", "alice@127.0.0.1:big", back)
	check(back)
	check(filepath.Join(demo, "home/alice/big"))
}

// writeBig writes size bytes that no compression or hole would forgive.
func writeBig(t *testing.T, file string, size int64) string {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	random := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(io.MultiWriter(f, h), random, size); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func sum(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
