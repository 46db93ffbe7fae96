package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Somebody who moves small files sends a request, waits for the answer and sends
// the next one. Between two requests the whole process is idle for a tenth of a
// millisecond, and Go's scheduler wakes idle processors to look for work that
// does not exist. With one processor it does not. The other part of the remedy
// is a setting of the linker, in the Makefile.
// docs/adr/0005-a-quiet-scheduler.md has the figures.

// How often followLoad measures, and how often it asks Go how many processors
// there are: the administrator may change the CPU quota of the service.
const (
	measureEvery = 100 * time.Millisecond
	askEvery     = 10 * time.Second
)

// followLoad gives the scheduler as many processors as there is work for, from
// one to all that the CPU quota allows, until ctx ends. It starts with all of
// them, because many people may log in as soon as the server is back. If the
// environment sets GOMAXPROCS, that number stays.
func followLoad(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	p := processors{now: runtime.GOMAXPROCS(0)}
	before := measure()
	asked, most := before.at, p.now
	for sleep(ctx, measureEvery) {
		t := measure()
		use := p.now
		if t.at.Sub(asked) >= askEvery {
			// Go follows the quota only while nobody sets a number.
			runtime.SetDefaultGOMAXPROCS()
			use = runtime.GOMAXPROCS(0)
			asked, most = t.at, use
		}
		if p = p.follow(before.until(t), most); p.now != use {
			runtime.GOMAXPROCS(p.now)
		}
		before = t
	}
}

// times are how long this process has run, and how long all processors of the
// machine together have been idle, at one moment.
type times struct {
	at        time.Time
	ran, idle time.Duration
}

func measure() times {
	t := times{at: time.Now()}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		t.ran = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	// Seconds since the start of the machine, and idle ones of all processors.
	if text, err := os.ReadFile("/proc/uptime"); err == nil {
		var up, idle float64
		fmt.Sscan(string(text), &up, &idle)
		t.idle = time.Duration(idle * float64(time.Second))
	}
	return t
}

// until returns the load between t and later.
func (t times) until(later times) load {
	d := float64(later.at.Sub(t.at))
	return load{busy: float64(later.ran-t.ran) / d, idle: float64(later.idle-t.idle) / d, at: later.at}
}

// load is how many processors were busy for this process, and how many were
// idle, on average until at.
type load struct {
	busy, idle float64
	at         time.Time
}

// processors is how many processors run Go code.
type processors struct {
	now    int
	needed time.Time // when all of them were needed last; zero at the start
}

// follow returns how many processors to use after a load, at most so many. It
// doubles them as soon as all are busy and the machine has an idle one. It takes
// one back when one fewer would have been enough for a second. While clients and
// other programs keep the machine busy, more threads of this process would only
// take processors from them: then one fewer is enough even if that has little to spare.
func (p processors) follow(l load, most int) processors {
	n, enough := float64(p.now), 0.7
	if l.idle < 0.5 {
		enough = 0.9
	}
	switch {
	case p.needed.IsZero():
		p.needed = l.at
	case l.busy >= 0.9*n && l.idle >= 0.5:
		p.now, p.needed = 2*p.now, l.at
	case l.busy >= enough*(n-1) || p.now == 1:
		p.needed = l.at
	case l.at.Sub(p.needed) >= time.Second:
		p.now, p.needed = p.now-1, l.at
	}
	p.now = min(p.now, most)
	return p
}
