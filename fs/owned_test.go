package fs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/directory"
	"berth/policy"
)

// Who is who in the matrix. Alice is in the groups 2000 and 2001.
const (
	alice, bob              = 1001, 1002
	herGroup, shared, other = 2000, 2001, 3000
)

// trials are what alice does with one tree, by the server and as a process of hers. In
// d are the files f and t, the directory sub and the link l; e is hers.
var trials = []struct {
	name    string
	server  func(v FS, at string) error
	process func(at string) error
}{
	{"read", func(v FS, at string) error { return readOne(v, at+"/d/f") }, func(at string) error {
		_, err := os.ReadFile(at + "/d/f")
		return err
	}},
	{"write", func(v FS, at string) error { return writeOne(v, at+"/d/f", os.O_WRONLY) }, processWrite("/d/f", os.O_WRONLY)},
	{"empty", func(v FS, at string) error { return writeOne(v, at+"/d/f", os.O_WRONLY|os.O_TRUNC) }, processWrite("/d/f", os.O_WRONLY|os.O_TRUNC)},
	{"create", func(v FS, at string) error { return writeOne(v, at+"/d/new", os.O_WRONLY|os.O_CREATE) }, processWrite("/d/new", os.O_WRONLY|os.O_CREATE)},
	{"mkdir", func(v FS, at string) error { return v.Mkdir(at+"/d/new", 0o777) }, func(at string) error { return unix.Mkdir(at+"/d/new", 0o777) }},
	{"symlink", func(v FS, at string) error { return v.Symlink("f", at+"/d/new") }, func(at string) error { return unix.Symlink("f", at+"/d/new") }},
	{"remove", func(v FS, at string) error { return v.Remove(at + "/d/f") }, func(at string) error { return unix.Unlink(at + "/d/f") }},
	{"rmdir", func(v FS, at string) error { return v.Rmdir(at + "/d/sub") }, func(at string) error { return unix.Rmdir(at + "/d/sub") }},
	{"rename", func(v FS, at string) error { return v.Rename(at+"/d/f", at+"/d/new", true) }, func(at string) error { return unix.Rename(at+"/d/f", at+"/d/new") }},
	{"replace", func(v FS, at string) error { return v.Rename(at+"/e/g", at+"/d/t", true) }, func(at string) error { return unix.Rename(at+"/e/g", at+"/d/t") }},
	{"take away", func(v FS, at string) error { return v.Rename(at+"/d/sub", at+"/e/sub", true) }, func(at string) error { return unix.Rename(at+"/d/sub", at+"/e/sub") }},
	{"link", func(v FS, at string) error { return v.Link(at+"/d/f", at+"/e/new") }, func(at string) error { return unix.Link(at+"/d/f", at+"/e/new") }},
	{"list", func(v FS, at string) error { return listOne(v, at+"/d") }, func(at string) error {
		entries, err := os.ReadDir(at + "/d")
		for _, e := range entries {
			_, serr := os.Lstat(at + "/d/" + e.Name())
			err = errors.Join(err, serr)
		}
		return err
	}},
	{"stat", func(v FS, at string) error { _, err := v.Stat(at + "/d/f"); return err }, func(at string) error { _, err := os.Stat(at + "/d/f"); return err }},
	{"readlink", func(v FS, at string) error { _, err := v.Readlink(at + "/d/l"); return err }, func(at string) error { _, err := os.Readlink(at + "/d/l"); return err }},
	{"through a link", func(v FS, at string) error { return readOne(v, at+"/d/l") }, func(at string) error { _, err := os.ReadFile(at + "/d/l"); return err }},
	{"chmod", func(v FS, at string) error { return v.SetAttr(at+"/d/f", Attr{Set: AttrMode, Mode: 0o640}) }, func(at string) error { return unix.Chmod(at+"/d/f", 0o640) }},
	{"chmod of a directory", func(v FS, at string) error {
		return v.SetAttr(at+"/d", Attr{Set: AttrMode, Mode: 0o770 | iofs.ModeSetgid})
	}, func(at string) error { return unix.Chmod(at+"/d", 0o2770) }},
	{"chgrp to a group of hers", func(v FS, at string) error {
		return v.SetAttr(at+"/d/f", Attr{Set: AttrOwner, UID: sameOwner, GID: shared})
	}, func(at string) error {
		var st unix.Stat_t
		if err := unix.Stat(at+"/d/f", &st); err != nil || st.Gid == shared { // the present group is no change, whoever asks for it
			return err
		}
		return unix.Chown(at+"/d/f", -1, shared)
	}},
	{"chgrp to another group", func(v FS, at string) error {
		return v.SetAttr(at+"/d/f", Attr{Set: AttrOwner, UID: sameOwner, GID: 4000})
	}, func(at string) error { return unix.Chown(at+"/d/f", -1, 4000) }},
	{"times", func(v FS, at string) error {
		return v.SetAttr(at+"/d/f", Attr{Set: AttrTimes, Atime: time.Unix(1e9, 0), Mtime: time.Unix(1e9, 0)})
	}, func(at string) error {
		return os.Chtimes(at+"/d/f", time.Unix(1e9, 0), time.Unix(1e9, 0))
	}},
	{"truncate", func(v FS, at string) error { return v.SetAttr(at+"/d/f", Attr{Set: AttrSize, Size: 1}) }, func(at string) error { return unix.Truncate(at+"/d/f", 1) }},
}

func readOne(v FS, name string) error {
	f, err := v.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(make([]byte, 1), 0)
	return errors.Join(err, f.Close())
}

func writeOne(v FS, name string, flag int) error {
	f, err := v.OpenFile(name, flag, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("x"), 0)
	return errors.Join(err, f.Close())
}

func processWrite(name string, flag int) func(at string) error {
	return func(at string) error {
		f, err := os.OpenFile(at+name, flag, 0o666)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("x"), 0)
		return errors.Join(err, f.Close())
	}
}

func listOne(v FS, name string) error {
	for _, err := range v.ReadDir(name) {
		if err != nil {
			return err
		}
	}
	return nil
}

// class is what a client learns of an error.
func class(err error) string {
	if err == nil {
		return "done"
	}
	err = translate(err)
	for _, known := range []error{iofs.ErrPermission, iofs.ErrNotExist, iofs.ErrExist, ErrNotDir, ErrIsDir, ErrNotEmpty} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

// A guise is whose a file or directory is, and what the disk permits.
type guise struct {
	uid, gid int
	mode     uint32
	acl      string // a name in acls
}

// acls are values of system.posix_acl_access and, after "default ", _default.
var acls = map[string][]aclEntry{
	"":                    nil,
	"alice may":           {{1, 7, -1}, {2, 7, alice}, {4, 0, -1}, {16, 7, -1}, {32, 0, -1}},
	"alice may not":       {{1, 7, -1}, {2, 0, alice}, {4, 7, -1}, {16, 7, -1}, {32, 7, -1}},
	"shared may read":     {{1, 7, -1}, {4, 0, -1}, {8, 5, shared}, {16, 7, -1}, {32, 0, -1}},
	"masked":              {{1, 7, -1}, {2, 7, alice}, {4, 0, -1}, {16, 1, -1}, {32, 0, -1}},
	"default shared may":  {{1, 7, -1}, {4, 5, -1}, {8, 7, shared}, {16, 7, -1}, {32, 0, -1}},
	"default group reads": {{1, 7, -1}, {4, 5, -1}, {32, 4, -1}},
}

type aclEntry struct{ tag, perm, id int }

func setACL(name, acl string) error {
	entries, kind := acls[acl], "system.posix_acl_access"
	if entries == nil {
		return nil
	}
	if strings.HasPrefix(acl, "default") {
		kind = "system.posix_acl_default"
		if fi, err := os.Stat(name); err != nil || !fi.IsDir() {
			return err
		}
	}
	value := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		value = binary.LittleEndian.AppendUint16(value, uint16(e.tag))
		value = binary.LittleEndian.AppendUint16(value, uint16(e.perm))
		value = binary.LittleEndian.AppendUint32(value, uint32(e.id))
	}
	return unix.Setxattr(name, kind, value, 0)
}

// guises are all combinations.
func guises() (all []guise) {
	for _, who := range [][2]int{{alice, herGroup}, {bob, herGroup}, {bob, shared}, {bob, other}, {0, 0}} {
		for _, mode := range []uint32{0o000, 0o700, 0o070, 0o030, 0o007, 0o755, 0o1777, 0o2770} {
			for acl := range acls {
				if acl == "" || mode == 0o755 || mode == 0o2770 || mode == 0o700 {
					all = append(all, guise{who[0], who[1], mode, acl})
				}
			}
		}
	}
	return all
}

func (g guise) put(name string) error {
	return errors.Join(os.Lchown(name, g.uid, g.gid), unix.Chmod(name, g.mode), setACL(name, g.acl))
}

// A cell of the matrix. Its tree is below a directory with its number.
type cell struct {
	dir, file guise
	trial     int
}

func (c cell) String() string {
	return fmt.Sprintf("%s where d is %+v and f is %+v", trials[c.trial].name, c.dir, c.file)
}

func (c cell) plant(at string) error {
	hers := guise{alice, herGroup, 0o755, ""}
	var err error
	try := func(e error) { err = errors.Join(err, e) }
	for _, d := range []string{"", "/d", "/d/sub", "/e"} {
		try(os.Mkdir(at+d, 0o755))
	}
	for _, f := range []string{"/d/f", "/d/t", "/e/g"} {
		try(os.WriteFile(at+f, []byte("data"), 0o644))
	}
	try(os.Symlink("f", at+"/d/l"))
	try(hers.put(at + "/d/sub"))
	try(hers.put(at + "/e"))
	try(hers.put(at + "/e/g"))
	try(c.file.put(at + "/d/f"))
	try(c.dir.put(at + "/d"))
	return err
}

// matrix is all guises of d, of f, and of both, with all trials.
func matrix() (all []cell) {
	hers := guise{alice, herGroup, 0o755, ""}
	for _, g := range guises() {
		for _, c := range []cell{{dir: g, file: hers}, {dir: hers, file: g}, {dir: g, file: g}} {
			for c.trial = range trials {
				all = append(all, c)
			}
		}
	}
	return all
}

const processVar = "BERTH_TEST_PROCESS"

// TestMatrix does the same with equal trees: by the server for alice, with rings and by
// threads alone, and in a process of alice. The answers must be the same, and the trees
// afterwards, too.
func TestMatrix(t *testing.T) {
	if at := os.Getenv(processVar); at != "" {
		processTrials(t, at)
		return
	}
	needRoot(t)
	cells := matrix()
	plant := func() (at string) {
		at = world(t)
		for i, c := range cells {
			if err := c.plant(fmt.Sprint(at, "/", i)); err != nil {
				t.Fatalf("%s: %v", c, err)
			}
		}
		return at
	}
	hers := plant()
	answers := asAlice(t, hers)
	compare := func(t *testing.T) {
		at := plant()
		v := mustOpen(t, hersAt(at), Settings{})
		done := map[string]int{}
		for i, c := range cells {
			got := class(trials[c.trial].server(v, fmt.Sprint("/", i)))
			if got != answers[i] {
				t.Errorf("%s: the server says %q, the kernel %q", c, got, answers[i])
			}
			if got, want := portrait(t, fmt.Sprint(at, "/", i)), portrait(t, fmt.Sprint(hers, "/", i)); got != want {
				t.Errorf("%s: the server leaves\n%s\nthe process\n%s", c, got, want)
			}
			done[trials[c.trial].name+": "+got]++
		}
		for _, trial := range trials { // a matrix where everything fails proves nothing
			never := trial.name == "chgrp to another group"
			if (done[trial.name+": done"] == 0) != never || done[trial.name+": permission denied"] == 0 {
				t.Errorf("%s: %v", trial.name, done)
			}
		}
		t.Logf("%d cells: %v", len(answers), done)
	}
	t.Run("threads", func(t *testing.T) {
		if OpensByRing() && os.Getenv("BERTH_PEERS") == "" {
			t.Skip("rings are used here; threads alone are compared if BERTH_PEERS names something, as in make test-peers")
		}
		defer withoutRings()()
		compare(t)
	})
	t.Run("rings", func(t *testing.T) {
		needRings(t)
		compare(t)
	})
}

// world is an empty directory that everybody can reach, and only root can write to.
func world(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-owned-") // in memory, with ACLs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hersAt is the policy of alice, with a host directory at "/".
func hersAt(host string) *policy.Policy {
	p := full(host)
	p.Folders[0].Umask = 0o027
	p.Folders[0].Owner = &directory.POSIX{UID: alice, GID: herGroup, Groups: []uint32{shared}}
	return p
}

// asAlice runs the trials in a process of alice.
func asAlice(t *testing.T, at string) (answers []string) {
	t.Helper()
	program, err := os.Open(os.Args[0]) // which she may not reach
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	cmd := exec.Command("setpriv", "--reuid", fmt.Sprint(alice), "--regid", fmt.Sprint(herGroup), "--groups", fmt.Sprint(shared),
		"/proc/self/fd/3", "-test.run=^TestMatrix$")
	cmd.Env = append(os.Environ(), processVar+"="+at)
	cmd.ExtraFiles, cmd.Dir = []*os.File{program}, "/"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &answers); err != nil || len(answers) != len(matrix()) {
		t.Fatalf("%v in %.200s", err, line)
	}
	return answers
}

func processTrials(t *testing.T, at string) {
	if os.Geteuid() != alice {
		t.Fatal("not alice's process")
	}
	unix.Umask(0o027)
	var answers []string
	for i, c := range matrix() {
		answers = append(answers, class(trials[c.trial].process(fmt.Sprint(at, "/", i))))
	}
	text, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(text))
}

// portrait is all that the disk knows of a tree, except times of now.
func portrait(t *testing.T, at string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(at, func(name string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d %d links", strings.TrimPrefix(name, at), st.Mode, st.Uid, st.Gid, st.Nlink)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" %d bytes, old: %t", st.Size, st.Mtim.Sec == 1e9)
		}
		value := make([]byte, 1024)
		for _, kind := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
			if n, err := unix.Lgetxattr(name, kind, value); err == nil {
				line += fmt.Sprintf(" %x", value[:n])
			}
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
