package main

import (
	"slices"
	"testing"
	"time"
)

func TestWithSetting(t *testing.T) {
	tests := []struct {
		env, want []string
		changed   bool
	}{
		{nil, []string{"GODEBUG=a=1"}, true},
		{[]string{"X=y"}, []string{"X=y", "GODEBUG=a=1"}, true},
		{[]string{"GODEBUG=b=2", "X=y"}, []string{"GODEBUG=b=2,a=1", "X=y"}, true},
		{[]string{"GODEBUG=aa=2"}, []string{"GODEBUG=aa=2,a=1"}, true},
		{[]string{"GODEBUG=a=0"}, []string{"GODEBUG=a=0"}, false}, // the administrator's word stays
		{[]string{"GODEBUG=b=2,a=1"}, []string{"GODEBUG=b=2,a=1"}, false},
	}
	for _, tt := range tests {
		got, changed := withSetting(slices.Clone(tt.env), "GODEBUG", "a=1")
		if !slices.Equal(got, tt.want) || changed != tt.changed {
			t.Errorf("withSetting(%q) = %q, %t, want %q, %t", tt.env, got, changed, tt.want, tt.changed)
		}
	}
}

func TestProcessorsFollowLoad(t *testing.T) {
	p := processors{most: 6, now: 1}
	at := time.Now()
	steps := []struct {
		busy, idle float64
		after      time.Duration
		want       int
	}{
		{0.5, 5, 100 * time.Millisecond, 1},
		{0.95, 0.2, 100 * time.Millisecond, 1}, // none to give
		{0.95, 5, 100 * time.Millisecond, 2},
		{1.0, 5, 100 * time.Millisecond, 2}, // one would not do
		{1.9, 4, 100 * time.Millisecond, 4},
		{4.0, 2, 100 * time.Millisecond, 6},
		{6.0, 1, 100 * time.Millisecond, 6}, // no more than there are
		{1.0, 5, 500 * time.Millisecond, 6},
		{1.0, 5, 400 * time.Millisecond, 6},
		{1.0, 5, 100 * time.Millisecond, 5}, // a second of calm
		{1.0, 5, 500 * time.Millisecond, 5},
		{3.0, 3, 100 * time.Millisecond, 5}, // which is over
		{1.0, 5, 900 * time.Millisecond, 5},
		{1.0, 5, 100 * time.Millisecond, 4},
		{0, 6, time.Second, 3},
		{0, 6, time.Second, 2},
		{0, 6, time.Second, 1},
		{0, 6, time.Second, 1},
	}
	for i, s := range steps {
		at = at.Add(s.after)
		if p.follow(load{busy: s.busy, idle: s.idle, at: at}); p.now != s.want {
			t.Fatalf("step %d: %v busy, %v idle: %d processors, want %d", i, s.busy, s.idle, p.now, s.want)
		}
	}
}

func TestLookAtTime(t *testing.T) {
	before := lookAtTime()
	for deadline := time.Now().Add(30 * time.Millisecond); time.Now().Before(deadline); {
	}
	l := before.until(lookAtTime())
	if l.busy <= 0 || before.idle <= 0 {
		t.Errorf("busy %v after a busy loop, machine idle for %v: not measured", l.busy, before.idle)
	}
}
