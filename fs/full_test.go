//go:build linux

package fs

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// TestDiskFull fills a small file system: the client hears of it, and an atomic
// upload leaves the old file and the room as they were.
func TestDiskFull(t *testing.T) {
	host := t.TempDir()
	if err := unix.Mount("tmpfs", host, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256k,mode=700"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(host, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	for _, uploads := range []policy.Uploads{policy.Atomic, policy.Direct} {
		if err := os.WriteFile(host+"/f", []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		p := full(host)
		p.Uploads = uploads
		f := mustOpen(t, p, Settings{})
		up := start(t, f, "/f", truncating, string(make([]byte, 128<<10)), 0)
		_, err := up.WriteAt(make([]byte, 256<<10), 128<<10)
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: write = %v, want ErrNoSpace", uploads, err)
		}
		err = up.Close()
		if uploads == policy.Direct {
			continue
		}
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("close = %v, want ErrNoSpace", err)
		}
		hostHolds(t, host+"/f", "old")
		if n := temps(t, host); n != 0 {
			t.Errorf("%d temporary files are left", n)
		}
	}
}
