package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkRing opens and closes a file by the plain system call, by a ring as the
// service, and has a ring do nothing, which is the least that any request costs. The
// metrics are CPU time of this thread; "ns-call" is that of a system call that does nothing.
func BenchmarkRing(b *testing.B) {
	host := b.TempDir()
	name := deep(b, host)
	root, err := unix.Open(host, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(root)
	r, err := newRing()
	if err != nil {
		b.Skip(err)
	}
	defer unix.Close(r.fd)
	own, err := r.register()
	if err != nil {
		b.Fatal(err)
	}
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	ways := map[string]func() error{
		"ns-plain": func() error {
			fd, err := byKernel(root, name, flags, 0)
			return errors.Join(err, unix.Close(fd))
		},
		"ns-ring": func() error {
			fd, err, _ := r.open(&own, root, name, flags, 0)
			return errors.Join(err, unix.Close(fd))
		},
		"ns-nothing": func() error {
			*r.req = ringRequest{}
			atomic.AddUint32(r.tail, 1)
			_, _ = r.wait()
			return nil
		},
		"ns-call": func() error { _ = unix.Getppid(); return nil },
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const round = 1000
	used := map[string]int64{}
	for b.Loop() {
		for way, do := range ways {
			from := cpuTime(b, unix.RUSAGE_THREAD)
			for range round {
				if err := do(); err != nil {
					b.Fatal(way, err)
				}
			}
			used[way] += cpuTime(b, unix.RUSAGE_THREAD) - from
		}
	}
	for way, ns := range used {
		b.ReportMetric(float64(ns)/float64(b.N*round), way)
	}
}

// BenchmarkPeopleAtOnce has several goroutines that ask for attributes, by turns in a
// folder of the service and in one of a person. The metrics are CPU time of the process.
func BenchmarkPeopleAtOnce(b *testing.B) {
	host := b.TempDir()
	name := deep(b, host)
	if err := os.Chmod(filepath.Dir(host), 0o755); err != nil {
		b.Fatal(err)
	}
	service, person := mustOpen(b, full(host), Settings{}), mustOpen(b, hersAt(host), Settings{})
	const round = 1000
	for _, goroutines := range []int{1, 2, 4, 16} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			var used [2]int64
			for b.Loop() {
				for i, f := range []FS{service, person} {
					from := cpuTime(b, unix.RUSAGE_SELF)
					var all sync.WaitGroup
					for range goroutines {
						all.Go(func() {
							for range round {
								if _, err := f.Stat(name); err != nil {
									b.Error(err)
								}
							}
						})
					}
					all.Wait()
					used[i] += cpuTime(b, unix.RUSAGE_SELF) - from
				}
			}
			b.ReportMetric(float64(used[1])/float64(used[0]), "x-service")
			b.ReportMetric(float64(used[1]-used[0])/float64(b.N*goroutines*round), "ns-more")
		})
	}
}

// cpuTime is that of who, in nanoseconds.
func cpuTime(b *testing.B, who int) int64 {
	var r unix.Rusage
	if err := unix.Getrusage(who, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}
