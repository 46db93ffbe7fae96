package privatefile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestReadOfOwners reads files of several owners as an ordinary user.
func TestReadOfOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away; TestMayOwn has the decision")
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const reader, other = 65534, 65533
	files := map[int]string{}
	for _, uid := range []int{0, reader, other} {
		files[uid] = put(t, filepath.Join(dir, string(rune('a'+uid%7))), "text", 0o644)
		if err := os.Chown(files[uid], uid, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(files[uid], AllRead, 10); err != nil {
			t.Errorf("as root, a file of %d: %v", uid, err)
		}
	}
	// The effective user of this thread only: it ends with the goroutine.
	runtime.LockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, reader, keep); errno != 0 {
		t.Fatal(errno)
	}
	errs := map[int]error{}
	for uid, file := range files {
		_, errs[uid] = Read(file, AllRead, 10)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		t.Fatal(errno)
	}
	runtime.UnlockOSThread()
	if errs[0] != nil || errs[reader] != nil {
		t.Errorf("files of root and of the reader: %v, %v", errs[0], errs[reader])
	}
	if err := errs[other]; err == nil || !strings.Contains(err.Error(), "belongs to user id 65533") {
		t.Errorf("a file of somebody else: %v", err)
	}
}

// TestReadFails reads a file whose first byte no process can read.
func TestReadFails(t *testing.T) {
	if text, err := Read("/proc/self/mem", OwnerReads, 10); !errors.Is(err, syscall.EIO) || text != nil {
		t.Errorf("got %q, %v, want EIO", text, err)
	}
}

// TestReadFIFO must not wait for somebody to write.
func TestReadFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, OwnerReads, 10); err == nil || err.Error() != "is not a regular file" {
		t.Errorf("got %v", err)
	}
}

// TestRewriteKeepsOwner has root rewrite the file of a service.
func TestRewriteKeepsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	file := put(t, filepath.Join(t.TempDir(), "f"), "one", 0o600)
	if err := os.Chown(file, 65534, 65533); err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(file, func() ([]byte, error) { return []byte("two"), nil }); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if of := fi.Sys().(*syscall.Stat_t); of.Uid != 65534 || of.Gid != 65533 {
		t.Errorf("belongs to %d:%d, want the owner it had", of.Uid, of.Gid)
	}
}
