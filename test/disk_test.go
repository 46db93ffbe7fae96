package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of that size, such as 2m, at dir.
func smallDisk(t *testing.T, dir, size string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700,size="+size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// TestFullDisk uploads to a disk that is too small, with the stock clients. The
// client shows the reason. With atomic uploads the old file stays complete, and
// nothing else is left. Uploads that were acknowledged before stay in any case.
func TestFullDisk(t *testing.T) {
	need(t, "sftp", "scp")
	clients := map[string]func(from, to string) []string{
		"sftp": func(from, to string) []string {
			return []string{"sftp", "-b", "-", "alice@127.0.0.1", fmt.Sprintf("put %s %s", from, to)}
		},
		"scp":    func(from, to string) []string { return []string{"scp", from, "alice@127.0.0.1:" + to} },
		"scp -O": func(from, to string) []string { return []string{"scp", "-O", from, "alice@127.0.0.1:" + to} },
	}
	for _, atomic := range []bool{true, false} {
		dir := t.TempDir()
		demo := filepath.Join(dir, "demo")
		file := atomicDemo(t, demo)
		home := filepath.Join(demo, "home/alice")
		smallDisk(t, home, "2m")
		if !atomic {
			edit(t, file, "uploads: atomic", "uploads: direct")
		}
		s, err := startServer(plain, demo, "serve", "--config", file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.stop)
		small, big := filepath.Join(dir, "small"), filepath.Join(dir, "big")
		if err := errors.Join(os.WriteFile(small, []byte("old"), 0o600), os.WriteFile(big, make([]byte, 4<<20), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := overSFTP(s, demo, "f", make([]byte, 4<<20)); err == nil || !strings.Contains(err.Error(), "No space left on device") {
			t.Errorf("atomic %t: upload to a full disk = %v, want the reason in the status", atomic, err)
		}
		clear := func() { // what a broken upload in place leaves is for people to remove
			if err := os.Remove(filepath.Join(home, "f")); !atomic && err != nil {
				t.Error(err)
			}
		}
		clear()
		for name, command := range clients {
			put := func(from, to string) (string, error) {
				args := command(from, to)
				var input string
				if args[0] == "sftp" {
					args, input = args[:len(args)-1], args[len(args)-1]
				}
				cmd := exec.Command(args[0], append(clientOptions(s, demo), args[1:]...)...)
				cmd.Stdin = strings.NewReader(input)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			for _, to := range []string{"kept", "f"} {
				if out, err := put(small, to); err != nil {
					t.Fatalf("%s, atomic %t: %v\n%s", name, atomic, err, out)
				}
			}
			out, err := put(big, "f")
			says := "Failure" // which is all that OpenSSH shows of an SFTP status
			if name == "scp -O" {
				says = "No space left on device"
			}
			if err == nil || !strings.Contains(out, says) {
				t.Errorf("%s, atomic %t: upload to a full disk = %v, %q, want it to fail and say why", name, atomic, err, out)
			}
			if got, err := os.ReadFile(filepath.Join(home, "f")); atomic && string(got) != "old" {
				t.Errorf("%s: the old file holds %d bytes, %v, want it untouched", name, len(got), err)
			}
			if got, err := os.ReadFile(filepath.Join(home, "kept")); string(got) != "old" {
				t.Errorf("%s: a file acknowledged before holds %q, %v", name, got, err)
			}
			if fi, err := os.Stat(filepath.Join(home, "f")); err != nil || fi.Size() > 2<<20 {
				t.Errorf("%s, atomic %t: the file is %v, %v, want no zeros at its end", name, atomic, fi, err)
			}
			left, err := filepath.Glob(home + "/.*")
			if atomic && (err != nil || len(left) > 0) {
				t.Errorf("%s: left behind: %q, %v", name, left, err)
			}
			clear()
			if out, err := put(small, "f"); err != nil {
				t.Errorf("%s, atomic %t: upload once there is room = %v\n%s", name, atomic, err, out)
			}
		}
	}
}

// overSFTP uploads data as alice.
func overSFTP(s *server, demo, name string, data []byte) error {
	conn, err := dialAlice(s.addr, demo)
	if err != nil {
		return err
	}
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	if err != nil {
		return err
	}
	defer client.Close()
	f, err := client.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// clientOptions makes alice log in to s without questions.
func clientOptions(s *server, demo string) []string {
	return []string{
		"-q", "-P", s.port(), "-i", filepath.Join(demo, "keys/alice"), "-oStrictHostKeyChecking=no",
		"-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oIdentitiesOnly=yes",
	}
}

// edit replaces text in a file, which must be there.
func edit(t *testing.T, file, old, next string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s: no %q", file, old)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte(old), []byte(next), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}
