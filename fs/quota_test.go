package fs

import (
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/policy"
)

func quotaPolicy(host string, bytes, files int64) *policy.Policy {
	p := full(host)
	p.Limits = policy.Limits{Quota: bytes, QuotaFiles: files}
	return p
}

// used is what q has counted for host, which must agree with a walk once
// something has changed there.
func used(t *testing.T, q *Quotas, host string) (bytes, files int64) {
	t.Helper()
	u := q.hosts[host]
	if u.Counter.(*memoryCounter).counted.IsZero() {
		return 0, 0
	}
	l, err := openJail(host, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	counted := u.Used()
	if found, err := measure(l); err != nil || found != counted {
		t.Errorf("counted %+v; a walk finds %+v, %v", counted, found, err)
	}
	return counted.Bytes, counted.Files
}

func TestQuotaBytes(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(host+"/before", make([]byte, 60), 0o644); err != nil {
		t.Fatal(err)
	}
	var q Quotas
	f := mustOpen(t, quotaPolicy(host, 100, 0), Settings{Quotas: &q})
	w := start(t, f, "/f", truncating, "1234567890", 0)
	if _, err := w.WriteAt(make([]byte, 31), 10); !errors.Is(err, ErrQuota) {
		t.Errorf("write of 31 more bytes = %v, want ErrQuota", err)
	}
	if _, err := w.WriteAt(make([]byte, 30), 10); err != nil {
		t.Errorf("write of the last 30 bytes = %v", err)
	}
	if _, err := w.WriteAt(make([]byte, 40), 0); err != nil {
		t.Errorf("write over what is there = %v", err)
	}
	if err := w.SetAttr(Attr{Set: AttrSize, Size: 41}); !errors.Is(err, ErrQuota) {
		t.Errorf("extend = %v, want ErrQuota", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	used(t, &q, host)
	if err := f.SetAttr("/f", Attr{Set: AttrSize, Size: 10}); err != nil {
		t.Errorf("truncate = %v", err)
	}
	used(t, &q, host)
	second := mustOpen(t, quotaPolicy(host, 100, 0), Settings{Quotas: &q})
	if err := second.Remove("/before"); err != nil {
		t.Fatal(err)
	}
	if b, n := used(t, &q, host); b != 10 || n != 1 {
		t.Errorf("used %d bytes, %d files, want 10, 1", b, n)
	}
	if err := openClose(f, "/f", truncating); err != nil {
		t.Fatal(err)
	}
	if b, _ := used(t, &q, host); b != 0 {
		t.Errorf("used %d bytes after truncation at open, want 0", b)
	}
	a := start(t, f, "/f", os.O_WRONLY|os.O_APPEND, "abc", 0)
	if _, err := a.WriteAt(make([]byte, 98), 0); !errors.Is(err, ErrQuota) {
		t.Errorf("append of 98 bytes = %v, want ErrQuota", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	used(t, &q, host)
}

func TestQuotaFiles(t *testing.T) {
	host := t.TempDir()
	var q Quotas
	f := mustOpen(t, quotaPolicy(host, 0, 3), Settings{Quotas: &q})
	err := errors.Join(f.Mkdir("/d", 0o777), f.Symlink("x", "/l"), openClose(f, "/f", truncating))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"mkdir": f.Mkdir("/e", 0o777), "symlink": f.Symlink("x", "/m"), "create": openClose(f, "/g", truncating),
		"link": f.Link("/f", "/h"),
	} {
		if !errors.Is(err, ErrQuota) {
			t.Errorf("%s = %v, want ErrQuota", name, err)
		}
	}
	if err := errors.Join(f.Rename("/f", "/l", true), openClose(f, "/f", truncating), f.Rmdir("/d"), f.Remove("/f")); err != nil {
		t.Error(err)
	}
	if _, n := used(t, &q, host); n != 1 {
		t.Errorf("used %d files, want 1", n)
	}
}

// TestQuotaAtomic checks that a full quota fails an upload as a whole.
func TestQuotaAtomic(t *testing.T) {
	host := t.TempDir()
	var q Quotas
	p := quotaPolicy(host, 100, 0)
	p.Uploads = policy.Atomic
	f := mustOpen(t, p, Settings{Quotas: &q})
	w := start(t, f, "/f", truncating, "x", 0)
	if _, err := w.WriteAt(make([]byte, 100), 1); !errors.Is(err, ErrQuota) {
		t.Errorf("WriteAt = %v, want ErrQuota", err)
	}
	if err := w.Close(); !errors.Is(err, ErrQuota) {
		t.Errorf("Close = %v, want ErrQuota", err)
	}
	if b, n := used(t, &q, host); b != 0 || n != 0 {
		t.Errorf("used %d bytes, %d files, want none", b, n)
	}
	for range 3 {
		if err := start(t, f, "/f", truncating, string(make([]byte, 50)), 0).Close(); err != nil {
			t.Errorf("upload of 50 bytes over 50 = %v", err)
		}
	}
	if b, n := used(t, &q, host); b != 50 || n != 1 {
		t.Errorf("used %d bytes, %d files, want 50, 1", b, n)
	}
}

func TestQuotaStatFS(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, quotaPolicy(host, 1<<20, 10), Settings{})
	if err := start(t, f, "/f", truncating, string(make([]byte, 512<<10)), 0).Close(); err != nil {
		t.Fatal(err)
	}
	u, err := f.StatFS("/")
	if err != nil || u.Blocks*u.BlockSize != 1<<20 || u.BlocksAvail*u.BlockSize > 512<<10 || u.Files != 10 || u.FilesFree != 9 {
		t.Errorf("StatFS = %+v, %v, want 1 MiB with half of it free and 9 of 10 files", u, err)
	}
}

// TestFolderQuota has a folder with a quota of its own within another one, and
// a session that sees the inner directory without any: what each writes counts
// for all.
func TestFolderQuota(t *testing.T) {
	host := t.TempDir()
	inner := host + "/team/inner"
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	p := &policy.Policy{
		Folders: []policy.Folder{
			{Path: "/", Host: home},
			{Path: "/team", Host: host + "/team", Quota: 100, QuotaFiles: 4},
			{Path: "/team/inner", Host: inner, Quota: 50},
		},
		Access: []policy.Access{{Path: "/", Ops: policy.Full}},
	}
	var q Quotas
	f := mustOpen(t, p, Settings{Quotas: &q})
	others := mustOpen(t, full(inner), Settings{Quotas: &q})
	write := func(f FS, name string, n int) error {
		w, err := f.OpenFile(name, truncating, 0o666)
		if err != nil {
			return err
		}
		_, err = w.WriteAt(make([]byte, n), 0)
		return errors.Join(err, w.Close())
	}
	steps := []struct {
		f    FS
		name string
		n    int
		want error
	}{
		{f, "/home", 1000, nil},
		{f, "/team/a", 101, ErrQuota},
		{f, "/team/a", 60, nil},
		{f, "/team/inner/b", 41, ErrQuota}, // no room in the outer folder
		{f, "/team/inner/b", 20, nil},
		{others, "/c", 31, nil}, // not bounded
		{f, "/team/inner/d", 0, ErrQuota},
		{f, "/team/a", 50, ErrQuota}, // the others have taken what is left
		{f, "/team/a", 40, nil},
		{f, "/team/inner/b", 19, nil},
		{f, "/team/inner/b", 20, ErrQuota},
	}
	for _, s := range steps {
		if err := write(s.f, s.name, s.n); !errors.Is(err, s.want) {
			t.Errorf("write %d bytes to %s = %v, want %v", s.n, s.name, err, s.want)
		}
		used(t, &q, host+"/team")
		used(t, &q, inner)
	}
	if _, counted := q.hosts[home]; counted {
		t.Error("a folder without a quota is counted")
	}
}

// TestFolderQuotaStatFS checks that a folder shows its own quota, and never more
// than the one around it has left.
func TestFolderQuotaStatFS(t *testing.T) {
	host := t.TempDir()
	if err := os.Mkdir(host+"/inner", 0o755); err != nil {
		t.Fatal(err)
	}
	p := full(host)
	p.Limits.Quota = 4 << 20
	p.Folders = append(p.Folders,
		policy.Folder{Path: "/inner", Host: host + "/inner", Quota: 2 << 20},
		policy.Folder{Path: "/other", Host: t.TempDir()})
	f := mustOpen(t, p, Settings{})
	if err := start(t, f, "/f", truncating, string(make([]byte, 3<<20)), 0).Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]uint64{"/": {4 << 20, 1 << 20}, "/inner": {2 << 20, 1 << 20}} {
		u, err := f.StatFS(name)
		if got := [2]uint64{u.Blocks * u.BlockSize, u.BlocksAvail * u.BlockSize}; err != nil || got != want {
			t.Errorf("StatFS(%s) = %d bytes with %d free, %v, want %d with %d free", name, got[0], got[1], err, want[0], want[1])
		}
	}
	u, err := f.StatFS("/other")
	if err != nil || u.Blocks*u.BlockSize <= 4<<20 {
		t.Errorf("StatFS of a folder without quota = %+v, %v, want the room on the disk", u, err)
	}
}

// TestQuotaConcurrent has several sessions do random operations in one
// directory, and in one below it. In the end the count is that of a new
// measurement.
func TestQuotaConcurrent(t *testing.T) {
	host := t.TempDir()
	if err := os.Mkdir(host+"/inner", 0o755); err != nil {
		t.Fatal(err)
	}
	var q Quotas
	var wg sync.WaitGroup
	for worker := range 8 {
		p := quotaPolicy(host, 200_000, 40)
		if worker > 5 {
			p = quotaPolicy(host+"/inner", 50_000, 0)
			p.Folders = append(p.Folders, policy.Folder{Path: "/outer", Host: host, Quota: 200_000, QuotaFiles: 40})
		}
		if worker%2 == 0 {
			p.Uploads = policy.Atomic
		}
		f := mustOpen(t, p, Settings{Quotas: &q})
		rnd := rand.New(rand.NewPCG(uint64(worker), 1))
		wg.Go(func() {
			for range 300 {
				disturb(f, rnd)
			}
		})
	}
	wg.Wait()
	if b, n := used(t, &q, host); b > 200_000 || n > 40 {
		t.Errorf("used %d bytes, %d files, more than the quota", b, n)
	}
	if b, _ := used(t, &q, host+"/inner"); b > 50_000 {
		t.Errorf("used %d bytes in the inner directory, more than its quota", b)
	}
}

// disturb does one operation at random; it may fail.
func disturb(f FS, rnd *rand.Rand) {
	name := func() string { return []string{"/", "/outer/"}[rnd.IntN(2)] + strconv.Itoa(rnd.IntN(8)) }
	flags := []int{truncating, os.O_WRONLY | os.O_CREATE, os.O_WRONLY, os.O_WRONLY | os.O_APPEND, os.O_RDONLY}
	switch rnd.IntN(9) {
	case 0:
		_ = f.Remove(name())
	case 1:
		_ = f.Rename(name(), name(), rnd.IntN(2) == 0)
	case 2:
		_ = f.Link(name(), name())
	case 3:
		_ = f.SetAttr(name(), Attr{Set: AttrSize, Size: rnd.Int64N(30_000)})
	case 4:
		_ = f.Mkdir(name()+"d", 0o777)
		_ = f.Rmdir(name() + "d")
	default:
		file, err := f.OpenFile(name(), flags[rnd.IntN(len(flags))], 0o666)
		if err != nil {
			return
		}
		for range rnd.IntN(4) {
			_, _ = file.WriteAt(make([]byte, rnd.IntN(20_000)), rnd.Int64N(20_000))
		}
		if rnd.IntN(5) == 0 {
			_ = file.Abort()
			return
		}
		_ = file.Close()
	}
}

// TestQuotaRecount checks that a directory that nobody used for a while is
// counted again.
func TestQuotaRecount(t *testing.T) {
	host := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var q Quotas
		f, err := Open(quotaPolicy(host, 100, 0), Settings{Quotas: &q})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(openClose(f, "/f", truncating), f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(host+"/other", make([]byte, 100), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * Recount)
		f, err = Open(quotaPolicy(host, 100, 0), Settings{Quotas: &q})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := f.OpenFile("/f", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.WriteAt([]byte("x"), 0); !errors.Is(err, ErrQuota) {
			t.Errorf("write = %v, want ErrQuota", err)
		}
	})
}

func TestMaxFile(t *testing.T) {
	p := full(t.TempDir())
	p.Limits.MaxFile = 10
	f := mustOpen(t, p, Settings{})
	w := start(t, f, "/f", truncating, "1234567890", 0)
	if _, err := w.WriteAt([]byte("x"), 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("WriteAt = %v, want ErrTooLarge", err)
	}
	if err := w.SetAttr(Attr{Set: AttrSize, Size: 11}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SetAttr of the file = %v, want ErrTooLarge", err)
	}
	if err := f.SetAttr("/f", Attr{Set: AttrSize, Size: 11}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SetAttr = %v, want ErrTooLarge", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	a := start(t, f, "/g", os.O_WRONLY|os.O_CREATE|os.O_APPEND, "1234567890", 0)
	if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("append = %v, want ErrTooLarge", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestRates(t *testing.T) {
	host := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := full(host)
		p.Limits.UploadRate = 1 << 20
		p.Limits.DownloadRate = 2 << 20
		f, err := Open(p, Settings{})
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 << 20
		begin := time.Now()
		w := start(t, f, "/f", os.O_RDWR|os.O_CREATE, string(make([]byte, size)), 0)
		if took := time.Since(begin); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("upload of 4 MiB at 1 MiB/s took %v", took)
		}
		begin = time.Now()
		if _, err := w.ReadAt(make([]byte, size), 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < time.Second || took > 3*time.Second {
			t.Errorf("download of 4 MiB at 2 MiB/s took %v", took)
		}
		go func() {
			time.Sleep(time.Second)
			_ = f.Close()
		}()
		begin = time.Now()
		_, err = w.WriteAt(make([]byte, size), 0)
		if !errors.Is(err, iofs.ErrClosed) || time.Since(begin) > 2*time.Second {
			t.Errorf("write when the FS is closed meanwhile = %v after %v, want ErrClosed", err, time.Since(begin))
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPaceIsShared checks that a second view does not double the rate of a
// session, that another session has its own, and that another rate counts in
// files that are open already.
func TestPaceIsShared(t *testing.T) {
	host := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var pace Pace
		view := func(rate int64, pace *Pace) File {
			p := full(host)
			p.Limits.UploadRate = rate
			f, err := Open(p, Settings{Pace: pace})
			if err != nil {
				t.Fatal(err)
			}
			w, err := f.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = errors.Join(w.Close(), f.Close()) })
			return w
		}
		took := func(files ...File) time.Duration {
			begin := time.Now()
			var wg sync.WaitGroup
			for _, w := range files {
				wg.Go(func() {
					if _, err := w.WriteAt(make([]byte, 4<<20), 0); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return time.Since(begin).Round(time.Second)
		}
		first, second, other := view(1<<20, &pace), view(1<<20, &pace), view(1<<20, new(Pace))
		if got := took(first, second); got != 8*time.Second {
			t.Errorf("two views of a session wrote 4 MiB each at 1 MiB/s in %v, want 8s", got)
		}
		if got := took(other, first); got != 4*time.Second {
			t.Errorf("two sessions wrote 4 MiB each at 1 MiB/s in %v, want 4s", got)
		}
		view(4<<20, &pace)
		if got := took(first); got != time.Second {
			t.Errorf("4 MiB at 4 MiB/s took %v in a file that was open before, want 1s", got)
		}
		view(0, &pace)
		if got := took(first); got != 0 {
			t.Errorf("4 MiB without a limit took %v", got)
		}
	})
}

// TestQuotaOfNameless checks that a file which lost its name counts for as long
// as anybody has it open, for writing or for reading.
func TestQuotaOfNameless(t *testing.T) {
	lose := map[string]func(FS) error{
		"remove":      func(f FS) error { return f.Remove("/f") },
		"rename over": func(f FS) error { return errors.Join(openClose(f, "/g", truncating), f.Rename("/g", "/f", true)) },
	}
	open := map[string]func(*testing.T, FS) File{
		"writer": func(t *testing.T, f FS) File { return start(t, f, "/f", truncating, string(make([]byte, 60)), 0) },
		"reader": func(t *testing.T, f FS) File {
			err := start(t, f, "/f", truncating, string(make([]byte, 60)), 0).Close()
			file, oerr := f.OpenFile("/f", os.O_RDONLY, 0)
			if err := errors.Join(err, oerr); err != nil {
				t.Fatal(err)
			}
			return file
		},
	}
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		for what, lose := range lose {
			for who, open := range open {
				t.Run(string(uploads)+" "+what+" "+who, func(t *testing.T) {
					host := t.TempDir()
					p := quotaPolicy(host, 100, 0)
					p.Uploads = uploads
					var q Quotas
					f := mustOpen(t, p, Settings{Quotas: &q})
					file := open(t, f)
					if err := lose(f); err != nil {
						t.Fatal(err)
					}
					other := start(t, f, "/other", truncating, "1234567890", 0)
					if _, err := other.WriteAt(make([]byte, 31), 10); !errors.Is(err, ErrQuota) {
						t.Errorf("write of 41 bytes beside 60 nameless ones = %v, want ErrQuota", err)
					}
					if who == "writer" {
						if _, err := file.WriteAt(make([]byte, 31), 60); !errors.Is(err, ErrQuota) {
							t.Errorf("write of 31 more nameless bytes = %v, want ErrQuota", err)
						}
					}
					_ = file.Close() // of an upload with a failed write
					if err := start(t, f, "/another", truncating, string(make([]byte, 90)), 0).Close(); err != nil {
						t.Errorf("write of 90 bytes once the nameless file is closed = %v", err)
					}
					if err := other.Abort(); err != nil {
						t.Fatal(err)
					}
					used(t, &q, host)
				})
			}
		}
	}
}
