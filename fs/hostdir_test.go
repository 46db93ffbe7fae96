package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestDescriptors opens views of three folders, of which each session shares two
// with all others. Descriptors grow with the directories, and all are returned.
func TestDescriptors(t *testing.T) {
	const sessions = 450
	shared := []string{t.TempDir(), t.TempDir()}
	homes := t.TempDir()
	before := descriptors(t)
	var views []*mounts
	for i := range sessions {
		home := homes + "/" + string(rune('a'+i%9))
		if err := os.MkdirAll(home, 0o755); err != nil {
			t.Fatal(err)
		}
		var folders []mounted
		for at, host := range map[string]string{"/": home, "/a": shared[0], "/b": shared[1]} {
			l, err := openJail(host, uint32(i%2)*0o077)
			if err != nil {
				t.Fatal(err)
			}
			folders = append(folders, mounted{path: at, layer: l})
		}
		views = append(views, newMounts(folders))
	}
	if got := descriptors(t) - before; got != 2+9 {
		t.Errorf("%d sessions have %d descriptors, want one for each of 11 directories", sessions, got)
	}
	for i, v := range views {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Lstat("/a"); !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("Lstat in a closed view = %v, want ErrClosed", err)
		}
		if err := v.Close(); err != nil { // counts once
			t.Error(err)
		}
		if i+1 < len(views) {
			if _, err := views[i+1].Lstat("/a"); err != nil {
				t.Fatalf("Lstat in a view that is open = %v", err)
			}
		}
	}
	if got := descriptors(t); got != before {
		t.Errorf("%d descriptors are open after the sessions, %d were before", got, before)
	}
}

// TestSessionsCloseAll checks that a view gives back all that it opened, whatever
// layers it has and however its files were left.
func TestSessionsCloseAll(t *testing.T) {
	before := descriptors(t)
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		host := sample(t)
		p := everything(host)
		p.Uploads = uploads
		for _, path := range []string{"/one", "/two", "/two/three"} {
			p.Folders = append(p.Folders, policy.Folder{Path: path, Host: t.TempDir(), Quota: 1 << 30})
		}
		f, err := Open(p, Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/f", "/one/f", "/two/f", "/two/three/f"} {
			if err := writeTo(f, name, truncating, "x"); err != nil {
				t.Fatal(err)
			}
			w, err := f.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
		}
		for range f.ReadDir("/") { // left early
			break
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	runtime.GC()
	if got := descriptors(t); got != before {
		t.Errorf("%d descriptors are open after the sessions, %d were before", got, before)
	}
}

// TestReplacedDirectory checks that a session gets the directory that is there
// when it begins, even if others still use the one that was there before.
func TestReplacedDirectory(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir() + "/folder"
			if err := errors.Join(os.Mkdir(host, 0o755), os.WriteFile(host+"/old", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			first := openIn(t, open, host)
			if err := errors.Join(os.Rename(host, host+".old"), os.Mkdir(host, 0o755), os.WriteFile(host+"/new", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			second := openIn(t, open, host)
			if _, err := first.Stat("/old"); err != nil {
				t.Errorf("the first session: %v", err)
			}
			if _, err := second.Stat("/new"); err != nil {
				t.Errorf("the second session: %v", err)
			}
		})
	}
}

// TestReadOnlyMount checks the same for a directory that is mounted on itself
// read-only: it is the same directory, but not the same mount.
func TestReadOnlyMount(t *testing.T) {
	if !mounting(t) {
		return
	}
	host := t.TempDir()
	first := openIn(t, openBy(resolve()), host)
	err := errors.Join(
		unix.Mount(host, host, "", unix.MS_BIND, ""),
		unix.Mount("", host, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(host, unix.MNT_DETACH) })
	second := openIn(t, openBy(resolve()), host)
	if err := first.Mkdir("/d", 0o755); err != nil {
		t.Errorf("mkdir in the first session = %v", err)
	}
	for f, want := range map[FS]uint64{first: 0, second: unix.MS_RDONLY} {
		if u, err := f.StatFS("/"); err != nil || u.Flags&unix.MS_RDONLY != want {
			t.Errorf("StatFS = %+v, %v, want the flag %d for a read-only mount", u, err, want)
		}
	}
	if err := second.Mkdir("/e", 0o755); !errors.Is(err, ErrReadOnly) {
		t.Errorf("mkdir in the second session = %v, want ErrReadOnly", err)
	}
}

// TestOpenWithoutDescriptors checks that Open fails, and does not report
// missing folders, when the process cannot open any more files.
func TestOpenWithoutDescriptors(t *testing.T) {
	p := full(t.TempDir())
	p.Folders = append(p.Folders, policy.Folder{Path: "/other", Host: t.TempDir()}, policy.Folder{Path: "/third", Host: t.TempDir()})
	f := mustOpen(t, full(p.Folders[0].Host), Settings{}) // one of the three is open already
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	var held []*os.File
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	few := was
	few.Cur = uint64(descriptors(t) + 20)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	for {
		h, err := os.Open("/")
		if err != nil {
			break
		}
		held = append(held, h)
	}
	last := len(held) - 1
	for what, release := range map[string]func() error{"none": func() error { return nil }, "one": held[last].Close} {
		if err := release(); err != nil {
			t.Fatal(err)
		}
		if v, err := Open(p, Settings{}); !errors.Is(err, unix.EMFILE) { // one is enough for two of the folders
			t.Errorf("Open with %s descriptor left = %v, %v, want EMFILE", what, v, err)
		}
	}
	if h, err := os.Open("/"); err == nil {
		held[last] = h
	}
	if _, err := f.Lstat("/"); !errors.Is(err, ErrNoDescriptors) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("Lstat without a descriptor = %v, want ErrNoDescriptors, which is EMFILE", err)
	}
}
