package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// endless is a layer whose directories have n entries.
type endless struct {
	layer
	n int
}

func (e endless) ReadDir(string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		for i := range e.n {
			if !yield(&info{name: "file" + strconv.Itoa(i)}, nil) {
				return
			}
		}
	}
}

// TestReadDirStreams lists a directory of a million entries, through all layers
// and with names hidden, and one of the disk. What is in memory does not grow
// on the way.
func TestReadDirStreams(t *testing.T) {
	const million = 1_000_000
	p := everything(t.TempDir())
	p.Access[0].Names, p.Access[0].Hide = policy.Names{Deny: []string{"*9"}}, true
	jail := mustJail(t, p.Folders[0].Host)
	var q Quotas
	l := layer(newQuota(endless{jail, million}, q.of(p.Folders[0].Host), Amount{1 << 50, 1 << 40}, nil))
	l = newRates(newMounts([]mounted{{path: "/", layer: newUploads(l)}}), p.Limits, new(Pace))
	many := asFS(newGuard(l, p, newMounts(nil)))
	t.Cleanup(func() { _ = many.Close() })
	streams(t, many, million/10*9, 100_000)

	const files = 20_000
	host := t.TempDir()
	for i := range files {
		if err := os.WriteFile(host+"/file"+strconv.Itoa(i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	streams(t, mustOpen(t, full(host), Settings{}), files, 2000)
}

// streams lists the root of f, which has n entries, and looks at the memory
// after every so many.
func streams(t *testing.T, f FS, n, every int) {
	t.Helper()
	const most = 256 << 10 // bytes, less than the names alone
	got := 0
	var before int64
	for _, err := range f.ReadDir("/") {
		if err != nil {
			t.Fatal(err)
		}
		if got++; got == every {
			before = heapAfterGC()
		}
		if got%every != 0 {
			continue
		}
		if more := heapAfterGC() - before; more > most {
			t.Fatalf("%d bytes more in memory after %d entries", more, got)
		}
	}
	if got != n {
		t.Errorf("listed %d entries, want %d", got, n)
	}
}

// TestHalfRead leaves listings where they are after the first entry. What each of
// them keeps is less than sshd/sftp counts on, of the service's folder and of a person's.
func TestHalfRead(t *testing.T) {
	const files, listings, most = 3000, 64, 48 << 10
	host := t.TempDir()
	for i := range files {
		if err := os.WriteFile(host+"/file"+strconv.Itoa(i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	policies := map[string]*policy.Policy{"service": full(host)}
	if os.Geteuid() == 0 {
		for _, dir := range []string{host, filepath.Dir(host)} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		policies["person"] = hersAt(host)
	}
	for whose, p := range policies {
		f := mustOpen(t, p, Settings{})
		before := heapAfterGC()
		for range listings {
			next, stop := iter.Pull2(f.ReadDir("/"))
			defer stop()
			if _, err, _ := next(); err != nil {
				t.Fatal(err)
			}
		}
		if each := (heapAfterGC() - before) / listings; each > most {
			t.Errorf("%s: a listing keeps %d bytes, want %d at most", whose, each, most)
		}
	}
}

func heapAfterGC() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestUnseenEntries: something that cannot be looked at, as a mount whose server is gone,
// does not hide what else is in the directory.
func TestUnseenEntries(t *testing.T) {
	j := mustJail(t, sample(t))
	err := j.use("/", unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) error {
		found, err := infosIn(fd, []string{"d", strings.Repeat("x", 300), "gone", "f"}, nil)
		if len(found) != 2 || found[0].Name() != "d" || found[1].Name() != "f" || !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("found %d, %v, want d and f, and an error", len(found), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
