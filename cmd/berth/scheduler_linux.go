package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Go's scheduler is at its best in a program that is busy or asleep. Someone
// who moves small files asks, waits and asks again, and between two requests
// the whole process is idle for a tenth of a millisecond. At each of them the
// runtime puts its monitor thread to sleep and wakes it again, and at each of
// the three goroutines that a request passes it wakes an idle processor to look
// for work that is not there. Both together were two thirds of the CPU time of
// a small request. docs/adr/0005-a-quiet-scheduler.md has the figures.

// monitorAwake is the GODEBUG setting under which the monitor naps for up to
// 10 ms instead of sleeping until it is woken. The runtime then also writes a
// line to standard error each time so many milliseconds, 25 days, are over.
const monitorAwake = "schedtrace=2147483647"

// quietMonitor starts the program anew, as the same process, with monitorAwake
// in its environment: the runtime reads it only at the start. It returns if the
// environment says something of its own about it, or if the system does not
// let it, which costs nothing but speed. Call it before anything is opened.
func quietMonitor() {
	env, changed := withSetting(os.Environ(), "GODEBUG", monitorAwake)
	if !changed {
		return
	}
	if program, err := os.Executable(); err == nil {
		_ = syscall.Exec(program, os.Args, env)
	}
}

// withSetting adds key=value to the comma-separated list that the variable
// name holds in env, unless the key is there.
func withSetting(env []string, name, setting string) (_ []string, changed bool) {
	key, _, _ := strings.Cut(setting, "=")
	for i, v := range env {
		list, found := strings.CutPrefix(v, name+"=")
		switch {
		case !found:
		case strings.Contains(","+list, ","+key+"="):
			return env, false
		default:
			env[i] = v + "," + setting
			return env, true
		}
	}
	return append(env, name+"="+setting), true
}

// lookEvery is how often followLoad compares.
const lookEvery = 100 * time.Millisecond

// followLoad gives the scheduler as many processors as there is work for, from
// one to all it had at the start, until ctx ends. A number in the environment,
// GOMAXPROCS, stays.
func followLoad(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	p := processors{most: runtime.GOMAXPROCS(0), now: 1}
	defer runtime.GOMAXPROCS(p.most)
	runtime.GOMAXPROCS(p.now)
	for before := lookAtTime(); sleep(ctx, lookEvery); {
		t := lookAtTime()
		was := p.now
		if p.follow(before.until(t)); p.now != was {
			runtime.GOMAXPROCS(p.now)
		}
		before = t
	}
}

// times are how long this process has run and all processors of the machine
// have not, at one moment.
type times struct {
	at        time.Time
	ran, idle time.Duration
}

func lookAtTime() times {
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

// load is how many processors were busy for us and how many for nobody, on
// average until at.
type load struct {
	busy, idle float64
	at         time.Time
}

// processors is how many run Go code: as few as do.
type processors struct {
	most, now int
	needed    time.Time // when all of them last were
}

// follow doubles the processors as soon as they are all busy and the machine
// has an idle one to give, and takes one back when one fewer would have done
// with ease for a second. Where clients and others keep the rest of the machine
// busy, more threads of ours would wait for a processor and take it from them.
func (p *processors) follow(l load) {
	n := float64(p.now)
	switch {
	case l.busy >= 0.9*n && l.idle >= 0.5:
		p.now = min(2*p.now, p.most)
		p.needed = l.at
	case l.busy >= 0.7*(n-1) || p.now == 1:
		p.needed = l.at
	case l.at.Sub(p.needed) >= time.Second:
		p.now--
		p.needed = l.at
	}
}
