package test

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSchedulerSetting sees that the linker has set the default of GODEBUG that
// the Makefile asks for: it ignores a variable that does not exist (any more).
func TestSchedulerSetting(t *testing.T) {
	const want = "schedtrace=2147483647"
	for _, program := range []string{berth, plain} {
		f, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		// read returns n bytes of the program's memory at an address.
		read := func(address uint64, n int) []byte {
			for _, s := range f.Sections {
				if s.Type == elf.SHT_PROGBITS && s.Addr <= address && address+uint64(n) <= s.Addr+s.Size {
					b := make([]byte, n)
					if _, err := s.ReadAt(b, int64(address-s.Addr)); err != nil {
						t.Fatal(err)
					}
					return b
				}
			}
			t.Fatalf("nothing at %#x", address)
			return nil
		}
		got := "no such variable"
		for _, s := range symbols {
			if s.Name == "runtime.godebugDefault" { // a string: where, and how long
				header := read(s.Value, 16)
				got = string(read(binary.LittleEndian.Uint64(header), int(binary.LittleEndian.Uint64(header[8:]))))
			}
		}
		if got != want {
			t.Errorf("%s: runtime.godebugDefault is %q, want %q: docs/adr/0005-a-quiet-scheduler.md", program, got, want)
		}
	}
}

// TestPatched: make builds with the patches for the SSH library.
func TestPatched(t *testing.T) {
	for _, program := range []string{berth, plain} {
		out, err := exec.Command(program, "version").Output()
		if err != nil || !strings.Contains(string(out), "with Berth's patches") {
			t.Errorf("%s version: %v, %q; want a build with the patches", program, err, out)
		}
	}
}

// TestMonitorDoesNotSleep holds the runtime to the reason for the setting.
func TestMonitorDoesNotSleep(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src/runtime/proc.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, monitor, _ := strings.Cut(string(text), "\nfunc sysmon() {")
	monitor, _, _ = strings.Cut(monitor, "\n}\n")
	if !strings.Contains(monitor, "if debug.schedtrace <= 0 && (sched.gcwaiting.Load() || sched.npidle.Load() == gomaxprocs)") {
		t.Error("sysmon sleeps under another condition than that no trace is wanted: measure again, and see docs/adr/0005-a-quiet-scheduler.md")
	}
}

// TestFuzzTargets: make fuzz runs the targets of the patches where they compile, in
// the patched library.
func TestFuzzTargets(t *testing.T) {
	out, err := exec.Command("./fuzz.sh", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), ".patched/crypto/ssh FuzzMessages\n") {
		t.Errorf("the messages of the patched library are not fuzzed:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		folder, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		found := false
		files, _ := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(text), "\nfunc "+target+"(")
		}
		if !found || strings.Contains(folder, "testdata") {
			t.Errorf("there is no target %s to run in %s", target, folder)
		}
	}
}
