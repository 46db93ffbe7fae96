package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// library is the ssh package of the module in go.mod.
func library(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}}@{{.Version}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(cache)), strings.TrimSpace(string(out)), "ssh")
}

// TestApply sees that every patch fits the library in go.mod, and that each stays
// as small as a patch must be for a reader to check it.
func TestApply(t *testing.T) {
	changed, err := apply(os.DirFS(library(t)), all)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) == 0 {
		t.Error("nothing was changed")
	}
	total := 0
	for _, p := range all {
		lines := strings.Count(p.code, "\n")
		for _, e := range p.edits {
			lines += max(0, strings.Count(e.new, "\n")-strings.Count(e.old, "\n"))
		}
		t.Logf("%3d lines %s", lines, p.name)
		if total += lines; lines > 40 {
			t.Errorf("patch %q adds %d lines", p.name, lines)
		}
	}
	t.Logf("%3d lines in all", total)
	if total > 300 {
		t.Errorf("the patches add %d lines, at most 300 are wanted", total)
	}
}

// TestAnchors: a text that does not occur exactly once is an error that names the
// patch, and nothing is changed.
func TestAnchors(t *testing.T) {
	ssh := fstest.MapFS{"a.go": {Data: []byte("package ssh\n\nfunc one() {\n\tx()\n\tx()\n\ty()\n}\n\nfunc two() {\n\ty()\n}\n")}}
	for _, tt := range []struct {
		edit edit
		want string // in the error; empty: none
	}{
		{edit{"a.go", "func one", "y()", "z()"}, ""},
		{edit{"a.go", "func two", "y()", "z()"}, ""},
		{edit{"a.go", "", "y()", "z()"}, `"y()" occurs 2 times`},
		{edit{"a.go", "func one", "x()", "z()"}, `"x()" occurs 2 times`},
		{edit{"a.go", "func one", "w()", "z()"}, `"w()" occurs 0 times`},
		{edit{"a.go", "func three", "y()", "z()"}, `"func three" occurs 0 times`},
		{edit{"b.go", "", "y()", "z()"}, "b.go"},
		{edit{"a.go", "func two", "y()", "y("}, "a.go"},
	} {
		changed, err := apply(ssh, []patch{{name: "example", edits: []edit{tt.edit}}})
		switch {
		case tt.want == "" && (err != nil || strings.Count(changed["a.go"], "z()") != 1):
			t.Errorf("%q: %v, %v", tt.edit, changed, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q: error %v, want one with %q", tt.edit, err, tt.want)
		}
	}
}

// TestNoDownload expects the reason, as somebody behind a company's proxy needs it.
func TestNoDownload(t *testing.T) {
	t.Setenv("GOFLAGS", "") // as make does it: with -modfile nothing is downloaded
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Chdir("..")
	if err := run(); err == nil || !strings.Contains(err.Error(), "GOPROXY=off") {
		t.Errorf("run = %v, want the reason of go mod download", err)
	}
}
