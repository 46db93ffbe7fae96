package fs_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newer are the system calls that old kernels lack and filters refuse.
var newer = []uint32{unix.SYS_OPENAT2, unix.SYS_STATX, unix.SYS_FCHMODAT2, unix.SYS_NAME_TO_HANDLE_AT}

// TestSystemCallsMissing runs the suite in a process whose system calls are
// filtered: as systemd does (ENOSYS), and as old profiles of containers do (EPERM).
func TestSystemCallsMissing(t *testing.T) {
	for name, errno := range map[string]unix.Errno{"ENOSYS": unix.ENOSYS, "EPERM": unix.EPERM} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("BERTH_TEST_FILTER") == name {
				refuse(t, errno, newer)
				if _, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH}); err != errno {
					t.Fatalf("openat2 in the filtered process = %v", err)
				}
				conform(t)
				return
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestSystemCallsMissing$/^"+name+"$", "-test.v")
			cmd.Env = append(os.Environ(), "BERTH_TEST_FILTER="+name)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// refuse installs a filter in all threads of this process.
func refuse(t *testing.T, errno unix.Errno, calls []uint32) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for i, nr := range calls {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(calls) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if err != 0 {
		t.Fatalf("seccomp: %v", err)
	}
}
