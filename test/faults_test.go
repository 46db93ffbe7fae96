package test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFaultTable: the tests that docs/reliability.md names for its faults exist.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| fault |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:] // after the head and the rule below it
	if len(rows) < 8 {
		t.Errorf("the table has %d rows, want the eight faults", len(rows))
	}
	named := regexp.MustCompile("`([a-z/]+): (Test[A-Za-z]+)`")
	for _, row := range rows {
		tests := named.FindAllStringSubmatch(row, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named: %s", row)
		}
		for _, m := range tests {
			out, err := exec.Command("grep", "-rl", "--include=*_test.go", "^func "+m[2]+"(t ", filepath.Join("..", m[1])).Output()
			if err != nil || !strings.Contains(string(out), "_test.go") {
				t.Errorf("%s has no %s", m[1], m[2])
			}
		}
	}
}

// TestReadOnlyDisk makes the disk of a home read-only while a session is open, as the
// kernel does after an error, and writable again. Downloads go on.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	home := filepath.Join(demo, "home/alice")
	smallDisk(t, home, "2m")
	s, err := startServer(berth, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	client := aliceFiles(t, s.addr, demo)
	put := func() error {
		f, err := client.Create("f")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write([]byte("text"))
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", home, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	if err := put(); !errors.Is(err, os.ErrPermission) { // SFTP has no code of its own for it
		t.Errorf("an upload to a read-only disk = %v, want permission denied", err)
	}
	recorded(t, demo, `"reason":"read_only"`)
	if f, err := client.Open("f"); err != nil {
		t.Errorf("a download from a read-only disk: %v", err)
	} else {
		f.Close()
	}
	remount(0)
	if err := put(); err != nil {
		t.Errorf("an upload once the disk is writable: %v", err)
	}
}

// TestOutOfDescriptors takes all descriptors from the running server but those it has
// open. Whoever is in works on, newcomers wait, and they come in when there are
// descriptors again.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	s, err := startDemo(nil, demo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	client := aliceFiles(t, s.addr, demo)
	f, err := client.Open("/shared/welcome.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var before unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	came := make(chan error, 1)
	go func() {
		c, err := dialAlice(s.addr, demo)
		if err == nil {
			c.Close()
		}
		came <- err
	}()
	eventually(t, "the log says that no connection can be accepted", func() bool {
		text, err := os.ReadFile(s.output)
		return err == nil && strings.Contains(string(text), "too many open files")
	})
	if text, err := io.ReadAll(f); err != nil || len(text) == 0 {
		t.Errorf("a download that has begun: %d bytes, %v", len(text), err)
	}
	if _, err := client.Open("/nothing"); err == nil || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("open without descriptors = %v, want the reason", err)
	}
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-came; err != nil {
		t.Errorf("who came meanwhile: %v", err)
	}
}
