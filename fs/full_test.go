//go:build linux

package fs

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// asRoot runs the test again as root of a user namespace, in which it may mount.
func asRoot(t *testing.T) {
	t.Helper()
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("in a user namespace: %v\n%s", err, out)
	}
}

// TestDiskFull fills a small file system: the client hears of it at the write,
// other files stay as they are, an atomic upload leaves the old file and the
// room as they were, and the quota counts what is really there.
func TestDiskFull(t *testing.T) {
	host := t.TempDir()
	err := unix.Mount("tmpfs", host, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256k,mode=700")
	if errors.Is(err, unix.EPERM) && os.Getuid() != 0 {
		asRoot(t)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(host, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	for _, uploads := range []policy.Uploads{policy.Atomic, policy.Direct} {
		for name, content := range map[string]string{"/f": "old", "/other": "whole"} {
			if err := os.WriteFile(host+name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p := full(host)
		p.Uploads = uploads
		p.Limits.Quota = 1 << 30 // more than there is
		var q Quotas
		f := mustOpen(t, p, Settings{Quotas: &q})
		up := start(t, f, "/f", truncating, string(make([]byte, 128<<10)), 0)
		_, err := up.WriteAt(make([]byte, 256<<10), 128<<10)
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: write = %v, want ErrNoSpace", uploads, err)
		}
		if err = up.Close(); uploads == policy.Atomic {
			if !errors.Is(err, ErrNoSpace) {
				t.Errorf("close = %v, want ErrNoSpace", err)
			}
			hostHolds(t, host+"/f", "old")
			if n := temps(t, host); n != 0 {
				t.Errorf("%d temporary files are left", n)
			}
		}
		used(t, &q, host)
		hostHolds(t, host+"/other", "whole") // acknowledged before
		if err := f.Remove("/f"); err != nil {
			t.Fatal(err)
		}
		if err := start(t, f, "/g", truncating, "there is room again", 0).Close(); err != nil {
			t.Errorf("%s: upload once there is room = %v", uploads, err)
		}
		hostHolds(t, host+"/g", "there is room again")
		used(t, &q, host)
	}
}
