package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"berth/policy"
)

// TestInodeIsUsedAgain checks that a session does not take a file of another
// session for its own. The file has the inode number of a removed file, which
// ext4 gives to the very next file.
func TestInodeIsUsedAgain(t *testing.T) {
	for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
		host := t.TempDir()
		p := dropBox(host)
		p.Uploads = uploads
		first, second := mustOpen(t, p, Settings{}), mustOpen(t, p, Settings{})
		for range 20 {
			err := start(t, first, "/f", truncating, "first", 0).Close()
			if err := errors.Join(err, os.Remove(host+"/f")); err != nil {
				t.Fatal(err)
			}
			if err := start(t, second, "/f", truncating, "second", 0).Close(); err != nil {
				t.Fatal(err)
			}
			if fi, err := first.Stat("/f"); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("Stat of a file of another session = %v, %v, want ErrNotExist", fi, err)
			}
			for what, err := range map[string]error{
				"open":    openClose(first, "/f", truncating),
				"rename":  first.Rename("/f", "/g", false),
				"setattr": first.SetAttr("/f", Attr{Set: AttrSize}),
			} {
				if !errors.Is(err, iofs.ErrPermission) && !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("%s of a file of another session = %v, want it refused", what, err)
				}
			}
			hostHolds(t, host+"/f", "second")
			if err := os.Remove(host + "/f"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOwnHasFewLongNames checks that long names are forgotten sooner.
func TestOwnHasFewLongNames(t *testing.T) {
	var o own
	long := "/" + strings.Repeat("x", maxName-8)
	for i := range 2 * maxOwnBytes / len(long) {
		o.add(fmt.Sprint(long, i), fileID{ino: uint64(i)})
	}
	total := 0
	for _, name := range o.order {
		total += len(name)
	}
	if total > maxOwnBytes || total < maxOwnBytes-maxName || len(o.files) != len(o.order) || o.bytes != total {
		t.Errorf("own holds %d names of %d bytes, %d in order, want at most %d bytes", len(o.files), total, len(o.order), maxOwnBytes)
	}
}

// TestOwnWasReplaced: another file has the name of the session's own file when that
// is opened. The other file is not changed, and not kept open.
func TestOwnWasReplaced(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(host+"/f", []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Open(dropBox(host), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before := descriptors(t)
	if _, err := v.guard.openOwn(v.guard.rules.Load(), "/f", truncating); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("openOwn = %v, want ErrPermission", err)
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
	hostHolds(t, host+"/f", "another's")
}

// TestOwnDirectoriesAreNoPlaces: a session that may rename only what it made can neither
// move a directory that leads to a place, nor put one there.
func TestOwnDirectoriesAreNoPlaces(t *testing.T) {
	host := t.TempDir()
	p := full(host)
	p.Access[0].Ops = policy.ReadOnly | policy.Create | policy.Mkdir
	p.Access = append(p.Access, policy.Access{Path: "/out/closed", Ops: policy.List}, policy.Access{Path: "/in/closed", Ops: policy.List})
	f := mustOpen(t, p, Settings{})
	err := errors.Join(
		f.Mkdir("/out", 0o777), os.Mkdir(host+"/out/closed", 0o755),
		f.Mkdir("/new", 0o777), f.Mkdir("/new/closed", 0o777))
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"away": f.Rename("/out", "/elsewhere", false), "there": f.Rename("/new", "/in", true), "the place": f.Rename("/new", "/out", false),
	} {
		if err == nil {
			t.Errorf("rename of an own directory: %s, want an error", what)
		}
	}
	if err := f.Rename("/new", "/other", false); err != nil {
		t.Errorf("rename of an own directory = %v", err)
	}
}

func TestOwnIsBounded(t *testing.T) {
	var o own
	for i := range 3 * maxOwn {
		o.add("/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+time.Duration(i).String(), fileID{ino: uint64(i)})
	}
	if len(o.files) > maxOwn || len(o.order) > maxOwn {
		t.Errorf("own holds %d names, %d in order, want at most %d", len(o.files), len(o.order), maxOwn)
	}
}
