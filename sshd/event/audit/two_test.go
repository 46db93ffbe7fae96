package audit

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestTwoServersWriteOneFile: after an upgrade the server before ends its sessions while
// the new one writes to the same file, begins new files and compresses full ones. No
// event of either is lost, and the mark of a running server stays.
func TestTwoServersWriteOneFile(t *testing.T) {
	s := settings(t)
	s.MaxSize, s.Compress, s.Keep = 1000, true, 0
	old := open(t, s)
	if _, err := old.LastStop(); err != nil {
		t.Fatal(err)
	}
	next := open(t, s)
	old.Yield()
	next.mark = s.File + ".running"
	const n = 400
	for i := range n {
		next.Emit(numbered(i)) // many files
		old.Emit(numbered(n + i))
	}
	closeFile(t, old)
	if _, err := os.Stat(next.mark); err != nil {
		t.Errorf("the mark of the server that runs: %v", err)
	}
	closeFile(t, next)
	events, compressed := 0, 0
	for _, path := range glob(t, s, "*.jsonl*") {
		text := read(t, path)
		if strings.HasSuffix(path, ".gz") {
			z, err := gzip.NewReader(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			text, compressed = string(bytes.TrimSpace(all))+"\n", compressed+1
		}
		if strings.TrimSpace(text) != "" {
			events += len(paths(t, text))
		}
	}
	if events != 2*n || compressed < 10 {
		t.Errorf("%d events in the files, %d of them compressed; want %d events, and most files compressed", events, compressed, 2*n)
	}
}

// TestCompressLeavesWhatIsWritten: a full file is compressed when no process has it
// open for writing any more.
func TestCompressLeavesWhatIsWritten(t *testing.T) {
	s := settings(t)
	f := open(t, s)
	f.Emit(numbered(1))
	if err := compress(s.File); err != nil {
		t.Fatal(err)
	}
	if got := glob(t, s, "*.gz"); len(got) > 0 {
		t.Errorf("%v: compressed while a server writes to it", got)
	}
	closeFile(t, f)
	if err := compress(s.File); err != nil {
		t.Fatal(err)
	}
	if got := glob(t, s, "*.gz"); len(got) != 1 {
		t.Errorf("%v: want the file compressed", got)
	}
}

// TestLockedFolder: whoever may read the folder can lock it. Then the record says why nothing is
// written, and goes on later.
func TestLockedFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := chained(t)
		f := open(t, s)
		dir, err := os.Open(filepath.Dir(s.File))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		f.Emit(numbered(1))
		time.Sleep(time.Minute)
		if err := f.Lost(); err == nil || !strings.Contains(err.Error(), dir.Name()+": another process keeps this folder locked") {
			t.Errorf("while it is locked: %v", err)
		}
		dir.Close()
		time.Sleep(time.Minute)
		if err := f.Lost(); err != nil || !strings.Contains(read(t, s.File), `"/000001"`) {
			t.Errorf("afterwards: %v, %s", err, read(t, s.File))
		}
		closeFile(t, f)
	})
}
