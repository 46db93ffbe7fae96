package fs

import (
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/policy"
)

const secret = "the content of a file outside"

// prison is a host directory with a home in it, a secret beside it, and links
// that an administrator left in the home, all of which lead out.
func prison(t testing.TB) (outside, home string) {
	t.Helper()
	dir := t.TempDir()
	outside, home = dir+"/outside", dir+"/outside/home"
	err := errors.Join(
		os.MkdirAll(home+"/d", 0o755),
		os.MkdirAll(outside+"/dir", 0o755),
		os.WriteFile(outside+"/secret", []byte(secret), 0o666),
		os.WriteFile(outside+"/dir/secret", []byte(secret), 0o666),
		os.WriteFile(outside+"/witness", nil, 0o666),
		os.WriteFile(outside+"/dir/witness", nil, 0o666),
		os.WriteFile(home+"/f", []byte("inside"), 0o666),
		os.Symlink(outside+"/secret", home+"/abs"),
		os.Symlink("../secret", home+"/rel"),
		os.Symlink("../../secret", home+"/d/rel"),
		os.Symlink("..", home+"/up"),
		os.Symlink(outside+"/dir", home+"/absdir"),
		os.Symlink("/proc/self/root"+outside, home+"/proc"),
		os.Symlink("../new", home+"/dangling"),
	)
	if err != nil {
		t.Fatal(err)
	}
	return outside, home
}

// aroundHome is the outside tree as text, without the home.
func aroundHome(t testing.TB, outside, home string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(snapshot(t, outside)) {
		if !strings.HasPrefix(line, home+"/") && !strings.HasPrefix(line, home+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// jails are the two ways to confine a host directory.
var jails = map[string]func(host string, umask uint32) (layer, error){
	"openat2": openBy(byKernel),
	"walk":    openBy(byElement),
}

// openBy opens host directories with a resolver that the test chooses.
func openBy(r resolver) func(host string, umask uint32) (layer, error) {
	return func(host string, umask uint32) (layer, error) {
		j, err := openJail(host, umask)
		if err != nil {
			return nil, err
		}
		j.resolve = r
		return j, nil
	}
}

func openIn(t testing.TB, open func(string, uint32) (layer, error), home string) FS {
	t.Helper()
	f, err := following(open(home, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestJail(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			outside, home := prison(t)
			before := aroundHome(t, outside, home)
			f := openIn(t, open, home)
			wayOut := []string{
				"/abs", "/rel", "/d/rel", "/up/secret", "/up/up/up/secret", "/absdir/secret", "/proc/secret", "/absdir",
				"/../secret", "/d/../../secret", outside + "/secret", "../secret", "/..", "/d/rel/../x", "/dangling",
				"/proc/self/root/etc/passwd", "/dev/fd/0", "/f/../../secret", "/d/\x00/../../secret",
			}
			for _, name := range wayOut {
				attack(t, f, name)
			}
			if after := aroundHome(t, outside, home); after != before {
				t.Errorf("outside changed from\n%sto\n%s", before, after)
			}
			for name := range mustWalk(t, outside) {
				if strings.Contains(name, "stolen") && !strings.HasPrefix(name, home) {
					t.Errorf("%s was made outside", name)
				}
			}
		})
	}
}

func mustWalk(t testing.TB, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for line := range strings.Lines(snapshot(t, dir)) {
		name, _, _ := strings.Cut(line, " ")
		names[name] = true
	}
	return names
}

// attack does everything to name that could reach outside, and complains when
// it reads the secret.
func attack(t testing.TB, f FS, name string) {
	t.Helper()
	read := func(file File, err error) {
		if err != nil {
			return
		}
		defer file.Close()
		buf := make([]byte, len(secret))
		if _, err := file.ReadAt(buf, 0); err == nil && string(buf) == secret {
			t.Errorf("read the secret as %q", name)
		}
	}
	read(f.OpenFile(name, os.O_RDONLY, 0))
	read(f.OpenFile(name, os.O_RDWR, 0))
	if fi, err := f.Stat(name); err == nil && fi.Size() == int64(len(secret)) {
		t.Errorf("Stat(%q) shows the secret", name)
	}
	for fi, err := range f.ReadDir(name) {
		if err == nil && fi.Name() == "witness" {
			t.Errorf("ReadDir(%q) lists the outside", name)
		}
	}
	for _, flag := range []int{os.O_WRONLY, truncating, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND | os.O_CREATE} {
		if file, err := f.OpenFile(name, flag, 0o666); err == nil {
			_, _ = file.WriteAt([]byte("stolen"), 0)
			_ = file.Close()
		}
	}
	_ = f.SetAttr(name, Attr{Set: AttrMode | AttrTimes | AttrSize, Mode: 0o777, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0), Size: 1})
	_ = f.Mkdir(name+"/stolen", 0o777)
	_ = f.Symlink("x", name+"/stolen2")
	_ = f.Link(name, "/stolen3")
	read(f.OpenFile("/stolen3", os.O_RDONLY, 0))
	_ = f.Rename(name+"/secret", "/stolen4", true)
	read(f.OpenFile("/stolen4", os.O_RDONLY, 0))
	_ = f.Rename("/f", name+"/stolen5", true)
	_ = f.Remove(name + "/secret")
	_ = f.Rmdir(name + "/dir")
	_, _ = f.StatFS(name)
}

// TestJailRace swaps directories for links that lead outside, on the host and
// by another session, while a session uses them.
func TestJailRace(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			outside, home := prison(t)
			before := aroundHome(t, outside, home)
			f, second := openIn(t, open, home), openIn(t, open, home)
			if err := os.Rename(home+"/absdir", home+"/link"); err != nil {
				t.Fatal(err)
			}
			var done atomic.Bool
			var wg sync.WaitGroup
			swap := func(rename func(a, b string) error) {
				for !done.Load() {
					_ = rename("/d", "/x")
					_ = rename("/link", "/d")
					_ = rename("/d", "/link")
					_ = rename("/x", "/d")
				}
			}
			wg.Go(func() { swap(func(a, b string) error { return os.Rename(home+a, home+b) }) })
			wg.Go(func() { swap(func(a, b string) error { return second.Rename(a, b, false) }) })
			for range 100 {
				attack(t, f, "/d/secret")
				attack(t, f, "/d")
			}
			done.Store(true)
			wg.Wait()
			if after := aroundHome(t, outside, home); after != before {
				t.Errorf("outside changed from\n%sto\n%s", before, after)
			}
		})
	}
}

// TestSpecialFiles checks that FIFOs, sockets and devices are neither waited
// for nor opened.
func TestSpecialFiles(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if err := unix.Mkfifo(home+"/fifo", 0o666); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			t.Chdir(home) // the name of a socket is short
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "socket"}); err != nil {
				t.Fatal(err)
			}
			special := []string{"/fifo", "/socket"}
			if unix.Mknod(home+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) == nil { // as root
				special = append(special, "/null")
			}
			for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
				f, err := following(open(home, 0))
				if err != nil {
					t.Fatal(err)
				}
				if uploads == policy.Atomic {
					below := f.(*links).layer
					f, _ = following(newUploads(below), nil)
				}
				for _, name := range special {
					for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, truncating} {
						if err := openClose(f, name, flag); !errors.Is(err, ErrNotRegular) {
							t.Errorf("%s: open %s with flags %#x = %v, want ErrNotRegular", uploads, name, flag, err)
						}
					}
					if err := f.SetAttr(name, Attr{Set: AttrSize}); !errors.Is(err, ErrNotRegular) {
						t.Errorf("truncate %s = %v, want ErrNotRegular", name, err)
					}
					if err := f.Link(name, "/copy"); !errors.Is(err, ErrNotRegular) {
						t.Errorf("link %s = %v, want ErrNotRegular", name, err)
					}
					if fi, err := f.Stat(name); err != nil || fi.Mode().IsRegular() || fi.Mode().Type() == 0 {
						t.Errorf("Stat(%s) = %v, %v", name, fi, err)
					}
				}
				_ = f.Close()
			}
		})
	}
}

// TestSharedDirectoryKeepsGroup checks that chmod does not take the
// set-group-id bit off a directory. It can set that bit, set and clear the sticky
// one, and no other.
func TestSharedDirectoryKeepsGroup(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			err := errors.Join(os.Mkdir(home+"/shared", 0o755), os.Mkdir(home+"/own", 0o755),
				os.Chmod(home+"/shared", 0o755|iofs.ModeSetgid))
			if err != nil {
				t.Fatal(err)
			}
			f := openIn(t, open, home)
			for dir, want := range map[string]iofs.FileMode{"/shared": iofs.ModeDir | iofs.ModeSetgid | 0o770, "/own": iofs.ModeDir | 0o770} {
				if err := f.SetAttr(dir, Attr{Set: AttrMode, Mode: 0o700 | iofs.ModeSetuid}); !errors.Is(err, iofs.ErrPermission) {
					t.Errorf("set-user-id bit on %s = %v, want ErrPermission", dir, err)
				}
				if err := f.SetAttr(dir, Attr{Set: AttrMode, Mode: 0o770}); err != nil {
					t.Error(err)
				}
				if fi, err := f.Stat(dir); err != nil || fi.Mode() != want {
					t.Errorf("mode of %s = %v, %v, want %v", dir, fi.Mode(), err, want)
				}
				if err := f.SetAttr(dir, Attr{Set: AttrMode, Mode: 0o750 | iofs.ModeSetgid | iofs.ModeSticky}); err != nil {
					t.Error(err)
				}
				if fi, err := f.Stat(dir); err != nil || fi.Mode() != iofs.ModeDir|iofs.ModeSetgid|iofs.ModeSticky|0o750 {
					t.Errorf("mode of %s = %v, %v, want both bits", dir, fi.Mode(), err)
				}
				if err := f.SetAttr(dir, Attr{Set: AttrMode, Mode: 0o770}); err != nil {
					t.Error(err)
				}
				if fi, err := f.Stat(dir); err != nil || fi.Mode() != iofs.ModeDir|iofs.ModeSetgid|0o770 {
					t.Errorf("mode of %s = %v, %v, want no sticky bit", dir, fi.Mode(), err)
				}
			}
		})
	}
}

// TestErrorsNameNoHostPath checks errors of all kinds for the host directory.
func TestErrorsNameNoHostPath(t *testing.T) {
	for name, open := range jails {
		t.Run(name, func(t *testing.T) {
			outside, home := prison(t)
			f := openIn(t, open, home)
			var errs []error
			for _, name := range []string{"/none", "/f/x", "/abs", "/d", "/", "/rel/x"} {
				_, err := f.Stat(name + "/none")
				errs = append(errs, err, openClose(f, name, os.O_RDONLY), openClose(f, name, truncating|os.O_EXCL), readDirErr(f, name),
					f.Mkdir(name, 0), f.Remove(name), f.Rmdir(name), f.Rename(name, "/d/x/y", false), f.Symlink("/", name),
					f.SetAttr(name, Attr{Set: AttrSize, Size: -1}), f.Link(name, "/d"))
			}
			for _, err := range errs {
				if err != nil && strings.Contains(err.Error(), outside) {
					t.Errorf("error names the host path: %v", err)
				}
			}
		})
	}
}

// step is one operation of a sequence, picked by three bytes.
var steps = []func(f FS, a, b string) error{
	func(f FS, a, _ string) error { return f.Mkdir(a, 0o755) },
	func(f FS, a, _ string) error { return f.Remove(a) },
	func(f FS, a, _ string) error { return f.Rmdir(a) },
	func(f FS, a, b string) error { return f.Rename(a, b, false) },
	func(f FS, a, b string) error { return f.Rename(a, b, true) },
	func(f FS, a, b string) error { return f.Link(a, b) },
	func(f FS, a, b string) error { return f.Symlink(b, a) },
	func(f FS, a, b string) error { return f.Symlink(strings.TrimPrefix(b, "/"), a) },
	func(f FS, a, b string) error { return f.Symlink(".."+b, a) },
	func(f FS, a, b string) error { return f.Symlink("../../.."+b, a) },
	func(f FS, a, _ string) error { return openClose(f, a, os.O_RDONLY) },
	func(f FS, a, b string) error { return writeTo(f, a, truncating, b) },
	func(f FS, a, b string) error { return writeTo(f, a, os.O_RDWR|os.O_CREATE, b) },
	func(f FS, a, b string) error { return writeTo(f, a, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b) },
	func(f FS, a, b string) error { return writeTo(f, a, os.O_WRONLY|os.O_APPEND, b) },
	func(f FS, a, _ string) error { return f.SetAttr(a, Attr{Set: AttrSize, Size: 3}) },
	func(f FS, a, _ string) error { return f.SetAttr(a, Attr{Set: AttrMode, Mode: 0o700}) },
	func(f FS, a, _ string) error { _, err := f.Readlink(a); return err },
	func(f FS, a, _ string) error { _, err := f.Stat(a); return err },
	func(f FS, a, _ string) error { _, err := f.Lstat(a); return err },
	func(f FS, a, _ string) error { return readDirErr(f, a) },
}

func writeTo(f FS, name string, flag int, content string) error {
	file, err := f.OpenFile(name, flag, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(content), 0)
	return errors.Join(err, file.Close())
}

// places are the names that steps are done to.
var places = []string{
	"/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/b/a", "/b/a/b", "/f", "/secret", "/up", "/abs", "/absdir", "/absdir/secret",
	"/up/secret", "/a/secret", "/b/a/secret", "/dangling", "/d", "/d/rel", "/../secret",
}

// run does the steps that code describes and returns the result of each.
func run(f FS, code []byte) []error {
	var errs []error
	for len(code) >= 3 {
		do := steps[int(code[0])%len(steps)]
		a, b := places[int(code[1])%len(places)], places[int(code[2])%len(places)]
		code = code[3:]
		errs = append(errs, do(f, a, b))
	}
	return errs
}

// maxSteps bounds a sequence.
const maxSteps = 60

func randomSteps(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 2))
	code := make([]byte, 3*maxSteps)
	for i := range code {
		code[i] = byte(rnd.Uint32())
	}
	return code
}

// FuzzJail checks that no sequence of operations reads or changes the outside:
// several sessions, through all layers and each jail alone, do theirs at the
// same time, while a host process moves directories about and puts links that
// lead out in their place.
func FuzzJail(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomSteps(seed))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		code = code[:min(len(code), 3*maxSteps)]
		outside, home := prison(t)
		before := aroundHome(t, outside, home)
		p := full(home)
		p.Uploads = policy.Atomic
		sessions := []FS{mustOpen(t, p, Settings{}), mustOpen(t, full(home), Settings{}), openIn(t, jails["openat2"], home), openIn(t, jails["walk"], home)}
		var done atomic.Bool
		var host, running sync.WaitGroup
		host.Go(func() {
			for !done.Load() {
				_ = os.Rename(home+"/absdir", home+"/a")
				_ = os.Rename(home+"/a", home+"/b")
				_ = os.Rename(home+"/b", home+"/absdir")
				if os.Symlink(outside+"/dir", home+"/b") == nil {
					_ = os.Remove(home + "/b")
				}
				time.Sleep(time.Microsecond)
			}
		})
		for i, session := range sessions {
			begin := 3 * (len(code) / 3 * i / len(sessions)) // not all the same at once
			mine := slices.Concat(code[begin:], code[:begin])
			running.Go(func() {
				run(session, mine)
				for _, name := range places {
					attack(t, session, name)
				}
			})
		}
		running.Wait()
		done.Store(true)
		host.Wait()
		if after := aroundHome(t, outside, home); after != before {
			t.Errorf("outside changed from\n%sto\n%s", before, after)
		}
	})
}

// FuzzEquivalence checks that both resolvers give the same answers and leave the
// same tree.
func FuzzEquivalence(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(randomSteps(seed + 100))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		code = code[:min(len(code), 3*maxSteps)]
		results := map[string][]error{}
		trees := map[string]string{}
		for name, open := range jails {
			_, home := prison(t)
			results[name] = run(openIn(t, open, home), code)
			trees[name] = shape(t, home)
		}
		for i, want := range results["openat2"] {
			op := int(code[3*i]) % len(steps)
			if got := results["walk"][i]; !same(got, want, op >= 3 && op <= 5) {
				t.Errorf("step %d (%d, %q, %q): the walk says %v, openat2 %v", i, op,
					places[int(code[3*i+1])%len(places)], places[int(code[3*i+2])%len(places)], got, want)
				return
			}
		}
		if trees["openat2"] != trees["walk"] {
			t.Errorf("openat2 left\n%sthe walk left\n%s", trees["openat2"], trees["walk"])
		}
	})
}

// shape is snapshot without what differs between two equal trees.
func shape(t testing.TB, home string) string {
	t.Helper()
	l, err := openJail(home, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		for fi, err := range sorted(t, asFS(l), dir) {
			name := join(dir, fi)
			info, lerr := l.Lstat(name)
			if err := errors.Join(err, lerr); err != nil {
				t.Fatal(err)
			}
			b.WriteString(name + " " + info.Mode().String())
			if info.Mode().IsRegular() {
				data, err := os.ReadFile(home + name)
				if err != nil {
					t.Fatal(err)
				}
				b.Write(data)
			}
			b.WriteString("\n")
			if info.IsDir() {
				walk(name)
			}
		}
	}
	walk("/")
	return b.String()
}

func sorted(t testing.TB, l FS, dir string) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, name := range names(t, l, dir) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// same reports whether two errors are the same for a client. In an operation
// with two names, either name may be found wrong first.
func same(a, b error, pair bool) bool {
	if a == nil || b == nil || pair {
		return (a == nil) == (b == nil)
	}
	return errors.Is(a, cause(b)) || errors.Is(b, cause(a))
}
