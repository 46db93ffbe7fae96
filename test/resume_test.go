package test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// TestResumeBrokenUpload: a client disappears in the middle of an atomic
// upload, over a file and to a new name, and the stock client continues the
// upload. Meanwhile nobody sees a part of it. The server may even have been
// killed.
func TestResumeBrokenUpload(t *testing.T) {
	need(t, "sftp")
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	file := atomicDemo(t, demo)
	home := filepath.Join(demo, "home/alice")
	whole := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(whole)
	local := filepath.Join(dir, "whole")
	if err := errors.Join(os.MkdirAll(home, 0o700), os.WriteFile(local, whole, 0o600), os.WriteFile(filepath.Join(home, "old"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(plain, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.stop() }()
	resumed := 0
	for _, killed := range []bool{false, true} {
		for name, before := range map[string]string{"new": "", "old": "old"} {
			conn, err := dialAlice(s.addr, demo)
			if err != nil {
				t.Fatal(err)
			}
			client, err := sftp.NewClient(conn)
			if err != nil {
				t.Fatal(err)
			}
			f, err := client.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(whole[:300_000]); err != nil {
				t.Fatal(err)
			}
			if killed {
				err = s.cmd.Process.Kill()
				<-s.done
				s.done <- nil
			}
			_ = conn.Close() // with no word to the server about the file
			if err != nil {
				t.Fatal(err)
			}
			if killed {
				if s, err = startServer(plain, demo, "serve", "--config", file); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the old content stands under the name", func() bool {
				got, _ := os.ReadFile(filepath.Join(home, name))
				return string(got) == before
			})
			// The lock of the vanished session may outlive it for a moment.
			eventually(t, "the stock client goes on with "+name, func() bool {
				cmd := exec.Command("sftp", append(clientOptions(s, demo), "-b", "-", "alice@127.0.0.1")...)
				cmd.Stdin = strings.NewReader("reput " + local + " " + name + "\n")
				return cmd.Run() == nil
			})
			resumed++
			eventually(t, "the upload that went on where it had broken off has its event", func() bool { // before a kill, which loses what waits
				return strings.Count(readFile(t, filepath.Join(demo, "events.jsonl")), `"bytes_written":748576,`) == resumed
			})
			if got, err := os.ReadFile(filepath.Join(home, name)); !bytes.Equal(got, whole) {
				t.Errorf("%s, server killed %t: %d bytes, %v, want the whole upload", name, killed, len(got), err)
			}
			if err := os.WriteFile(filepath.Join(home, "old"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(home, "new"))
		}
	}
	if left, _ := filepath.Glob(home + "/.berth-upload-*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
