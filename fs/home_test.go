package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/directory"
	"berth/policy"
)

const serviceVar = "BERTH_TEST_SERVICE"

// berth is the user of the server in the tests below.
const berth = 990

// asService runs a test in a process of the user berth with the capabilities caps, and
// passes it a folder to work in.
func asService(t *testing.T, caps, at string) {
	t.Helper()
	needRoot(t)
	cmd := serviceCommand(t, caps, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), serviceVar+"="+at)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("as the service: %v\n%s", err, out)
	}
}

// serviceCommand runs the program of this test as the user berth with the capabilities caps.
func serviceCommand(t *testing.T, caps string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	caps = "-all" + strings.ReplaceAll(" "+caps, " ", ",+")
	cmd := exec.Command("setpriv", append([]string{
		"--reuid", fmt.Sprint(berth), "--regid", fmt.Sprint(berth), "--clear-groups",
		"--inh-caps", caps, "--ambient-caps", caps, "--bounding-set", caps, "/proc/self/fd/3",
	}, args...)...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{program}, "/"
	return cmd
}

// TestServiceThatIsNotRoot is a server that has what berth-owner.conf gives. It makes homes
// for people, who alone can use them; it sweeps what broken uploads left there.
func TestServiceThatIsNotRoot(t *testing.T) {
	host := os.Getenv(serviceVar)
	if host == "" {
		host = world(t)
		if err := os.Chown(host, berth, berth); err != nil {
			t.Fatal(err)
		}
		asService(t, "setuid setgid chown", host)
		return
	}
	p := hersAt(host + "/homes/alice")
	p.Folders[0].Create, p.Folders[0].Skeleton = true, []string{"inbox/new", "outbox"}
	p.Uploads = policy.Atomic
	p.Limits.Quota = 1 << 20
	v, err := Open(p, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ids := func(name string) string {
		fi, err := v.Lstat(name)
		if err != nil {
			return err.Error()
		}
		o := fi.Sys().(*Owner)
		return fmt.Sprintf("%v %d:%d", fi.Mode(), o.UID, o.GID)
	}
	hers := fmt.Sprintf(" %d:%d", alice, herGroup)
	for name, want := range map[string]string{"/": "drwx------", "/inbox": "drwxr-x---", "/inbox/new": "drwxr-x---", "/outbox": "drwxr-x---"} {
		if got := ids(name); got != want+hers {
			t.Errorf("%s is %s, want %s", name, got, want+hers)
		}
	}
	if _, err := os.ReadDir(host + "/homes/alice"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("the service reads the home: %v", err)
	}
	if err := writeOne(v, "/outbox/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC); err != nil || ids("/outbox/f") != "-rw-r-----"+hers {
		t.Errorf("an upload: %v, %s", err, ids("/outbox/f"))
	}
	f, err := v.OpenFile("/outbox/broken", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1000), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), 1000); !errors.Is(err, ErrQuota) {
		t.Errorf("a write beyond the quota: %v", err)
	}
	_ = f.Abort()
	left := "/outbox/" + tempPrefix + "left"
	q := &Quotas{}
	sweep := func() int {
		n, err := q.Sweep(context.Background(), host+"/homes/alice", time.Hour)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	l := v.below.(*mounts).folders[0].layer.(*uploads).layer
	g, err := l.OpenFile(left, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil || sweep() != 0 {
		t.Errorf("a fresh file was swept, or %v", err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := l.SetAttr(left, Attr{Set: AttrTimes, Atime: old, Mtime: old}); err != nil || sweep() != 1 {
		t.Errorf("an old file was not swept, or %v", err)
	}
}

// TestCapabilitiesDoNotHelp is a server that may override all permissions. People whose
// files it keeps may not.
func TestCapabilitiesDoNotHelp(t *testing.T) {
	host := os.Getenv(serviceVar)
	if host == "" {
		host = world(t)
		err := errors.Join(os.Chown(host, alice, herGroup), os.WriteFile(host+"/secret", []byte("x"), 0o600), os.Mkdir(host+"/closed", 0o700))
		if err != nil {
			t.Fatal(err)
		}
		asService(t, "setuid setgid chown dac_override dac_read_search fowner fsetid sys_admin", host)
		denied(t, host) // and for root
		return
	}
	denied(t, host)
}

func denied(t *testing.T, host string) {
	t.Helper()
	if _, err := os.ReadFile(host + "/secret"); err != nil {
		t.Errorf("the service cannot read what alice must not: %v", err)
	}
	v := mustOpen(t, hersAt(host), Settings{})
	for range 100 { // threads that have acted for her before
		for what, err := range map[string]error{
			"read":       readOne(v, "/secret"),
			"write":      writeOne(v, "/secret", os.O_WRONLY),
			"create":     writeOne(v, "/closed/new", os.O_WRONLY|os.O_CREATE),
			"list":       listOne(v, "/closed"),
			"chmod":      v.SetAttr("/secret", Attr{Set: AttrMode, Mode: 0o666}),
			"chgrp":      v.SetAttr("/secret", Attr{Set: AttrOwner, UID: sameOwner, GID: shared}),
			"set times":  v.SetAttr("/secret", Attr{Set: AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0)}),
			"give away":  v.SetAttr("/", Attr{Set: AttrOwner, UID: bob, GID: sameOwner}),
			"to a group": v.SetAttr("/", Attr{Set: AttrOwner, UID: sameOwner, GID: 4000}),
		} {
			if !errors.Is(err, iofs.ErrPermission) {
				t.Fatalf("%s: %v, want permission denied", what, err)
			}
		}
	}
	if _, err := os.ReadFile(host + "/secret"); err != nil {
		t.Errorf("afterwards the service cannot read: %v", err)
	}
}

// TestServiceWithoutCapabilities checks that the error has the reason, and that no
// folder belongs to somebody else.
func TestServiceWithoutCapabilities(t *testing.T) {
	host := os.Getenv(serviceVar)
	if host == "" {
		host = world(t)
		if err := os.Chown(host, berth, berth); err != nil {
			t.Fatal(err)
		}
		for _, caps := range []string{"net_bind_service", "setuid", "setgid", "setuid setgid"} {
			asService(t, caps, host)
			if entries, err := os.ReadDir(host); err != nil || len(entries) > 0 {
				t.Errorf("with %s: %v, %v", caps, entries, err)
			}
		}
		return
	}
	p := hersAt(host)
	if _, err := Open(p, Settings{}); err != nil && !strings.Contains(err.Error(), "act as uid 1001, gid 2000: operation not permitted") {
		t.Errorf("Open: %v", err)
	}
	p = hersAt(host + "/alice")
	p.Folders[0].Create = true
	if _, err := Open(p, Settings{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("Open with a home to make: %v", err)
	}
}

// TestHomesOfManyAtOnce makes one home in many sessions at once, and many homes.
func TestHomesOfManyAtOnce(t *testing.T) {
	needRoot(t)
	host := world(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			uid := uint32(5000 + i%5)
			p := full(fmt.Sprintf("%s/%d", host, uid))
			p.Folders[0].Create, p.Folders[0].Skeleton = true, []string{"in", "out/done"}
			p.Folders[0].Owner = &directory.POSIX{UID: uid, GID: uid}
			v, err := Open(p, Settings{})
			if err != nil {
				t.Error(err)
				return
			}
			defer v.Close()
			if err := writeOne(v, fmt.Sprintf("/out/done/%d", i), os.O_WRONLY|os.O_CREATE); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	audit(t, host, 5)
}

// TestDropBoxOnTheDisk uploads to a directory that alice may write to and not read.
func TestDropBoxOnTheDisk(t *testing.T) {
	needRoot(t)
	host := world(t)
	if err := errors.Join(os.Mkdir(host+"/box", 0o755), os.Chmod(host+"/box", 0o733)); err != nil {
		t.Fatal(err)
	}
	p := hersAt(host)
	p.Uploads = policy.Atomic
	v := mustOpen(t, p, Settings{})
	err := writeOne(v, "/box/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if fi, serr := v.Stat("/box/f"); err != nil || serr != nil || fi.Sys().(*Owner).UID != alice {
		t.Errorf("upload: %v; stat: %v, %v", err, fi, serr)
	}
	if err := listOne(v, "/box"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("list: %v", err)
	}
}

// TestPlantedUpload is a file that somebody else, with a shell on the same disk, has put
// where a broken upload of alice would be. It is not hers: she neither sees nor continues
// it.
func TestPlantedUpload(t *testing.T) {
	needRoot(t)
	host := world(t)
	if err := os.Chmod(host, 0o777); err != nil {
		t.Fatal(err)
	}
	p := hersAt(host)
	p.Uploads = policy.Atomic
	v := mustOpen(t, p, Settings{})
	temp := host + partName(personOf(p), "/f")
	for _, uid := range []int{bob, alice} {
		err := errors.Join(os.WriteFile(temp, []byte("planted"), 0o666), os.Chmod(temp, 0o666), os.Lchown(temp, uid, herGroup))
		if err != nil {
			t.Fatal(err)
		}
		fi, err := v.Stat("/f")
		if uid == bob && !errors.Is(err, iofs.ErrNotExist) || uid == alice && (err != nil || fi.Size() != 7) {
			t.Errorf("of %d: %v, %v", uid, fi, err)
		}
	}
	if err := os.Lchown(temp, bob, herGroup); err != nil {
		t.Fatal(err)
	}
	if err := writeOne(v, "/f", os.O_WRONLY|os.O_CREATE); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(host + "/f"); err != nil || string(text) != "x" {
		t.Errorf("the upload holds %q, %v", text, err)
	}
}

// audit wants n directories below host, each with the name of the uid that all in it has.
func audit(t *testing.T, host string, n int) {
	t.Helper()
	homes, err := os.ReadDir(host)
	if err != nil || len(homes) != n {
		t.Errorf("homes %v, %v", homes, err)
	}
	for _, home := range homes {
		err := filepath.WalkDir(filepath.Join(host, home.Name()), func(name string, _ iofs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(name, &st)
			}
			if got := fmt.Sprint(st.Uid); err == nil && got != home.Name() {
				t.Errorf("%s belongs to %s", name, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestHomeInAnOpenPlace: no home is made in a directory where others can replace it.
func TestHomeInAnOpenPlace(t *testing.T) {
	needRoot(t)
	host := world(t)
	for name, err := range map[string]error{
		"bobs":   errors.Join(os.Mkdir(host+"/bobs", 0o755), os.Chown(host+"/bobs", bob, bob)),
		"groups": errors.Join(os.Mkdir(host+"/groups", 0o755), os.Chmod(host+"/groups", 0o775)),
		"sticky": errors.Join(os.Mkdir(host+"/sticky", 0o755), os.Chmod(host+"/sticky", 0o1777|iofs.ModeSticky)),
	} {
		p := hersAt(host + "/" + name + "/alice")
		p.Folders[0].Create = true
		_, open := Open(p, Settings{})
		entries, rerr := os.ReadDir(host + "/" + name)
		if err != nil || rerr != nil || open == nil || !strings.Contains(open.Error(), "only root or the user of the server may be able to write here") || len(entries) > 0 {
			t.Errorf("%s: %v, %v, %v; Open: %v", name, err, rerr, entries, open)
		}
	}
}

// TestHomeBehindALink: bob can write to a directory above a home, and puts a link there
// that leads to where only root can write. Nothing is made behind the link, and nothing
// is given away.
func TestHomeBehindALink(t *testing.T) {
	needRoot(t)
	host := world(t)
	err := errors.Join(
		os.Mkdir(host+"/roots", 0o755), os.Mkdir(host+"/bobs", 0o755), os.Symlink("../roots", host+"/bobs/link"),
		os.Chown(host+"/bobs", bob, bob), os.Symlink("bobs/link", host+"/named"),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/bobs/link/alice", "/bobs/link/deep/alice", "/named/alice"} {
		p := hersAt(host + at)
		p.Folders[0].Create = true
		_, open := Open(p, Settings{})
		entries, err := os.ReadDir(host + "/roots")
		if err != nil || len(entries) > 0 || open == nil || !strings.Contains(open.Error(), "only root or the user of the server may be able to write here") {
			t.Errorf("%s: %v, %v; Open: %v", at, err, entries, open)
		}
	}
}

// TestLinkOnTheWay is a person who turns a directory on the way to her folder into a
// link: she gets nowhere that she could not go by herself.
func TestLinkOnTheWay(t *testing.T) {
	needRoot(t)
	host := world(t)
	err := errors.Join(
		os.MkdirAll(host+"/private/open", 0o755), os.WriteFile(host+"/private/open/f", []byte("x"), 0o644), os.Chmod(host+"/private", 0o700),
		os.Mkdir(host+"/alice", 0o755), os.Symlink("../private/open", host+"/alice/files"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(hersAt(host+"/alice/files"), Settings{}); !errors.Is(err, unix.EACCES) {
		t.Errorf("Open: %v, want permission denied", err)
	}
}
