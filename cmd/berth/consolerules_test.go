package main

import (
	"path/filepath"
	"testing"

	"berth/policy"
)

// TestConsoleRules: the rules of the file are compiled once, and again when it has changed.
func TestConsoleRules(t *testing.T) {
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.Dir, "berth.yaml")
	cfg, set, err := readRules(file)
	if err != nil {
		t.Fatal(err)
	}
	in := &rules{}
	in.set.Store(set)
	c := &consoleRules{reloader: &reloader{started: cfg, rules: in, attributes: set.Attributes()}}
	if f, err := c.File(); err != nil || f.Err != nil || !f.InForce || len(f.Lines) == 0 {
		t.Errorf("%+v, %v", f, err)
	}
	parse := testing.AllocsPerRun(1, func() {
		if _, err := c.Parse("x", "rules: [{name: all}]"); err != nil {
			t.Error(err)
		}
	})
	again := testing.AllocsPerRun(5, func() {
		if f, err := c.File(); err != nil || !f.InForce {
			t.Errorf("%+v, %v", f, err)
		}
	})
	if again > parse/2 {
		t.Errorf("to show the file again allocates %.0f times, to compile one rule %.0f times", again, parse)
	}
	other, err := policy.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	in.set.Store(other)
	if f, err := c.File(); err != nil || f.Err != nil || f.InForce {
		t.Errorf("with other rules in force: %+v, %v", f, err)
	}
	replace(t, file, "permissions: [full]", "permissions: [ful]")
	if f, err := c.File(); err != nil || f.Err == nil || f.InForce {
		t.Errorf("with a mistake: %+v, %v", f, err)
	}
}
