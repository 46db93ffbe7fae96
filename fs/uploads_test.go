package fs

import (
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
)

// newUploads is a layer of alice's own.
func newUploads(l layer) *uploads {
	return &uploads{layer: l, ledger: newLedger(), person: "alice", atomic: true, keep: time.Hour}
}

func atomicPolicy(host, user string) *policy.Policy {
	p := full(host)
	p.User = &directory.User{Name: user}
	p.Uploads = policy.Atomic
	return p
}

const truncating = os.O_WRONLY | os.O_CREATE | os.O_TRUNC

func start(t *testing.T, f FS, name string, flag int, content string, off int64) File {
	t.Helper()
	file, err := f.OpenFile(name, flag, 0o666)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	if _, err := file.WriteAt([]byte(content), off); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return file
}

func hostHolds(t *testing.T, host, want string) {
	t.Helper()
	got, err := os.ReadFile(host)
	if errors.Is(err, iofs.ErrNotExist) {
		got, err = []byte("nothing"), nil
	}
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", filepath.Base(host), got, err, want)
	}
}

// temps counts the temporary files in a host directory.
func temps(t *testing.T, host string) int {
	t.Helper()
	entries, err := os.ReadDir(host)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if isTemp(e.Name()) {
			n++
		}
	}
	return n
}

func TestUploadAppearsWhenClosed(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := os.WriteFile(host+"/old", []byte("old"), 0o604); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/new", "/old"} {
		before := "nothing"
		if name == "/old" {
			before = "old"
		}
		up := start(t, f, name, truncating, "whole", 0)
		hostHolds(t, host+name, before)
		if fi, err := f.Stat(name); err != nil || fi.Size() != 5 || fi.Name() != name[1:] {
			t.Errorf("Stat by its own session = %v, %v, want the 5 bytes so far", fi, err)
		}
		if err := up.Close(); err != nil {
			t.Fatal(err)
		}
		hostHolds(t, host+name, "whole")
	}
	if fi, err := os.Stat(host + "/old"); err != nil || fi.Mode().Perm() != 0o604 {
		t.Errorf("replaced file is %v, %v, want the mode of the old one, 0604", fi.Mode(), err)
	}
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

func TestUploadInPlace(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := os.WriteFile(host+"/f", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := start(t, f, "/f", os.O_WRONLY|os.O_CREATE, " more", 4) // as sftp's reput
	hostHolds(t, host+"/f", "half more")
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	up = start(t, f, "/f", os.O_WRONLY|os.O_APPEND, "!", 0)
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "half more!")
}

// TestUploadWithoutTruncation replaces a file as OpenSSH's scp does: it is
// opened without truncation, and the size is set at the end.
func TestUploadWithoutTruncation(t *testing.T) {
	const opened = os.O_WRONLY | os.O_CREATE
	size := func(n int64) Attr { return Attr{Set: AttrSize, Size: n} }
	for name, tt := range map[string]struct {
		do   func(up File) error
		want string
		late bool // not before it is closed
	}{
		"shorter": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			return errors.Join(err, up.SetAttr(size(3)))
		}, "new", true},
		"empty":      {func(up File) error { return up.SetAttr(size(0)) }, "", true},
		"first part": {func(up File) error { _, err := up.WriteAt([]byte("new"), 0); return err }, "new content", true},
		"two parts": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			_, err2 := up.WriteAt([]byte("NT"), 9)
			return errors.Join(err, err2)
		}, "new conteNT", true},
		"size that is none": {func(up File) error {
			_, err := up.WriteAt([]byte("new"), 0)
			if serr := up.SetAttr(size(-1)); serr == nil {
				err = errors.New("a size of -1 was set")
			}
			return err
		}, "new content", true},
		"last part": {func(up File) error { _, err := up.WriteAt([]byte("!"), 11); return err }, "old content!", false},
		"cut":       {func(up File) error { return up.SetAttr(size(3)) }, "old", false},
		"mode":      {func(up File) error { return up.SetAttr(Attr{Set: AttrMode, Mode: 0o600}) }, "old content", false},
	} {
		host := t.TempDir()
		f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
		for _, end := range []func(File) error{func(up File) error { return up.Abort() }, File.Close} {
			if err := os.WriteFile(host+"/f", []byte("old content"), 0o604); err != nil {
				t.Fatal(err)
			}
			up, err := f.OpenFile("/f", opened, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.do(up); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			fi, err := up.Stat()
			if err != nil || fi.Size() != int64(len(tt.want)) {
				t.Errorf("%s: Stat of the open file = %v, %v, want %d bytes", name, fi, err, len(tt.want))
			}
			if tt.late {
				hostHolds(t, host+"/f", "old content")
			} else {
				hostHolds(t, host+"/f", tt.want)
			}
			if err := end(up); err != nil {
				t.Errorf("%s: end = %v", name, err)
			}
			if parts, _ := filepath.Glob(host + "/" + tempPrefix + "*"); len(parts) == 1 {
				hostHolds(t, host+"/f", "old content") // aborted, and kept to be resumed
				if err := os.Remove(parts[0]); err != nil {
					t.Error(err)
				}
			}
		}
		hostHolds(t, host+"/f", tt.want)
		if fi, err := os.Stat(host + "/f"); err != nil || tt.late && fi.Mode().Perm() != 0o604 {
			t.Errorf("%s: the file is %v, %v, want the mode of the old one, 0604", name, fi.Mode(), err)
		}
		if n := temps(t, host); n != 0 {
			t.Errorf("%s: %d temporary files are left", name, n)
		}
	}
}

// TestUploadEqualsInPlace writes here and there and sets sizes, atomically and in
// place: the content is the same.
func TestUploadEqualsInPlace(t *testing.T) {
	for seed := range uint64(300) {
		var got [2]string
		for i, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
			rnd := rand.New(rand.NewPCG(seed, 3))
			host := t.TempDir()
			if err := os.WriteFile(host+"/f", []byte(strings.Repeat("old", rnd.IntN(10))), 0o644); err != nil {
				t.Fatal(err)
			}
			p := atomicPolicy(host, "alice")
			p.Uploads = uploads
			p.Limits.Quota = 1000
			var q Quotas
			f := mustOpen(t, p, Settings{Quotas: &q})
			up, err := f.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 1 + rnd.IntN(5) {
				off := rnd.Int64N(40) * int64(min(n+rnd.IntN(2), 1)) // the first often at 0
				if rnd.IntN(3) == 0 {
					err = up.SetAttr(Attr{Set: AttrSize, Size: off})
				} else {
					_, err = up.WriteAt([]byte(strings.Repeat(string(rune('a'+n)), rnd.IntN(20))), off)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if err := up.Close(); err != nil {
				t.Error(err)
			}
			data, err := os.ReadFile(host + "/f")
			if err != nil {
				t.Fatal(err)
			}
			got[i] = string(data)
			used(t, &q, host)
		}
		if got[0] != got[1] {
			t.Errorf("seed %d: in place %q, atomically %q", seed, got[0], got[1])
		}
	}
}

func TestUploadThroughLink(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := errors.Join(os.Mkdir(host+"/d", 0o755), os.Symlink("/d/target", host+"/l")); err != nil {
		t.Fatal(err)
	}
	if err := start(t, f, "/l", truncating, "x", 0).Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/d/target", "x")
	if target, err := os.Readlink(host + "/l"); target != "/d/target" {
		t.Errorf("the link is now %q, %v, want it kept", target, err)
	}
}

func TestUploadRenamedAndRemoved(t *testing.T) {
	host := t.TempDir()
	f := mustOpen(t, atomicPolicy(host, "alice"), Settings{})
	if err := f.Mkdir("/d", 0o777); err != nil {
		t.Fatal(err)
	}
	up := start(t, f, "/d/a", truncating, "x", 0)
	if err := f.Rename("/d/a", "/d/b", false); err != nil {
		t.Fatalf("Rename of a running upload = %v", err)
	}
	if err := f.Rename("/d", "/e", false); err != nil {
		t.Fatal(err)
	}
	if err := f.SetAttr("/e/b", Attr{Set: AttrMode, Mode: 0o600}); err != nil {
		t.Errorf("SetAttr of a running upload by name = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/e/b", "x")

	up = start(t, f, "/gone", truncating, "x", 0)
	if err := f.Remove("/gone"); err != nil {
		t.Errorf("Remove of a running upload = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Errorf("Close of a removed upload = %v", err)
	}
	hostHolds(t, host+"/gone", "nothing")

	up = start(t, f, "/x", truncating, "x", 0)
	if err := os.Mkdir(host+"/x", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := up.Close(); !errors.Is(err, ErrIsDir) {
		t.Errorf("Close of an upload over a directory = %v, want ErrIsDir", err)
	}
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// TestUploadAfterFailedWrite checks that an upload with a failed write does not
// get its name, although the client closes it.
func TestUploadAfterFailedWrite(t *testing.T) {
	host := t.TempDir()
	p := atomicPolicy(host, "alice")
	p.Limits.MaxFile = 10
	f := mustOpen(t, p, Settings{})
	up := start(t, f, "/f", truncating, "12345", 0)
	if _, err := up.WriteAt([]byte("1234567890"), 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("WriteAt = %v, want ErrTooLarge", err)
	}
	if err := up.Close(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Close = %v, want ErrTooLarge", err)
	}
	hostHolds(t, host+"/f", "nothing")
	if n := temps(t, host); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// TestNoZerosAfterFailedWrite sets the size after a write that failed, as
// OpenSSH's scp does: a file in place must not get zeros for what is missing.
func TestNoZerosAfterFailedWrite(t *testing.T) {
	host := t.TempDir()
	p := full(host)
	p.Limits.Quota = 100
	up := start(t, mustOpen(t, p, Settings{}), "/f", os.O_WRONLY|os.O_CREATE, "1234567890", 0)
	if _, err := up.WriteAt(make([]byte, 100), 10); !errors.Is(err, ErrQuota) {
		t.Fatalf("WriteAt = %v, want ErrQuota", err)
	}
	if err := up.SetAttr(Attr{Set: AttrSize, Size: 50}); !errors.Is(err, ErrQuota) {
		t.Errorf("a larger size after a failed write = %v, want ErrQuota", err)
	}
	if err := up.SetAttr(Attr{Set: AttrSize, Size: 5}); err != nil {
		t.Errorf("a smaller size after a failed write = %v", err)
	}
	if err := up.Close(); err != nil {
		t.Error(err)
	}
	hostHolds(t, host+"/f", "12345")
}
