package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// mounting reports whether the test may mount. If not, it has run the test again
// as root of a user namespace, in which it may.
func mounting(t *testing.T) bool {
	t.Helper()
	if os.Getuid() == 0 {
		return true
	}
	inNamespace(t, unix.CLONE_NEWUSER|unix.CLONE_NEWNS, 0)
	return false
}

// bound reports whether the permissions of files bind this process. If not, for
// it is root, it has run the test again as somebody whom they bind.
func bound(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	inNamespace(t, unix.CLONE_NEWUSER, 1000)
	return false
}

// inNamespace runs the test again in namespaces of its own, as the user uid there.
func inNamespace(t *testing.T, flags uintptr, uid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a namespace, as user %d: %v\n%s", uid, err, out)
	}
}

// TestDiskFull fills a small file system: the client gets an error at the
// write, other files do not change, an atomic upload leaves the old file and
// the free space unchanged, and the quota counts what is really there.
func TestDiskFull(t *testing.T) {
	if !mounting(t) {
		return
	}
	host := t.TempDir()
	if err := unix.Mount("tmpfs", host, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256k,mode=700"); err != nil {
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

// TestRenameAcrossFileSystems moves a file within one folder to another file
// system that is mounted in it. Within one file system nothing is copied.
func TestRenameAcrossFileSystems(t *testing.T) {
	if !mounting(t) {
		return
	}
	host := sample(t)
	if err := unix.Mount("tmpfs", host+"/e", "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(host+"/e", unix.MNT_DETACH) })
	f := mustOpen(t, full(host), Settings{})
	before, err := f.Stat("/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Rename("/f", "/d/f", false); err != nil {
		t.Fatal(err)
	}
	if fi, err := f.Stat("/d/f"); err != nil || idOf(fi).ino != idOf(before).ino {
		t.Errorf("renamed file is %v, %v, want the same file", fi, err)
	}
	if err := f.Rename("/d/f", "/e/f", false); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/e/f", "content")
	if _, err := f.Stat("/d/f"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the old name: %v, want ErrNotExist", err)
	}
}

// recorded records what move does to the folder that a file comes to, and from.
type recorded struct {
	layer
	name string
	did  *[]string
}

func (r recorded) syncDir(name string) error {
	*r.did = append(*r.did, r.name+" sync "+name)
	return r.layer.syncDir(name)
}

func (r recorded) Remove(name string) error {
	*r.did = append(*r.did, r.name+" remove "+name)
	return r.layer.Remove(name)
}

// TestMoveIsDurable checks that the old file is removed only when the directory
// of the new one is safe.
func TestMoveIsDurable(t *testing.T) {
	host, other := sample(t), t.TempDir()
	from := mustJail(t, host)
	to := mustJail(t, other)
	var did []string
	if err := move(recorded{from, "from", &did}, recorded{to, "to", &did}, "/f", "/g", false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(did, ", "); got != "to sync /, from remove /f" {
		t.Errorf("move did %q, want the directory safe before the file is removed", got)
	}
	if err := errors.Join(from.Close(), to.Close()); err != nil {
		t.Error(err)
	}
}

// TestUploadReadOnlyFile checks that a file that may not be written is not
// replaced either.
func TestUploadReadOnlyFile(t *testing.T) {
	if !bound(t) {
		return
	}
	host := t.TempDir()
	if err := os.WriteFile(host+"/f", []byte("x"), 0o444); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := openClose(f, "/f", truncating); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("open = %v, want ErrPermission", err)
	}
}
