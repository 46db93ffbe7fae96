package fs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// crashDir, in the environment of the test binary, makes it the server that is
// killed.
const crashDir = "BERTH_TEST_CRASH_DIR"

// numbered is the content of the file of that number, of some 200 KiB.
func numbered(n int) []byte { return bytes.Repeat([]byte(strconv.Itoa(n)+" "), 40<<10) }

// TestCrash kills a process in the middle of atomic uploads, 50 times.
// Every file that the process had reported as closed is complete, and no file
// is incomplete.
func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		uploadUntilKilled(t, dir)
		return
	}
	host := t.TempDir()
	acknowledged := map[string]int{}
	for round := range 50 {
		server := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		server.Env = append(os.Environ(), crashDir+"="+host)
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			name, number, found := strings.Cut(lines.Text(), " ")
			i, err := strconv.Atoi(number)
			if !found || err != nil {
				t.Errorf("server says %q", lines.Text())
				continue
			}
			acknowledged[name] = i
			if n == 5+round%10 { // the process still works for a moment until it is dead
				if err := server.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = server.Wait()
		wholeFiles(t, host, acknowledged)
	}
	if len(acknowledged) == 0 {
		t.Error("the server acknowledged nothing")
	}
}

// uploadUntilKilled writes a few files over and over and says what it closed.
func uploadUntilKilled(t *testing.T, host string) {
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	for i := range 10_000 {
		name := "/f" + strconv.Itoa(i%4)
		w, err := f.OpenFile(name, truncating, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		data := numbered(i)
		for off := 0; off < len(data); off += 32 << 10 {
			if _, err := w.WriteAt(data[off:min(off+32<<10, len(data))], int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s %d\n", name, i)
	}
}

// wholeFiles checks that each file is one whole upload, and where one was
// acknowledged, that one or the next to that name.
func wholeFiles(t *testing.T, host string, acknowledged map[string]int) {
	t.Helper()
	for i := range 4 {
		name := "/f" + strconv.Itoa(i)
		data, err := os.ReadFile(host + name)
		last, acked := acknowledged[name]
		if errors.Is(err, iofs.ErrNotExist) && !acked {
			continue
		}
		first, _, _ := bytes.Cut(data, []byte(" "))
		number, nerr := strconv.Atoi(string(first))
		if err := errors.Join(err, nerr); err != nil || !bytes.Equal(data, numbered(number)) {
			t.Errorf("%s holds %d bytes that are no whole upload: %v", name, len(data), err)
			continue
		}
		if acked && number != last && number != last+4 {
			t.Errorf("%s holds upload %d, want the acknowledged %d or the one after it", name, number, last)
		}
		acknowledged[name] = number
	}
}
