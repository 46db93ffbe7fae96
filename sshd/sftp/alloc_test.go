//go:build !race

package sftp_test

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/sshd/sftp"
)

// The race detector makes sync.Pool throw things away, so "make test" runs this file
// once more without it.

// mallocs returns how often memory was allocated by a session that says ask so many times.
func mallocs(t *testing.T, files fs.FS, flag int, ask []byte, times int) int {
	t.Helper()
	hello := append(bytes.Clone(hello), packet(fxOpen, 1, "/f", flag, noAttrs)...)
	l := &loop{hello: hello, ask: ask, times: times + 1}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := sftp.Serve(l, files, sftp.Options{Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if l.took < times*20 {
		t.Fatalf("%d bytes of answers to %d requests", l.took, times)
	}
	return int(after.Mallocs - before.Mallocs)
}

// TestDataPathDoesNotAllocate compares a short session with one of many requests more.
func TestDataPathDoesNotAllocate(t *testing.T) {
	files := newHostFS(t)
	if err := os.WriteFile(files.host("/f"), random(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		flag int
		ask  []byte
	}{
		"read 32 KiB":   {rd, packet(fxRead, 1, first, uint64(0), 32<<10)},
		"read 255 KiB":  {rd, packet(fxRead, 1, first, uint64(0), 255<<10)},
		"write 32 KiB":  {wr, packet(fxWrite, 1, first, uint64(0), string(random(32<<10)))},
		"write 255 KiB": {wr, packet(fxWrite, 1, first, uint64(0), string(random(255<<10)))},
		"write 1 byte":  {wr, packet(fxWrite, 1, first, uint64(0), "x")},
	} {
		mallocs(t, files, tt.flag, tt.ask, 10) // fills the pool
		few, many := mallocs(t, files, tt.flag, tt.ask, 100), mallocs(t, files, tt.flag, tt.ask, 1100)
		if many-few > 100 { // of 1,000 requests; the pool may be emptied at any time
			t.Errorf("%s: %d allocations in 100 requests, %d in 1,100, want no more", name, few, many)
		}
	}
}
