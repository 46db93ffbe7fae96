package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestHoldPIDFile is the other process of TestPIDFile.
func TestHoldPIDFile(t *testing.T) {
	file := os.Getenv("HOLD_PID_FILE")
	if file == "" {
		return
	}
	pid := &pidFile{path: file}
	if err := pid.write(); err != nil {
		t.Fatal(err)
	}
	defer pid.remove()
	if address := os.Getenv("HOLD_ADDRESS"); address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	os.Stdout.WriteString("held\n")
	io.Copy(io.Discard, os.Stdin)
}

// hold starts a process that holds file, and listens on address if that is not
// empty. end lets it end by itself.
func hold(t *testing.T, file, address string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run", "^TestHoldPIDFile$")
	cmd.Env = append(os.Environ(), "HOLD_PID_FILE="+file, "HOLD_ADDRESS="+address)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "held" {
	}
	return cmd, func() {
		in.Close()
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the holder ends with %v", err)
		}
	}
}

func TestPIDFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "berth.pid")
	running := func(want int) {
		t.Helper()
		if pid, err := runningServer(file); pid != want || err != nil {
			t.Errorf("runningServer = %d, %v, want %d", pid, err, want)
		}
	}
	running(0) // no file

	cmd, end := hold(t, file, "")
	running(cmd.Process.Pid)
	if err := (&pidFile{path: file}).write(); err == nil || !strings.Contains(err.Error(), "is a server that has this file") {
		t.Errorf("a second server gets the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	running(cmd.Process.Pid) // whatever is written there
	end()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after the end of the server: %v, want no file", err)
	}

	cmd, _ = hold(t, file, "")
	cmd.Process.Kill()
	cmd.Wait()
	running(0) // a crash left the file behind
	pid := &pidFile{path: file}
	if err := pid.write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if want := fmt.Sprintln(os.Getpid()); err != nil || string(text) != want {
		t.Errorf("the file holds %q, %v, want %q", text, err, want)
	}
	pid.yield()
	cmd, end = hold(t, file, "") // which has taken over
	pid.remove()
	running(cmd.Process.Pid)
	end()

	none := &pidFile{}
	if err := none.write(); err != nil {
		t.Error(err)
	}
	none.yield()
	none.remove()
}
