package audit

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/sshd/event"
)

// usual is an event as long as most.
var usual = event.Event{
	Time: time.Unix(1_767_225_600, 0), Type: event.FileWriteClosed, Session: "5f1c", User: "alice", UserID: "0b6e-77",
	Remote: netip.MustParseAddrPort("[2001:db8::1]:50022"), Client: "SSH-2.0-OpenSSH_9.2p1", Method: "publickey", Service: "sftp",
	Path: "/in/a.txt", HostPath: "/srv/a.txt", Mode: "writing", Size: 9, BytesWritten: 1 << 40, Duration: 1500 * time.Microsecond,
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settings are defaults for a file in a folder of its own, which holds only what a
// test emits: chain_test.go has the checkpoints.
func settings(t *testing.T) Settings {
	t.Helper()
	s := DefaultSettings()
	s.File, s.Chain = filepath.Join(t.TempDir(), "log", "events.jsonl"), false
	if errs := s.Check(); len(errs) > 0 {
		t.Fatal(errs)
	}
	return s
}

func open(t *testing.T, s Settings) *File {
	t.Helper()
	f, err := Open(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeFile(t *testing.T, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// paths returns the Path of the event in each line; every line must be one.
func paths(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		var e struct{ Path, Type string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Path == "" {
			e.Path = e.Type
		}
		out = append(out, e.Path)
	}
	return out
}

func numbered(n int) event.Event {
	return event.Event{Type: event.Removed, Path: fmt.Sprintf("/%06d", n)}
}

func TestFileWritesEveryEventInOrder(t *testing.T) {
	s := settings(t)
	s.Node = "berth1"
	f := open(t, s)
	const n = 5000
	for i := range n {
		f.Emit(numbered(i))
	}
	f.Emit(event.Event{Type: event.ProbeSeen})
	closeFile(t, f)

	got := paths(t, read(t, s.File))
	if len(got) != n {
		t.Fatalf("got %d lines, want %d", len(got), n)
	}
	for i, p := range got {
		if want := numbered(i).Path; p != want {
			t.Fatalf("line %d: got %s, want %s", i, p, want)
		}
	}
	info, err := os.Stat(s.File)
	if err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode: got %v, %v, want 0640 or less", info.Mode(), err)
	}
	if first, _, _ := strings.Cut(read(t, s.File), "\n"); !strings.HasPrefix(first, `{"time":"2`) || !strings.HasSuffix(first, `"node":"berth1"}`) {
		t.Errorf("got %s, want a time and the node", first)
	}
}

func TestFileKeepsWhatIsThere(t *testing.T) {
	s := settings(t)
	for i := range 2 {
		f := open(t, s)
		f.Emit(numbered(i))
		closeFile(t, f)
	}
	torn, err := os.OpenFile(s.File, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	torn.WriteString(`{"time":"20`)
	torn.Close()
	f := open(t, s)
	f.Emit(numbered(2))
	closeFile(t, f)

	lines := strings.Split(strings.TrimSpace(read(t, s.File)), "\n")
	if len(lines) != 4 || lines[2] != `{"time":"20` || paths(t, lines[3])[0] != "/000002" {
		t.Errorf("got %q", lines)
	}
}

func TestManyEmitters(t *testing.T) {
	s := settings(t)
	s.MaxSize, s.Compress, s.Keep = 20_000, false, 0
	f := open(t, s)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				f.Emit(numbered(g*1000 + i))
				if i%50 == 0 {
					if err := f.Reopen(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	closeFile(t, f)
	seen := map[string]bool{}
	for _, path := range glob(t, s, "*") {
		for _, p := range paths(t, read(t, path)) {
			seen[p] = true
		}
	}
	if len(seen) != 1600 {
		t.Errorf("got %d events, want 1600", len(seen))
	}
}

func TestCloseTwiceAndEmitAfterwards(t *testing.T) {
	s := settings(t)
	f := open(t, s)
	f.Emit(numbered(1))
	closeFile(t, f)
	closeFile(t, f)
	f.Emit(numbered(2))
	if got := f.Health().Dropped; got != 1 {
		t.Errorf("dropped: got %d, want 1", got)
	}
	if err := f.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reopen: got %v, want %v", err, os.ErrClosed)
	}
	if got := len(paths(t, read(t, s.File))); got != 1 {
		t.Errorf("got %d lines, want 1", got)
	}
}

func TestReopen(t *testing.T) {
	s := settings(t)
	f := open(t, s)
	f.Emit(numbered(1))
	waitFor(t, s.File, "/000001")
	if err := os.Rename(s.File, s.File+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	f.Emit(numbered(2))
	closeFile(t, f)
	if got := paths(t, read(t, s.File)); len(got) != 1 || got[0] != "/000002" {
		t.Errorf("new file: got %v", got)
	}
	if got := paths(t, read(t, s.File+".1")); len(got) != 1 || got[0] != "/000001" {
		t.Errorf("old file: got %v", got)
	}
}

// waitFor waits until path holds text.
func waitFor(t *testing.T, path, text string) {
	t.Helper()
	eventually(t, text+" in "+path, func() bool { return strings.Contains(read(t, path), text) })
}

func TestReopenFailureKeepsTheOldFile(t *testing.T) {
	s := settings(t)
	f := open(t, s)
	moved := filepath.Dir(s.File) + ".moved"
	if err := os.Rename(filepath.Dir(s.File), moved); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
	f.Emit(numbered(1))
	closeFile(t, f)
	if got := paths(t, read(t, filepath.Join(moved, "events.jsonl"))); len(got) != 1 {
		t.Errorf("got %v, want one event", got)
	}
}

func glob(t *testing.T, s Settings, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(s.File), pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRotation(t *testing.T) {
	s := settings(t)
	s.MaxSize, s.Compress = 1000, false
	f := open(t, s)
	const n = 200
	for i := range n {
		f.Emit(numbered(i))
	}
	closeFile(t, f)

	var all []string
	files := append(glob(t, s, "events-*.jsonl"), s.File)
	for _, path := range files {
		text := read(t, path)
		if len(text) > 1000 {
			t.Errorf("%s: %d bytes, want 1000 at most", path, len(text))
		}
		all = append(all, paths(t, text)...)
	}
	if len(files) < n*80/1000 {
		t.Errorf("got only %d files", len(files))
	}
	// Keep is 30, the default, which is more than this makes.
	if len(all) != n || all[0] != "/000000" || all[n-1] != "/000199" {
		t.Errorf("got %d events from %s to %s", len(all), all[0], all[len(all)-1])
	}
}

func TestArchive(t *testing.T) {
	s := settings(t)
	s.MaxSize, s.Keep, s.KeepFor = 1000, 3, 0
	f := open(t, s)
	for i := range 100 {
		f.Emit(numbered(i))
	}
	closeFile(t, f)
	// The last file may have been taken while the archive was at work.
	closeFile(t, open(t, s))

	files := glob(t, s, "events-*")
	if len(files) != 3 {
		t.Fatalf("got %v, want 3 files", files)
	}
	for _, path := range files {
		if !strings.HasSuffix(path, ".jsonl.gz") {
			t.Errorf("%s is not compressed", path)
			continue
		}
		packed, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		packed.Close()
		if got := paths(t, string(text)); len(got) < 10 {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestArchiveLeavesOtherFilesAlone(t *testing.T) {
	s := settings(t)
	s.Keep = 1
	dir := filepath.Dir(s.File)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	others := []string{"events-old.jsonl", "events-2026.jsonl", "other-20260131T235959.999Z.jsonl", "events.jsonl.1"}
	for _, name := range append(others, "events-20260131T235959.999Z.jsonl", "events-20260131T235958.999Z.jsonl.gz") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeFile(t, open(t, s))
	var got []string
	for _, path := range glob(t, s, "*") {
		got = append(got, filepath.Base(path))
	}
	want := "events-2026.jsonl events-20260131T235959.999Z.jsonl.gz events-old.jsonl events.jsonl events.jsonl.1 other-20260131T235959.999Z.jsonl"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

// disk is a file that can be full or stuck.
type disk struct {
	mu    sync.Mutex
	text  bytes.Buffer
	room  int           // bytes
	stuck chan struct{} // not nil: writes wait for it

	appendOnly bool // nothing can be removed
}

func (d *disk) Write(b []byte) (int, error) {
	d.mu.Lock()
	stuck := d.stuck
	d.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(b), d.room)
	d.text.Write(b[:n])
	d.room -= n
	if n < len(b) {
		return n, unix.ENOSPC
	}
	return n, nil
}

// Stat and Truncate know only the size.
func (d *disk) Stat() (os.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fileSize{size: int64(d.text.Len())}, nil
}

func (d *disk) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.appendOnly {
		return unix.EPERM
	}
	d.text.Truncate(int(size))
	return nil
}

type fileSize struct {
	os.FileInfo
	size int64
}

func (f fileSize) Size() int64 { return f.size }
func (f fileSize) Sys() any    { return nil }

func (d *disk) Sync() error  { return nil }
func (d *disk) Close() error { return nil }

func (d *disk) set(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

// lines returns what is on the disk; pieces that a full disk left behind are
// counted apart.
func (d *disk) lines() (whole string, torn int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(d.text.String()) {
		if json.Valid([]byte(line)) {
			whole += line
		} else {
			torn++
		}
	}
	return whole, torn
}

func onDisk(d *disk, queue int64, log hclog.Logger) *File {
	s := Settings{File: "disk", Queue: queue}
	return start(s, &output{path: "disk", f: d, log: log}, log)
}

// A full disk leaves nothing of a line that did not fit. Where nothing can be
// removed, or not safely, the line is ended.
func TestFullDisk(t *testing.T) {
	t.Run("ordinary", func(t *testing.T) { testFullDisk(t, 0, &output{path: "disk", f: &disk{}}) })
	t.Run("append only", func(t *testing.T) { testFullDisk(t, 1, &output{path: "disk", f: &disk{appendOnly: true}}) })
	t.Run("a stream", func(t *testing.T) { testFullDisk(t, 1, &output{f: &disk{}}) })
	t.Run("another writer", func(t *testing.T) { testFullDisk(t, 1, &output{path: "disk", f: &disk{}, size: 7}) })
}

func testFullDisk(t *testing.T, wantTorn int, out *output) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		d := out.f.(*disk)
		d.set(550)
		out.log = hclog.New(&hclog.LoggerOptions{Output: &logged})
		f := start(Settings{File: "disk", Queue: 2000}, out, out.log)
		for i := range 100 {
			f.Emit(numbered(i))
			synctest.Wait()
		}
		dropped := f.Health().Dropped
		if dropped == 0 || dropped > 90 {
			t.Fatalf("dropped: got %d, want some", dropped)
		}
		time.Sleep(2 * gatherFor) // and not until the next try
		if _, torn := d.lines(); torn != wantTorn {
			t.Errorf("while the disk is full: %d torn lines, want %d", torn, wantTorn)
		}
		time.Sleep(10 * time.Second)
		d.set(1 << 20)
		time.Sleep(2 * time.Second)
		f.Emit(numbered(100))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}

		whole, torn := d.lines()
		got := paths(t, whole)
		kept := 100 - int(dropped)
		if len(got) != kept+2 || torn != wantTorn {
			t.Fatalf("got %d lines and %d torn, want %d", len(got), torn, kept+2)
		}
		for i := range kept {
			if want := numbered(i).Path; got[i] != want {
				t.Errorf("line %d: got %s, want %s", i, got[i], want)
			}
		}
		if got[kept] != "events_dropped" || got[kept+1] != "/000100" {
			t.Errorf("at the end: got %v, want the count of lost events, then the next one", got[kept:])
		}
		if want := fmt.Sprintf(`"fields":{"count":"%d"}`, dropped); !strings.Contains(whole, want) {
			t.Errorf("got %s, want %s in it", whole, want)
		}
		if n := strings.Count(logged.String(), "no space left on device"); n != 1 {
			t.Errorf("told the log %d times, want once:\n%s", n, &logged)
		}
		if !strings.Contains(logged.String(), "events are written again") {
			t.Errorf("log: got %s", &logged)
		}
	})
}

func TestCloseOnFullDiskSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 100}
		f := onDisk(d, 1<<20, hclog.NewNullLogger())
		for i := range 10 {
			f.Emit(numbered(i))
		}
		if err := f.Close(); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "bytes lost") {
			t.Errorf("got %v, want the bytes lost and why", err)
		}
	})
}

func TestEmitDoesNotWaitForAStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 1 << 20, stuck: make(chan struct{})}
		f := onDisk(d, 2000, hclog.NewNullLogger())
		before := time.Now()
		for i := range 1000 {
			f.Emit(numbered(i))
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		if err := f.Close(); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("close: got %v", err)
		}
		close(d.stuck)
		synctest.Wait()
		whole, _ := d.lines()
		if got := strings.Count(whole, `"removed"`) + int(f.Health().Dropped); got != 1000 {
			t.Errorf("written and dropped: got %d, want 1000", got)
		}
	})
}

func TestNoFile(t *testing.T) {
	f := open(t, DefaultSettings())
	f.Emit(numbered(1))
	if err := f.Reopen(); err != nil {
		t.Error(err)
	}
	closeFile(t, f)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                               "is a directory",
		fifo:                              "is a pipe or a socket",
		filepath.Join(blocked, "e.jsonl"): "not a directory",
	} {
		s := DefaultSettings()
		s.File = path
		if _, err := Open(s, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestSettingsCheck(t *testing.T) {
	bad := Settings{File: "/var/log/", MaxSize: -1, Keep: -1, KeepFor: -1, Queue: 10, Rate: 10, WhenLost: "weep"}
	errs := errors.Join(bad.Check()...)
	for _, key := range []string{"file: /var/log/", "max_size: -1", "keep: -1", "keep_for: -1ns", "queue: 10", "rate: 10", `when_lost: "weep": must be continue or refuse`} {
		if errs == nil || !strings.Contains(errs.Error(), key) {
			t.Errorf("got %v, want %q in it", errs, key)
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	s := DefaultSettings()
	s.File = filepath.Join(b.TempDir(), "events.jsonl")
	f, err := Open(s, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Emit(usual)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(f.Health().Dropped)/float64(b.N), "dropped/op")
}
