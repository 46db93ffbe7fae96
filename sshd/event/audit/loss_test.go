package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
)

// kept is a Sink that keeps what is emitted.
type kept []event.Event

func (k *kept) Emit(e event.Event) { *k = append(*k, e) }

// An events file that is removed while in use, with its folder or alone, is begun
// anew, and the record and the log say so. One that is moved away keeps being
// written to until Reopen: that is how logrotate works.
func TestFileRemovedWhileInUse(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"the file":   os.Remove,
		"its folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			s := settings(t)
			f, err := Open(s, hclog.New(&hclog.LoggerOptions{Output: &logged}))
			if err != nil {
				t.Fatal(err)
			}
			var other kept
			f.Report(event.Sinks{f, &other})
			f.Emit(numbered(1))
			waitFor(t, s.File, "/000001")
			size := len(read(t, s.File))
			old := f.out.f
			if err := remove(s.File); err != nil {
				t.Fatal(err)
			}
			f.Emit(numbered(2))
			for i := range 1000 {
				if _, err := os.Stat(s.File); err == nil {
					break
				}
				if i == 999 {
					t.Fatal("no new file was begun")
				}
				time.Sleep(5 * time.Millisecond)
			}
			waitFor(t, s.File, "events_file_lost")
			closeFile(t, f)
			got := lines(t, read(t, s.File))
			if len(got) != 2 || got[0].Path != "/000002" || got[1].Type != "events_file_lost" || got[1].Fields.Size != fmt.Sprint(size) {
				t.Errorf("got %+v, want /000002 and the loss of %d bytes", got, size)
			}
			if _, err := old.Stat(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the removed file is still open: %v", err)
			}
			if len(other) != 1 || other[0].Type != event.FileLost {
				t.Errorf("other sinks got %v, want the loss", other)
			}
			if !strings.Contains(logged.String(), "[ERROR]") || !strings.Contains(logged.String(), "was removed while in use") {
				t.Errorf("log: %s", &logged)
			}
		})
	}
}

// Standard output may be a file that was removed: it is the caller's.
func TestStreamIsNotRestored(t *testing.T) {
	stream, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := os.Remove(stream.Name()); err != nil {
		t.Fatal(err)
	}
	o := &output{f: stream, log: hclog.NewNullLogger()}
	if rest, err := o.write([]byte("{}\n")); rest != nil || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestFolderThatCannotBeMadeAgain(t *testing.T) {
	s := settings(t)
	f := open(t, s)
	dir := filepath.Dir(s.File)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in its place
		t.Fatal(err)
	}
	f.Emit(numbered(1))
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "the file was removed") || !strings.Contains(err.Error(), "bytes lost") {
		t.Errorf("got %v, want the loss", err)
	}
}

// TestReallyFullFileSystem fills a file to the limit of the process, at which a
// write ends in the middle of a line as on a full disk. It does so in another
// process, for all users alike.
func TestReallyFullFileSystem(t *testing.T) {
	const env = "BERTH_TEST_FULL"
	if path := os.Getenv(env); path != "" {
		fillToTheLimit(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	cmd := exec.Command(os.Args[0], "-test.run=^TestReallyFullFileSystem$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "filled to the limit") {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, l := range lines(t, read(t, path)) {
		if want := numbered(i).Path; l.Path != want && l.Type != "server_stopped" {
			t.Fatalf("line %d: got %+v, want %s", i, l, want)
		}
	}
}

func fillToTheLimit(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: 5000, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	s := DefaultSettings()
	s.File, s.Chain = path, false
	f := open(t, s)
	for i := range 100 { // some 9 kB
		f.Emit(numbered(i))
	}
	for i := 0; f.Lost() == nil; i++ {
		if i > 3000 {
			t.Fatal("never full")
		}
		time.Sleep(5 * time.Millisecond)
	}
	text := read(t, path)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if !json.Valid([]byte(line)) {
			t.Errorf("while it is full: torn line %q", line)
		}
	}
	if n < 20 || n > 80 || !strings.HasSuffix(text, "\n") {
		t.Errorf("while it is full: %d lines", n)
	}
	limit.Cur = old.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	f.Emit(event.Event{Type: event.ServerStopped})
	waitFor(t, path, "server_stopped")
	closeFile(t, f)
	if got := len(lines(t, read(t, path))); got != 101 {
		t.Errorf("got %d events, want 101", got)
	}
	t.Log("filled to the limit")
}

// No full file that is younger than KeepFor is removed, however many there are.
func TestKeepFor(t *testing.T) {
	now := time.Now().UTC()
	s := settings(t)
	s.Keep, s.KeepFor = 2, 24*time.Hour
	if err := os.MkdirAll(filepath.Dir(s.File), 0o700); err != nil {
		t.Fatal(err)
	}
	ages := []time.Duration{72, 48, 25, 23, 5, 1, 0} // hours
	for _, age := range ages {
		name := "events-" + now.Add(-age*time.Hour).Format(stampLayout) + ".jsonl.gz"
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.File), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() int {
		closeFile(t, open(t, s))
		return len(glob(t, s, "events-*"))
	}
	if got := kept(); got != 4 {
		t.Errorf("with keep_for 24h: got %d files, want the 4 of the last day", got)
	}
	s.Keep = 0
	if got := kept(); got != 4 {
		t.Errorf("with keep 0: got %d files, want all", got)
	}
	s.Keep, s.KeepFor = 2, 0
	if got := kept(); got != 2 {
		t.Errorf("without keep_for: got %d files, want 2", got)
	}
	s.Keep = 0
	if got := kept(); got != 2 {
		t.Errorf("with keep 0 and without keep_for: got %d files, want all", got)
	}
	if files := glob(t, s, "events-*"); !strings.Contains(files[1], now.Format("150405")) {
		t.Errorf("kept %v, want the youngest", files)
	}
}

// Rotation removes nothing young either: a flood of full files stays.
func TestRotationKeepsWhatIsYoung(t *testing.T) {
	s := settings(t)
	s.MaxSize, s.Keep, s.Compress = 1000, 2, false
	f := open(t, s)
	for i := range 200 {
		f.Emit(numbered(i))
	}
	closeFile(t, f)
	n := 0
	for _, path := range glob(t, s, "*") {
		n += len(paths(t, read(t, path)))
	}
	if n != 200 {
		t.Errorf("got %d events, want 200", n)
	}
}

func TestLastStop(t *testing.T) {
	s := settings(t)
	started := func(want string) *File {
		t.Helper()
		f := open(t, s)
		if got, err := f.LastStop(); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		return f
	}
	closeFile(t, started("clean"))
	killed := started("clean")
	if err := killed.Queue.Close(); err != nil { // what a killed server does not even do
		t.Fatal(err)
	}
	closeFile(t, open(t, s)) // a start that failed on the way, or another program that writes one event
	f := started("crash")
	closeFile(t, f)
	closeFile(t, f)
	closeFile(t, started("clean"))
	s.File = ""
	closeFile(t, started(""))
}
