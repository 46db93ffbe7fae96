package sshd

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
)

// changing is a server whose policy is what set says at the moment.
func changing(t *testing.T, first *policy.Policy) (f *fixture, set func(*policy.Policy)) {
	t.Helper()
	now := first
	f = start(t, func(f *fixture) {
		f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
			p := *now
			p.User = q.User
			return &p, nil
		})
	})
	return f, func(p *policy.Policy) {
		now = p
		f.Reconsider(t.Context())
	}
}

// TestOpenFilesFollowTheRules changes what an open session may do, in every way
// that makes an upload and a download that are under way no longer permitted,
// or leaves them so. No refused upload gets its name.
func TestOpenFilesFollowTheRules(t *testing.T) {
	host, other := t.TempDir(), t.TempDir()
	base := func() *policy.Policy {
		return &policy.Policy{
			Services: []string{"sftp", "passwd"},
			Uploads:  policy.Atomic,
			Folders:  []policy.Folder{{Path: "/", Host: t.TempDir()}, {Path: "/team", Host: host}},
			Access:   []policy.Access{{Path: "/", Ops: policy.Full}, {Path: "/team", Ops: policy.Full}},
		}
	}
	tests := map[string]struct {
		change func(p *policy.Policy, f *fixture)
		goesOn bool
	}{
		"rights are gone":     {func(p *policy.Policy, _ *fixture) { p.Access[1].Ops = policy.List }, false},
		"folder is gone":      {func(p *policy.Policy, _ *fixture) { p.Folders = p.Folders[:1] }, false},
		"folder is elsewhere": {func(p *policy.Policy, _ *fixture) { p.Folders[1].Host = other }, false},
		"folder cannot be opened": {func(p *policy.Policy, _ *fixture) {
			p.Folders = append(p.Folders, policy.Folder{Path: "/x", Host: host + "/none"})
		}, true},
		"password must be changed": {func(_ *policy.Policy, f *fixture) { f.people.set("alice", directory.StatusMustChange) }, false},
		"another folder is new": {func(p *policy.Policy, _ *fixture) {
			p.Folders = append(p.Folders, policy.Folder{Path: "/x", Host: other})
		}, true},
		"limits are others": {func(p *policy.Policy, _ *fixture) { p.Limits.MaxFile = 1 << 30 }, true},
		"nothing":           {func(*policy.Policy, *fixture) {}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for name, text := range map[string]string{"read": "content", "written": "old"} {
				if err := os.WriteFile(filepath.Join(host, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := base()
			f, set := changing(t, p)
			c, err := sftp.NewClient(f.must(t))
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Open("/team/read")
			if err != nil {
				t.Fatal(err)
			}
			w, err := c.OpenFile("/team/written", os.O_WRONLY|os.O_TRUNC)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("ne")); err != nil {
				t.Fatal(err)
			}
			next := *p
			next.Folders = append([]policy.Folder(nil), p.Folders...)
			next.Access = append([]policy.Access(nil), p.Access...)
			tt.change(&next, f)
			set(&next)
			_, rerr := r.Read(make([]byte, 7))
			_, werr := w.Write([]byte("w"))
			cerr := w.Close()
			want := "old"
			if tt.goesOn {
				want = "new"
			}
			for what, err := range map[string]error{"read": rerr, "write": werr, "close": cerr} {
				if (err == nil) != tt.goesOn || err != nil && !errors.Is(err, os.ErrPermission) {
					t.Errorf("%s of an open file = %v, want it allowed: %t", what, err, tt.goesOn)
				}
			}
			if got, err := os.ReadFile(filepath.Join(host, "written")); string(got) != want {
				t.Errorf("the file holds %q, %v, want %q", got, err, want)
			}
		})
	}
}

// TestRemainingOwner: a file that was opened as somebody on the disk is not used any more
// when the person is somebody else there, or in fewer groups.
func TestRemainingOwner(t *testing.T) {
	of := func(owner *directory.POSIX) *policy.Policy {
		return &policy.Policy{Folders: []policy.Folder{{Path: "/", Host: "/h", Owner: owner}}, Access: []policy.Access{{Path: "/", Ops: policy.Full}}}
	}
	was := &directory.POSIX{UID: 1000, GID: 1000, Groups: []uint32{2000, 3000}}
	for name, tt := range map[string]struct {
		was, now *directory.POSIX
		goesOn   bool
	}{
		"the same":              {was, &directory.POSIX{UID: 1000, GID: 1000, Groups: []uint32{2000, 3000}}, true},
		"a new group":           {was, &directory.POSIX{UID: 1000, GID: 1000, Groups: []uint32{2000, 2500, 3000}}, true},
		"another uid":           {was, &directory.POSIX{UID: 1001, GID: 1000, Groups: []uint32{2000, 3000}}, false},
		"another gid":           {was, &directory.POSIX{UID: 1000, GID: 1001, Groups: []uint32{2000, 3000}}, false},
		"a group less":          {was, &directory.POSIX{UID: 1000, GID: 1000, Groups: []uint32{3000}}, false},
		"the service now":       {was, nil, false},
		"the service before":    {nil, was, false},
		"the service as it was": {nil, nil, true},
	} {
		err := remaining(of(tt.was), of(tt.now)).Check(policy.Read, "/f")
		if (err == nil) != tt.goesOn {
			t.Errorf("%s: %v, want it allowed: %t", name, err, tt.goesOn)
		}
	}
}

// TestRemaining checks the rights in open files of folders that the new
// policy does not have.
func TestRemaining(t *testing.T) {
	old := &policy.Policy{Folders: []policy.Folder{{Path: "/", Host: "/h"}, {Path: "/a", Host: "/ha"}, {Path: "/a/b", Host: "/hb"}}}
	now := &policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: "/h"}, {Path: "/a", Host: "/elsewhere"}, {Path: "/a/b", Host: "/hb"}},
		Access: []policy.Access{
			{Path: "/", Ops: policy.Full}, {Path: "/a", Ops: policy.Full}, {Path: "/a/in", Ops: policy.Full}, {Path: "/a/b", Ops: policy.ReadOnly},
		},
	}
	rest := remaining(old, now)
	for name, want := range map[string]policy.Op{"/f": policy.Full, "/a/f": 0, "/a/in/f": 0, "/a/b/f": policy.ReadOnly} {
		if got := rest.Rights(name).Ops; got != want {
			t.Errorf("rights on %s = %q, want %q", name, got, want)
		}
	}
	if remaining(old, old) != old {
		t.Error("a policy with the same folders is not used as it is")
	}
}

// TestViewsAreClosed checks that the views of earlier rules do not pile up in a
// session that stays.
func TestViewsAreClosed(t *testing.T) {
	p := &policy.Policy{Folders: []policy.Folder{{Path: "/", Host: t.TempDir()}}, Access: []policy.Access{{Path: "/", Ops: policy.Full}}}
	f, set := changing(t, &policy.Policy{Services: []string{"help"}})
	run1(t, f.must(t), "help", "")
	set(p)
	o, err := f.connections()[0].observe("sftp")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	held, err := o.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if i == 3 {
			if err := held.Close(); err != nil {
				t.Fatal(err)
			}
		}
		next := *p
		next.Limits.MaxFile = int64(100 + i)
		set(&next)
		if _, err := o.Stat("/"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(o.views); n != 1 {
		t.Errorf("%d views are open, want the current one", n)
	}
}

// TestMissingFolder leaves out one folder that cannot be opened, with an event,
// and serves the others.
func TestMissingFolder(t *testing.T) {
	f := start(t)
	none := filepath.Join(t.TempDir(), "none")
	f.change(func(p *policy.Policy) {
		p.Folders = append(p.Folders, policy.Folder{Path: "/team", Host: none})
		p.Access = append(p.Access, policy.Access{Path: "/team", Ops: policy.Full})
	})
	c, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadDir("/"); err != nil {
		t.Errorf("the home: %v", err)
	}
	if _, err := c.ReadDir("/team"); err == nil {
		t.Error("a folder that is missing can be listed")
	}
	e := f.events.last(event.FolderMissing)
	if e.Path != "/team" || e.HostPath != none || e.Err == nil {
		t.Errorf("event %+v, want one about /team", e)
	}
}

// TestNoFolderOpens has an event about each folder, too, if there is no view.
func TestNoFolderOpens(t *testing.T) {
	f := start(t)
	dir := t.TempDir()
	f.change(func(p *policy.Policy) {
		p.Folders = []policy.Folder{{Path: "/", Host: dir + "/home"}, {Path: "/team", Host: dir + "/team"}}
	})
	if c, err := sftp.NewClient(f.must(t)); err == nil {
		c.Close()
		t.Error("there are files without any folder")
	}
	if e := f.events.last(event.FolderMissing); e.Path != "/team" || e.HostPath != dir+"/team" || e.Err == nil {
		t.Errorf("event %+v, want one about /team", e)
	}
}

// TestOpenFilesAreLimited: files and directories of all sessions of a person count
// together, and closed ones no longer count.
func TestOpenFilesAreLimited(t *testing.T) {
	f := start(t, func(f *fixture) { f.MaxUserFiles = 2 })
	one, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	conn := f.must(t)
	two, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	a, err := one.Create("/a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := two.Create("/b")
	if err != nil {
		t.Fatal(err)
	}
	const full = "Too many open files"
	refused := len(f.events.reasons(event.FileOpenFailed)) + len(f.events.reasons(event.DirectoryListFailed))
	_, err = two.Open("/a")
	_, listErr := two.ReadDir("/")
	got, _, status := run1(t, conn, "scp -f /a", "\x00\x00\x00")
	channels, files := f.InUse()
	if channels["sftp"] != 2 || files["sftp"] != 2 || files["scp"] != 0 {
		t.Errorf("%v channels and %v files are in use, want two and two of sftp", channels, files)
	}
	if err == nil || listErr == nil || status != 1 || !strings.Contains(err.Error(), full) || !strings.Contains(listErr.Error(), full) || got != "\x01scp: /a: "+full+"\n" {
		t.Errorf("with two open files: open = %v, list = %v, scp = %d, %q", err, listErr, status, got)
	}
	if n := len(f.events.reasons(event.FileOpenFailed)) + len(f.events.reasons(event.DirectoryListFailed)); n != refused {
		t.Errorf("%d refusals have an event, want none: a client could fill the log", n-refused)
	}
	if _, err := one.Open("/none"); err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("open of what is missing = %v, want %q", err, full)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // and what fails to open does not count
		if _, err := one.Open("/none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("open of what is missing = %v", err)
		}
	}
	if _, err := one.ReadDir("/"); err != nil {
		t.Errorf("list with one open file = %v", err)
	}
	if got, _, status := run1(t, conn, "scp -f /a", "\x00\x00\x00"); status != 0 {
		t.Errorf("scp with one open file = %d, %q", status, got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no file is in use", func() bool { _, files := f.InUse(); return files["sftp"]+files["scp"] == 0 })
}

// TestAttributes: an event has the attributes that were set, special bits
// included.
func TestAttributes(t *testing.T) {
	for want, a := range map[string]fs.Attr{
		"map[permissions:0750]": {Set: fs.AttrMode, Mode: 0o750},
		"map[permissions:2770]": {Set: fs.AttrMode, Mode: 0o770 | iofs.ModeSetgid},
		"map[permissions:1777]": {Set: fs.AttrMode, Mode: 0o777 | iofs.ModeSticky},
		"map[permissions:3700]": {Set: fs.AttrMode, Mode: 0o700 | iofs.ModeSticky | iofs.ModeSetgid},
		"map[size:7]":           {Set: fs.AttrSize, Size: 7, Mode: 0o700},
		"map[gid:5]":            {Set: fs.AttrOwner, UID: math.MaxUint32, GID: 5},
		"map[gid:0 uid:5]":      {Set: fs.AttrOwner, UID: 5},
		"map[]":                 {Mode: 0o700, Size: 7, UID: 1},
		"map[atime:1970-01-01T00:00:01Z mtime:1970-01-01T00:00:02Z]": {Set: fs.AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(2, 0)},
	} {
		if got := fmt.Sprint(attributes(a)); got != want {
			t.Errorf("%+v is %s, want %s", a, got, want)
		}
	}
}

// TestEventsLost: a server that refuses work while events are lost says so.
func TestEventsLost(t *testing.T) {
	var lost atomic.Pointer[error]
	f := start(t, func(f *fixture) {
		f.Server.Refusing = func() error {
			if err := lost.Load(); err != nil {
				return *err
			}
			return nil
		}
	})
	f.must(t).Close()
	f.hangUp()
	open, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Mkdir("before"); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	lost.Store(&full)
	if err := open.Mkdir("meanwhile"); err == nil {
		t.Error("an open session works on while events are lost")
	}
	if names, err := open.ReadDir("/"); err == nil {
		t.Errorf("a listing shows %d names and no error while events are lost", len(names))
	}
	if c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		c.Close()
		t.Error("a connection is served while events are lost")
	}
	eventually(t, "the refusal has its event", func() bool { return slices.Contains(f.events.reasons(event.ConnectionRefused), "events_lost") })
	lost.Store(nil)
	f.must(t).Close()
}

// TestTruncatedByReader: an open for reading may make a file, or empty it. Its events do
// not hide that.
func TestTruncatedByReader(t *testing.T) {
	f := start(t)
	c, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.OpenFile("emptied", os.O_RDONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range []event.Event{f.events.last(event.FileOpened), f.events.last(event.FileUpdateClosed)} {
		if e.Path != "/emptied" || e.Mode != "reading and writing" {
			t.Errorf("the event about %q has mode %q, want reading and writing", e.Path, e.Mode)
		}
	}
}
