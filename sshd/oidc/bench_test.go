package oidc

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/sshd/oidc/oidctest"
)

// BenchmarkWaiting has a thousand sign-ins wait for their people. It reports what each
// costs beside its connection, with the provider's part, which is in the same process:
// memory, and CPU time for each time that the provider is asked.
func BenchmarkWaiting(b *testing.B) {
	const (
		signIns = 1000
		most    = 20 << 10 // bytes for each
	)
	at := oidctest.New(b)
	at.Pending, at.Wait = true, 5 // as providers ask for
	s := DefaultSettings()
	s.Issuer, s.ClientID, s.CAFile = at.URL, at.ClientID, at.CAFile
	p, err := Open(s)
	if err != nil {
		b.Fatal(err)
	}
	defer p.client.CloseIdleConnections()
	if err := p.Check(b.Context()); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		before := memory()
		ctx, gone := context.WithCancel(b.Context())
		var waiting sync.WaitGroup
		for range signIns {
			s, err := p.Begin(ctx, netip.Addr{})
			if err != nil {
				b.Fatal(err)
			}
			waiting.Go(func() {
				defer s.Close()
				if who, err := s.Wait(ctx); err == nil {
					b.Errorf("%+v has signed in", who)
				}
			})
		}
		asked := polls(b, at, signIns, nil) // everybody once, so that all is allocated
		least, peak := 1<<40, 0
		cpu := cpuTime()
		more := polls(b, at, asked+signIns, func() {
			m := memory() - before
			least, peak = min(least, m), max(peak, m)
		}) - asked
		each := least / signIns
		b.ReportMetric(float64(each), "B/sign-in")
		b.ReportMetric(float64(peak/signIns), "peak-B/sign-in")
		b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(more), "cpu-us/poll")
		gone()
		waiting.Wait()
		if each > most {
			b.Errorf("%d bytes for each sign-in, and not at most %d", each, most)
		}
	}
}

// polls calls look until at was asked so many times for a token, and returns how often it was.
func polls(b *testing.B, at *oidctest.Provider, times int, look func()) int {
	b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		at.Lock()
		n := at.Polled
		at.Unlock()
		if n >= times {
			return n
		}
		if time.Now().After(deadline) {
			b.Fatalf("the provider was asked %d times, want %d", n, times)
		}
		if look != nil {
			look()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// memory is what is in use after a collection.
func memory() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools kept
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
