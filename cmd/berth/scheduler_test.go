package main

import (
	"context"
	"runtime"
	"testing"
	"time"
)

func TestProcessorsFollowLoad(t *testing.T) {
	p := processors{now: 6}
	at := time.Now()
	steps := []struct {
		busy, idle float64
		after      time.Duration
		most, want int
	}{
		{6.0, 0, 100 * time.Millisecond, 6, 6}, // everybody logs in at once
		{5.5, 0, 900 * time.Millisecond, 6, 6},
		{3.5, 3, 100 * time.Millisecond, 6, 6}, // five would not have been enough with ease
		{1.0, 5, 900 * time.Millisecond, 6, 6},
		{1.0, 5, 100 * time.Millisecond, 6, 5}, // a second of calm
		{1.0, 5, 500 * time.Millisecond, 6, 5},
		{3.0, 3, 100 * time.Millisecond, 6, 5}, // which is over
		{1.0, 5, 900 * time.Millisecond, 6, 5},
		{1.0, 5, 100 * time.Millisecond, 6, 4},
		{0, 6, time.Second, 6, 3},
		{0, 6, time.Second, 6, 2},
		{0, 6, time.Second, 6, 1},
		{0, 6, time.Second, 6, 1},
		{0.5, 5, 100 * time.Millisecond, 6, 1},
		{0.95, 0.2, 100 * time.Millisecond, 6, 1}, // none to give
		{0.95, 5, 100 * time.Millisecond, 6, 2},
		{1.0, 5, 100 * time.Millisecond, 6, 2}, // one would not have been enough
		{1.9, 4, 100 * time.Millisecond, 6, 4},
		{4.0, 2, 100 * time.Millisecond, 6, 6},
		{6.0, 1, 100 * time.Millisecond, 6, 6}, // no more than there are
		{6.0, 1, 100 * time.Millisecond, 2, 2}, // the quota was lowered
		{2.0, 4, 100 * time.Millisecond, 2, 2},
		{2.0, 4, 100 * time.Millisecond, 3, 3}, // and raised
		{0, 6, 100 * time.Millisecond, 1, 1},
	}
	for i, s := range steps {
		at = at.Add(s.after)
		before := p
		if p = before.follow(load{busy: s.busy, idle: s.idle, at: at}, s.most); p.now != s.want {
			t.Fatalf("step %d: %v busy, %v idle, at most %d: %d processors, want %d", i, s.busy, s.idle, s.most, p.now, s.want)
		}
		if again := before.follow(load{busy: s.busy, idle: s.idle, at: at}, s.most); again != p {
			t.Fatalf("step %d: the second answer is %v, the first was %v", i, again, p)
		}
	}
}

// TestProcessorsAtTheStart sees that a server begins with all processors, and
// gives none back before a second has passed.
func TestProcessorsAtTheStart(t *testing.T) {
	p, at := processors{now: 8}, time.Now()
	for i := range 10 {
		if p = p.follow(load{idle: 8, at: at.Add(time.Duration(i) * 100 * time.Millisecond)}, 8); p.now != 8 {
			t.Fatalf("after %d tenths of a second: %d processors", i, p.now)
		}
	}
	if p = p.follow(load{idle: 8, at: at.Add(time.Second)}, 8); p.now != 7 {
		t.Errorf("after a second of calm: %d processors, want 7", p.now)
	}
}

// TestFollowLoadRestoresGo sees that Go counts the processors itself again when
// followLoad has ended.
func TestFollowLoadRestoresGo(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS()
	most := runtime.GOMAXPROCS(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	followLoad(ctx)
	if got := runtime.GOMAXPROCS(0); got != most {
		t.Errorf("GOMAXPROCS is %d after followLoad, want %d", got, most)
	}
	t.Setenv("GOMAXPROCS", "3")
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	followLoad(ctx)
	if got := runtime.GOMAXPROCS(0); got != 3 {
		t.Errorf("GOMAXPROCS is %d, want the 3 of the environment", got)
	}
}

func TestMeasure(t *testing.T) {
	before := measure()
	for deadline := time.Now().Add(30 * time.Millisecond); time.Now().Before(deadline); {
	}
	l := before.until(measure())
	if l.busy <= 0 || before.idle <= 0 {
		t.Errorf("busy %v after a busy loop, machine idle for %v: not measured", l.busy, before.idle)
	}
}

// TestProcessorsOnABusyMachine: clients on the same machine get the processors that
// this process does not need. If nobody else needs them, this process keeps those
// that it uses.
func TestProcessorsOnABusyMachine(t *testing.T) {
	for idle, want := range map[float64]int{0.1: 1, 1.2: 2} {
		p, at := processors{now: 2}, time.Now()
		for i := range 11 {
			p = p.follow(load{busy: 0.8, idle: idle, at: at.Add(time.Duration(i) * 100 * time.Millisecond)}, 2)
		}
		if p.now != want {
			t.Errorf("0.8 busy of 2 for a second, and %v of the machine idle: %d processors, want %d", idle, p.now, want)
		}
	}
}
