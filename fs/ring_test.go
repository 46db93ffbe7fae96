package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"berth/directory"
)

// withoutRings makes folders that are opened until restore is called use threads only.
func withoutRings() (restore func()) {
	was := rings
	rings = func() []*ring { return nil }
	return func() { rings = was }
}

// needRings skips where rings are not permitted.
func needRings(t *testing.T) {
	t.Helper()
	needRoot(t)
	if len(rings()) == 0 {
		t.Skip("io_uring is not permitted here")
	}
}

// people makes a home with a file for each of n people, which nobody else can read.
func people(t *testing.T, n int) (host string) {
	t.Helper()
	host = world(t)
	for i := range n {
		home := fmt.Sprint(host, "/", i)
		err := errors.Join(os.Mkdir(home, 0o755), os.WriteFile(home+"/f", nil, 0o600), os.Chown(home, 10_000+i, 20_000+i), os.Chown(home+"/f", 10_000+i, 20_000+i))
		if err != nil {
			t.Fatal(err)
		}
	}
	return host
}

func personAt(t *testing.T, host string, i int) FS {
	t.Helper()
	p := full(host)
	p.Folders[0].Owner = &directory.POSIX{UID: uint32(10_000 + i), GID: uint32(20_000 + i), Groups: []uint32{uint32(30_000 + i)}}
	return mustOpen(t, p, Settings{})
}

// TestRingsOpenAsPersons has sessions of 20 people that begin, open files and end at the
// same time, so that the kernel's numbers change hands. Nobody opens a file of another.
func TestRingsOpenAsPersons(t *testing.T) {
	needRings(t)
	const n = 20
	host := people(t, n)
	var all sync.WaitGroup
	var opened atomic.Int64
	for i := range 2 * n {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(i)))
			who := i % n
			for range 20 {
				v := personAt(t, host, who)
				for range 50 {
					whose := rnd.IntN(n)
					err := openClose(v, fmt.Sprint("/", whose, "/f"), []int{os.O_RDONLY, os.O_RDWR}[rnd.IntN(2)])
					if (err == nil) != (whose == who) || err != nil && !errors.Is(err, iofs.ErrPermission) {
						t.Errorf("%d opens the file of %d: %v", who, whose, err)
					}
					if err == nil {
						opened.Add(1)
					}
				}
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if opened.Load() < n {
		t.Errorf("only %d files were opened", opened.Load())
	}
}

// TestRing looks at what a ring answers, and what it leaves to threads.
func TestRing(t *testing.T) {
	needRings(t)
	host := people(t, 2)
	r, err := newRing()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(r.fd)
	root, err := unix.Open(host, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	var number uint16
	err = mustActor(t, 10_000, 20_000).do(func() (err error) {
		number, err = r.register()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/0/f", host+"/link"); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flags int) (error, bool) {
		fd, err, answered := r.open(&number, root, name, flags|unix.O_CLOEXEC, 0)
		if fd >= 0 {
			var st unix.Stat_t
			if err := errors.Join(unix.Fstat(fd, &st), unix.Close(fd)); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK && flags&unix.O_PATH == 0 {
				t.Errorf("%s: mode %o, %v", name, st.Mode, err)
			}
		}
		return err, answered
	}
	for range 100 { // the queues are rings
		for name, want := range map[string]error{
			"/0/f": nil, "/0/../0/f": nil, "/../../0/f": nil, "/1/f": unix.EACCES, "/link": unix.ELOOP, "/2/f": unix.ENOENT, "/0/f/g": unix.ENOTDIR,
			"/" + strings.Repeat("x", 256): unix.ENAMETOOLONG, strings.Repeat("/", maxName): unix.ENAMETOOLONG,
		} {
			if err, answered := open(name, unix.O_RDWR); !answered || !errors.Is(err, want) {
				t.Fatalf("%.20s: %v, answered %v; want %v", name, err, answered, want)
			}
		}
	}
	if err, answered := open("/link", unix.O_PATH|unix.O_NOFOLLOW); !answered || err != nil {
		t.Errorf("a handle of a link: %v, %v", err, answered)
	}
	r.mu.Lock()
	if _, answered := open("/0/f", unix.O_RDONLY); answered {
		t.Error("a busy ring answers")
	}
	r.mu.Unlock()
	r.forget(&number)
	if _, answered := open("/0/f", unix.O_RDONLY); answered || number != 0 {
		t.Error("a forgotten number is answered")
	}
}

// TestThreadsOfPeople has 2,000 sessions of 2,000 people. As many threads run as
// operations do, and not as there are sessions.
func TestThreadsOfPeople(t *testing.T) {
	needRoot(t)
	const sessions, running = 2000, 8
	host := people(t, sessions)
	for _, way := range []string{"rings", "threads"} {
		if way == "threads" {
			defer withoutRings()()
		}
		before := len(threads(t))
		views := make([]FS, sessions)
		for i := range views {
			views[i] = personAt(t, host, i)
		}
		next := make(chan int)
		var all sync.WaitGroup
		for range running {
			all.Go(func() {
				for i := range next {
					at := fmt.Sprint("/", i)
					if err := errors.Join(openClose(views[i], at+"/f", os.O_RDWR), views[i].Mkdir(at+"/d", 0o700), readDirErr(views[i], at), views[i].Rmdir(at+"/d")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range views {
			next <- i
		}
		close(next)
		all.Wait()
		// An operation has a thread that waits for the kernel, and the runtime starts another one for each processor.
		if most := before + 2*running + 2*runtime.GOMAXPROCS(0); len(threads(t)) > most {
			t.Errorf("%s: %d threads after the work of %d sessions, %d before; want at most %d", way, len(threads(t)), sessions, before, most)
		}
		for _, v := range views {
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
