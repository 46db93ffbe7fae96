package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// states are the system calls that change what a thread may do, or the disk. A server
// is killed before each of them.
var states = map[int]string{
	unix.SYS_SETGROUPS: "setgroups", unix.SYS_SETRESGID: "setresgid", unix.SYS_SETRESUID: "setresuid", unix.SYS_CAPSET: "capset",
	unix.SYS_OPENAT2: "openat2", unix.SYS_IO_URING_ENTER: "io_uring_enter", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FTRUNCATE: "ftruncate",
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2",
	unix.SYS_LINKAT: "linkat", unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_FCHMODAT2: "fchmodat2",
}

const killedVar = "BERTH_TEST_KILLED"

// TestKilledInEveryState kills a server before each system call of states, from the first
// login on. Whatever is on the disk then has the right owner. That takes minutes for all
// calls; without peers every 31st must do.
func TestKilledInEveryState(t *testing.T) {
	if way, host, found := strings.Cut(os.Getenv(killedVar), " "); found {
		if way == "threads" {
			defer withoutRings()()
		}
		live(t, host)
		return
	}
	needRoot(t)
	step := 31 // not a multiple of the calls that change a thread and change it back
	if os.Getenv("BERTH_PEERS") != "" {
		step = 1
	}
	for _, way := range []string{"rings", "threads"} {
		t.Run(way, func(t *testing.T) {
			if way == "rings" {
				needRings(t)
			}
			host := disk(t)
			all, killed := serveUntil(t, way, host, 0)
			for _, call := range states {
				if !slices.Contains(all, call) && (way == "rings" || call != "io_uring_enter") {
					t.Errorf("it never called %s", call)
				}
			}
			if killed {
				t.Fatal("it did not end by itself")
			}
			checkOwners(t, host, "at the end")
			for n := 1; n <= len(all); n += step {
				host := disk(t)
				seen, killed := serveUntil(t, way, host, n)
				if !killed || !slices.Equal(seen, all[:n]) {
					t.Errorf("call %d: killed %v, after %v", n, killed, seen)
				}
				checkOwners(t, host, fmt.Sprintf("killed before call %d, %s", n, all[n-1]))
			}
			t.Logf("%d calls", len(all))
		})
	}
}

// disk has room for homes and a folder of the service.
func disk(t *testing.T) (host string) {
	t.Helper()
	host = world(t)
	for _, dir := range []string{"", "/homes", "/ours"} {
		if err := errors.Join(os.MkdirAll(host+dir, 0o755), os.Chown(host+dir, berth, berth)); err != nil {
			t.Fatal(err)
		}
	}
	return host
}

// live is what the server does until it is killed: the first login of alice, and then
// everything that makes, moves and changes files.
func live(t *testing.T, host string) {
	p := hersAt(host + "/homes/alice")
	p.Folders[0].Create, p.Folders[0].Skeleton = true, []string{"inbox/new", "outbox"}
	p.Folders = append(p.Folders, policy.Folder{Path: "/ours", Host: host + "/ours"})
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGWINCH); err != nil { // which does nothing: from here on
		t.Fatal(err)
	}
	try := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p.Uploads = range []policy.Uploads{policy.Atomic, policy.Direct} {
		v, err := Open(p, Settings{})
		try(err)
		try(v.Mkdir("/d", 0o777))
		for _, dir := range []string{"/d", "/ours"} {
			try(writeOne(v, dir+"/f", truncating))
			try(writeOne(v, dir+"/f", truncating))
			try(v.Rename(dir+"/f", dir+"/g", true))
			try(v.Link(dir+"/g", dir+"/h"))
			try(v.Symlink("g", dir+"/l"))
			try(v.SetAttr(dir+"/g", Attr{Set: AttrMode | AttrSize, Mode: 0o600}))
		}
		try(v.SetAttr("/d/g", Attr{Set: AttrOwner, UID: sameOwner, GID: shared}))
		try(writeOne(v, "/d/g", truncating)) // whose group it keeps
		for _, dir := range []string{"/d", "/ours"} {
			for _, base := range []string{"/g", "/h", "/l"} {
				try(v.Remove(dir + base))
			}
		}
		try(v.Rmdir("/d"))
		try(v.Close())
	}
}

// checkOwners looks at all that is on the disk.
func checkOwners(t *testing.T, host, when string) {
	t.Helper()
	err := filepath.WalkDir(host, func(name string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		name = strings.TrimPrefix(name, host)
		service := st.Uid == berth && st.Gid == berth
		hers := st.Uid == alice && (st.Gid == herGroup || st.Gid == shared)
		right := service
		switch {
		case strings.HasPrefix(name, "/homes/alice"):
			right = hers
		case strings.HasPrefix(name, "/homes/.berth-home-"): // being made, where nobody else gets in
			right = service || hers
		}
		if !right {
			t.Errorf("%s: %s is of %d:%d", when, name, st.Uid, st.Gid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// serveUntil runs live in a process, and kills it before the nth call of states. It returns
// the calls until then.
func serveUntil(t *testing.T, way, host string, nth int) (calls []string, killed bool) {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := serviceCommand(t, "setuid setgid chown", "-test.run=^TestKilledInEveryState$")
	cmd.Env = append(os.Environ(), killedVar+"="+way+" "+host, "GODEBUG=asyncpreemptoff=1") // no signals of the runtime
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	err := cmd.Start()
	cmd.ExtraFiles[0].Close()
	if err != nil {
		t.Fatal(err)
	}
	const trap = unix.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	pid, inside, begun := cmd.Process.Pid, map[int]bool{}, false
	for first := true; ; first = false {
		var s unix.WaitStatus
		thread, err := unix.Wait4(-pid, &s, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if first {
			err = unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL)
			if err != nil {
				t.Fatal(err)
			}
		}
		if !s.Stopped() {
			if thread != pid {
				continue
			}
			_ = cmd.Process.Release()
			if s.ExitStatus() > 0 {
				t.Fatalf("it failed after %v", calls)
			}
			return calls, s.Signaled()
		}
		pass := 0
		switch sig := s.StopSignal(); sig {
		case trap:
			inside[thread] = !inside[thread]
			if call := states[numberOf(thread)]; begun && inside[thread] && call != "" {
				if calls = append(calls, call); len(calls) == nth {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		case unix.SIGWINCH:
			begun = true
		case unix.SIGTRAP, unix.SIGSTOP: // a new thread
		default:
			pass = int(sig)
		}
		_ = unix.PtraceSyscall(thread, pass) // unless it is dead
	}
}

// numberOf is that of the system call that a stopped thread is in.
func numberOf(thread int) (number int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", thread))
	if _, err := fmt.Sscan(string(text), &number); err != nil {
		return -1 // it is dead
	}
	return number
}
