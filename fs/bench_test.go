package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// deep makes a file at depth 8 and returns its name in the view.
func deep(tb testing.TB, host string) string {
	tb.Helper()
	dir := strings.Repeat("/directory", 7)
	if err := os.MkdirAll(host+dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(host+dir+"/file", make([]byte, 1<<20), 0o644); err != nil {
		tb.Fatal(err)
	}
	return dir + "/file"
}

// BenchmarkOpen opens and closes a file at depth 8 through all layers and, in
// turn, by the plain system call. The metric "x-plain" is the ratio; the goal is
// at most 2.
func BenchmarkOpen(b *testing.B) {
	host := b.TempDir()
	name := deep(b, host)
	f := mustOpen(b, everything(host), Settings{})
	var through, plain time.Duration
	const round = 100
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		for range round {
			if err := openClose(f, name, os.O_RDONLY); err != nil {
				b.Fatal(err)
			}
		}
		through += time.Since(begin)
		begin = time.Now()
		for range round {
			fd, err := unix.Open(host+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			_ = unix.Close(fd)
		}
		plain += time.Since(begin)
	}
	b.ReportMetric(float64(through)/float64(plain), "x-plain")
	b.ReportMetric(float64(through.Nanoseconds())/float64(b.N*round), "ns/open")
}

// BenchmarkPerson does the same by turns in a folder of the service and in one of a
// person. The metric "x-service" is the ratio of time.
func BenchmarkPerson(b *testing.B) {
	host := b.TempDir()
	name := deep(b, host)
	if err := os.Chmod(filepath.Dir(host), 0o755); err != nil {
		b.Fatal(err)
	}
	ours, hers := full(host), hersAt(host)
	ours.Uploads, hers.Uploads = policy.Atomic, policy.Atomic
	service, person := mustOpen(b, ours, Settings{}), mustOpen(b, hers, Settings{})
	if err := errors.Join(os.Mkdir(host+"/d", 0o777), os.Chmod(host+"/d", 0o777)); err != nil {
		b.Fatal(err)
	}
	misses := 0
	for what, do := range map[string]func(f FS) error{
		"put": func(f FS) error { return errors.Join(writeOne(f, "/d/new", truncating), f.Remove("/d/new")) },
		"miss": func(f FS) error { // of a name that the kernel has not in memory
			misses++
			if _, err := f.Stat("/d/" + strconv.Itoa(misses)); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		},
		"stat": func(f FS) error { _, err := f.Stat(name); return err },
		"open": func(f FS) error { return openClose(f, name, os.O_RDONLY) },
		"list": func(f FS) error { return readDirErr(f, filepath.Dir(name)) },
	} {
		b.Run(what, func(b *testing.B) {
			var times [2]time.Duration
			for b.Loop() {
				for i, f := range []FS{service, person} {
					begin := time.Now()
					for range 100 {
						if err := do(f); err != nil {
							b.Fatal(err)
						}
					}
					times[i] += time.Since(begin)
				}
			}
			b.ReportMetric(float64(times[1])/float64(times[0]), "x-service")
			b.ReportMetric(float64((times[1]-times[0]).Nanoseconds())/float64(100*b.N), "ns-more")
		})
	}
}

// BenchmarkReadDir lists 10,000 files with their attributes, and in turn as
// package os does.
func BenchmarkReadDir(b *testing.B) {
	host := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(host+"/file"+strconv.Itoa(i), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	f := mustOpen(b, full(host), Settings{})
	var through, plain time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		if err := readDirErr(f, "/"); err != nil {
			b.Fatal(err)
		}
		through += time.Since(begin)
		begin = time.Now()
		entries, err := os.ReadDir(host)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if _, err := e.Info(); err != nil {
				b.Fatal(err)
			}
		}
		plain += time.Since(begin)
	}
	b.ReportMetric(float64(through)/float64(plain), "x-os")
}

// TestDataPathDoesNotAllocate holds reads and writes to no allocation, through
// all layers.
func TestDataPathDoesNotAllocate(t *testing.T) {
	f := mustOpen(t, everything(t.TempDir()), Settings{})
	w, err := f.OpenFile("/f", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	buf := make([]byte, 32<<10)
	off := int64(0)
	allocs := testing.AllocsPerRun(100, func() {
		_, werr := w.WriteAt(buf, off)
		_, rerr := w.ReadAt(buf, off)
		if werr != nil || rerr != nil {
			t.Fatal(werr, rerr)
		}
		off += int64(len(buf))
	})
	if allocs > 0 {
		t.Errorf("a write and a read allocate %v times", allocs)
	}
}
