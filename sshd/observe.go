package sshd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	iofs "io/fs"
	"iter"
	"math"
	"os"
	"path"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
)

// observed is an FS that emits an event for every operation that changes
// something or moves data, and notes that the client is active. Every operation
// uses the view of the grant that the connection has at that moment.
type observed struct {
	conn      *conn
	service   string
	openFiles atomic.Int32
	held      atomic.Int32                // open files and folders
	seen      atomic.Pointer[login.Grant] // whose rights count in open files

	mu    sync.Mutex
	grant *login.Grant // whose view is the current one
	views []view       // the last is current; files of earlier ones may still be open
}

// view is the files of a policy.
type view struct {
	*fs.View
	policy *policy.Policy // that it was opened for
}

// observe opens the view of the connection's grant.
func (c *conn) observe(service string) (*observed, error) {
	o := &observed{conn: c, service: service}
	if _, err := o.files(); err != nil {
		return nil, err
	}
	return o, nil
}

// files returns the current view. If the rules have changed and the new view cannot be
// opened, the operation fails, and the session continues.
func (o *observed) files() (view, error) {
	o.conn.touch()
	g := o.conn.grant.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grant != g {
		if err := o.follow(g); err != nil {
			return view{}, err
		}
	}
	return o.views[len(o.views)-1], nil
}

// follow makes the view that of g. Open files lose immediately what g no longer permits.
func (o *observed) follow(g *login.Grant) error {
	p := g.Policy
	if g.Restriction != nil {
		p = &policy.Policy{}
	}
	for _, v := range o.views {
		v.SetPolicy(remaining(v.policy, p))
	}
	o.seen.Store(g)
	if g.Restriction != nil {
		return iofs.ErrPermission
	}
	if n := len(o.views); n > 0 && samePlaces(o.views[n-1].policy, p) {
		o.grant = g
		return nil
	}
	files, err := o.conn.srv.Open(p, &o.conn.pace)
	broken, _ := errors.AsType[fs.BrokenFolders](err)
	if err == nil {
		broken = files.Broken
	}
	for _, b := range broken {
		o.conn.emit(event.Event{Type: event.FolderMissing, Service: o.service, Path: b.Path, HostPath: b.Host, Err: b.Err})
	}
	if err != nil {
		o.conn.srv.Log.Error("open the folders of a user", "session", o.conn.peer.Session, "user", g.User.Name, "error", err)
		return err
	}
	if o.openFiles.Load() == 0 {
		o.closeViews()
	}
	o.grant, o.views = g, append(o.views, view{files, p})
	return nil
}

// samePlaces reports whether a and b differ in rights at most.
func samePlaces(a, b *policy.Policy) bool {
	return reflect.DeepEqual(a.Folders, b.Folders) && a.Limits == b.Limits && a.Uploads == b.Uploads
}

// remaining returns what now permits in the files of a view of old: nothing in folders
// that no longer exist, have another host folder, or are used as somebody who may do more
// on the disk than the person may now.
func remaining(old, now *policy.Policy) *policy.Policy {
	lost := map[string]bool{}
	for _, f := range old.Folders {
		same := func(other policy.Folder) bool {
			return other.Path == f.Path && other.Host == f.Host && within(f.Owner, other.Owner)
		}
		if !slices.ContainsFunc(now.Folders, same) {
			lost[f.Path] = true
		}
	}
	if len(lost) == 0 {
		return now
	}
	rest := &policy.Policy{User: now.User, Folders: old.Folders, IgnoreSetAttr: now.IgnoreSetAttr}
	for name := range lost {
		rest.Access = append(rest.Access, policy.Access{Path: name})
	}
	for _, a := range now.Access {
		if !lost[folderOf(old, a.Path)] {
			rest.Access = append(rest.Access, a)
		}
	}
	return rest
}

// within reports whether an owner of files is now the same one, in all groups as before.
func within(was, now *directory.POSIX) bool {
	if was == nil || now == nil {
		return was == now
	}
	left := func(group uint32) bool { return !slices.Contains(now.Groups, group) }
	return was.UID == now.UID && was.GID == now.GID && !slices.ContainsFunc(was.Groups, left)
}

// folderOf is the path of the folder of p that name lies in.
func folderOf(p *policy.Policy, name string) string {
	for ; name != "/"; name = path.Dir(name) {
		if slices.ContainsFunc(p.Folders, func(f policy.Folder) bool { return f.Path == name }) {
			return name
		}
	}
	return name
}

// Close closes all views.
func (o *observed) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closeViews()
}

func (o *observed) closeViews() error {
	var errs []error
	for _, v := range o.views {
		errs = append(errs, v.Close())
	}
	o.views = nil
	return errors.Join(errs...)
}

// do runs act on the view and reports it: done, or failed with its error.
func (o *observed) do(done, failed event.Type, e *event.Event, act func(fs.FS) error) error {
	view, err := o.files()
	if err == nil {
		if err = o.conn.srv.refusing(); err != nil {
			err = fmt.Errorf("events cannot be written, so operations on files are refused: %w", err)
		}
	}
	if err == nil {
		if done != event.FileOpened { // an open file knows its path
			e.HostPath = view.HostPath(e.Path, done == event.DirectoryListed || done == event.AttributesSet)
		}
		if done != event.Symlinked { // whose target is a text
			e.HostTarget = view.HostPath(e.Target, false)
		}
		if err = act(view.View); err != nil && done == event.FileOpened {
			e.HostPath = view.HostPath(e.Path, true)
		}
	}
	return o.report(done, failed, *e, err)
}

// report emits done or failed, as err has it, and returns err.
func (o *observed) report(done, failed event.Type, e event.Event, err error) error {
	e.Type = done
	if err != nil {
		e.Type, e.Err = failed, err
	}
	e.Service = o.service
	o.conn.emit(e)
	return err
}

// hold counts n more open files and directories of the user.
func (o *observed) hold(op, name string, n int) error {
	if o.conn.srv.budget.take(o.conn.grant.Load().User.Identity, holding{files: n}) != nil {
		return &iofs.PathError{Op: op, Path: name, Err: fs.ErrTooManyOpen}
	}
	o.held.Add(int32(n))
	return nil
}

func (o *observed) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	if err := o.hold("open", name, 1); err != nil {
		return nil, err
	}
	var f fs.File
	access := flag // for the events
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 && flag&os.O_WRONLY == 0 {
		access |= os.O_RDWR // an open for reading changes the file, too
	}
	e := event.Event{Path: name, Mode: event.Mode(access)}
	err := o.do(event.FileOpened, event.FileOpenFailed, &e, func(v fs.FS) (err error) {
		if o.conn.srv.drained(time.Now()) > lastOpens {
			return &iofs.PathError{Op: "open", Path: name, Err: errors.New("server is shutting down")}
		}
		f, err = v.OpenFile(name, flag, perm)
		if l, ok := f.(fs.LocatedFile); ok {
			e.HostPath = l.HostPath()
		}
		return err
	})
	if err != nil {
		o.hold("open", name, -1)
		return nil, err
	}
	o.openFiles.Add(1)
	of := &observedFile{File: f, fs: o, name: name, host: e.HostPath, access: access, opened: time.Now()}
	if o.conn.srv.Checksums {
		of.sum = &runningSum{hash: sha256.New()}
	}
	o.conn.open.Store(of, true)
	return of, nil
}

// ReadDir emits the event of a listing when it ends.
func (o *observed) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		if err := o.hold("readdir", name, 1); err != nil {
			yield(nil, err)
			return
		}
		defer o.hold("readdir", name, -1)
		began := false
		err := o.do(event.DirectoryListed, event.DirectoryListFailed, &event.Event{Path: name}, func(v fs.FS) error {
			began = true
			for info, err := range v.ReadDir(name) {
				if !yield(info, err) || err != nil {
					return err
				}
			}
			return nil
		})
		if !began { // or the directory would look empty
			yield(nil, err)
		}
	}
}

func (o *observed) Mkdir(name string, perm iofs.FileMode) error {
	return o.do(event.DirectoryMade, event.DirectoryMakeFailed, &event.Event{Path: name}, func(v fs.FS) error {
		return v.Mkdir(name, perm)
	})
}

func (o *observed) Remove(name string) error {
	return o.do(event.Removed, event.RemoveFailed, &event.Event{Path: name}, func(v fs.FS) error {
		return v.Remove(name)
	})
}

func (o *observed) Rmdir(name string) error {
	return o.do(event.DirectoryRemoved, event.DirectoryRemoveFail, &event.Event{Path: name}, func(v fs.FS) error {
		return v.Rmdir(name)
	})
}

func (o *observed) Rename(oldname, newname string, replace bool) error {
	e := event.Event{Path: oldname, Target: newname}
	return o.do(event.Renamed, event.RenameFailed, &e, func(v fs.FS) error {
		return v.Rename(oldname, newname, replace)
	})
}

func (o *observed) Symlink(target, name string) error {
	return o.do(event.Symlinked, event.SymlinkFailed, &event.Event{Path: name, Target: target}, func(v fs.FS) error {
		return v.Symlink(target, name)
	})
}

func (o *observed) Link(oldname, newname string) error {
	return o.do(event.Linked, event.LinkFailed, &event.Event{Path: oldname, Target: newname}, func(v fs.FS) error {
		return v.Link(oldname, newname)
	})
}

// copied emits the event of a copy from one open file to another.
func (o *observed) copied(name, target string, n int64, err error) {
	o.report(event.Copied, event.CopyFailed, event.Event{Path: name, Target: target, BytesWritten: n}, err)
}

// unseen subtracts bytes from the count of an open file, because the client has neither
// received nor sent them.
func (o *observed) unseen(file fs.File, read, written int64) {
	f := file.(*observedFile)
	f.read.Add(-read)
	f.written.Add(-written)
	o.conn.moved.read.Add(-read)
	o.conn.moved.written.Add(-written)
}

func (o *observed) SetAttr(name string, a fs.Attr) error {
	return o.do(event.AttributesSet, event.AttributesSetFailed, &event.Event{Path: name, Fields: attributes(a)}, func(v fs.FS) error {
		return v.SetAttr(name, a)
	})
}

func (o *observed) Stat(name string) (iofs.FileInfo, error) { return look(o, "stat", name, fs.FS.Stat) }

func (o *observed) Lstat(name string) (iofs.FileInfo, error) {
	return look(o, "lstat", name, fs.FS.Lstat)
}

func (o *observed) Readlink(name string) (string, error) {
	return look(o, "readlink", name, fs.FS.Readlink)
}

func (o *observed) Realpath(name string) (string, error) {
	return look(o, "realpath", name, fs.FS.Realpath)
}

func (o *observed) StatFS(name string) (fs.Usage, error) {
	return look(o, "statfs", name, fs.FS.StatFS)
}

// look runs act on the view. act changes nothing and has no event.
func look[T any](o *observed, op, name string, act func(fs.FS, string) (T, error)) (T, error) {
	view, err := o.files()
	if err != nil {
		var none T
		return none, &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return act(view.View, name)
}

// observedFile counts the bytes that are moved, and emits an event when it is
// closed.
type observedFile struct {
	fs.File
	fs            *observed
	name          string
	host          string // on this machine
	access        int    // of the flags of package os
	opened        time.Time
	read, written atomic.Int64
	first         atomic.Int64 // nanoseconds from opening to the first byte that was read
	position      atomic.Int64 // where the last piece ended
	sum           *runningSum  // nil if nobody wants checksums
	failed        atomic.Pointer[error]
	closed        sync.Once
}

// follow applies the rights of the current grant to f.
func (f *observedFile) follow() {
	if f.fs.seen.Load() != f.fs.conn.grant.Load() {
		_, _ = f.fs.files() // open files remain usable if new folders cannot be opened
	}
}

func (f *observedFile) ReadAt(p []byte, off int64) (int, error) {
	f.follow()
	n, err := f.File.ReadAt(p, off)
	if n > 0 && f.first.Load() == 0 {
		f.first.CompareAndSwap(0, int64(time.Since(f.opened)))
	}
	f.read.Add(int64(n))
	f.position.Store(off + int64(n))
	f.fs.conn.moved.read.Add(int64(n))
	f.fs.conn.touch()
	if f.sum != nil {
		f.sum.add(p[:n], off)
	}
	return n, err
}

func (f *observedFile) WriteAt(p []byte, off int64) (int, error) {
	f.follow()
	n, err := f.File.WriteAt(p, off)
	f.written.Add(int64(n))
	f.position.Store(off + int64(n))
	f.fs.conn.moved.written.Add(int64(n))
	f.fs.conn.touch()
	if f.sum != nil {
		f.sum.add(p[:n], off)
	}
	if err != nil {
		f.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// SetAttr emits its event with the name by which the file was opened.
func (f *observedFile) SetAttr(a fs.Attr) error {
	f.follow()
	if f.sum != nil && a.Set&fs.AttrSize != 0 {
		f.sum.cut(a.Size)
	}
	e := event.Event{Path: f.name, HostPath: f.host, Fields: attributes(a)}
	return f.fs.report(event.AttributesSet, event.AttributesSetFailed, e, f.File.SetAttr(a))
}

// attributes are what a names, for events.
func attributes(a fs.Attr) map[string]string {
	fields := map[string]string{}
	if a.Set&fs.AttrSize != 0 {
		fields["size"] = fmt.Sprint(a.Size)
	}
	if a.Set&fs.AttrMode != 0 {
		fields["permissions"] = fmt.Sprintf("%04o", fs.PosixMode(a.Mode)&0o3777) // no FS sets set-user-id
	}
	if a.Set&fs.AttrTimes != 0 {
		fields["atime"], fields["mtime"] = a.Atime.UTC().Format(time.RFC3339), a.Mtime.UTC().Format(time.RFC3339)
	}
	if a.Set&fs.AttrOwner != 0 {
		for name, id := range map[string]uint32{"uid": a.UID, "gid": a.GID} {
			if id != math.MaxUint32 { // which leaves it as it is
				fields[name] = fmt.Sprint(id)
			}
		}
	}
	return fields
}

// Close ends the file. Its event is a failure if any write was.
func (f *observedFile) Close() error {
	fi, _ := f.File.Stat()
	err := f.File.Close()
	f.ended(err, fi)
	return err
}

// Abort ends a file whose transfer broke off.
func (f *observedFile) Abort() error {
	err := f.File.Abort()
	f.ended(errors.New("the transfer broke off"), nil)
	return err
}

// closedEvents are the types for a file that was open for reading, for writing
// and for both, and for each when it failed.
var closedEvents = map[int][2]event.Type{
	os.O_RDONLY: {event.FileReadClosed, event.FileReadFailed},
	os.O_WRONLY: {event.FileWriteClosed, event.FileWriteFailed},
	os.O_RDWR:   {event.FileUpdateClosed, event.FileUpdateFailed},
}

// ended reports the end of the file once, with the first error of a write or else with
// err. fi is the file at its end, if known.
func (f *observedFile) ended(err error, fi iofs.FileInfo) {
	f.closed.Do(func() {
		if first := f.failed.Load(); first != nil {
			err = *first
		}
		f.fs.conn.open.Delete(f)
		f.fs.openFiles.Add(-1)
		f.fs.hold("close", f.name, -1)
		e := event.Event{
			Path: f.name, HostPath: f.host, Mode: event.Mode(f.access), Duration: time.Since(f.opened),
			BytesRead: f.read.Load(), BytesWritten: f.written.Load(), FirstByte: time.Duration(f.first.Load()),
		}
		if fi != nil {
			e.Size = fi.Size()
		}
		if f.sum != nil && err == nil && fi != nil && e.BytesRead+e.BytesWritten == fi.Size() {
			e.SHA256 = f.sum.whole(fi.Size())
		}
		types := closedEvents[f.access&(os.O_WRONLY|os.O_RDWR)]
		f.fs.report(types[0], types[1], e, err)
	})
}

// runningSum is the SHA-256 of a transfer that goes from beginning to end.
type runningSum struct {
	mu   sync.Mutex
	hash hash.Hash
	next int64 // where the next piece must begin
}

func (s *runningSum) add(p []byte, off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off == s.next { // otherwise next stays too small, which whole notices
		s.hash.Write(p)
		s.next += int64(len(p))
	}
}

// cut notes that the file gets this size: what was added may be lost.
func (s *runningSum) cut(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size < s.next {
		s.next = -1 // where no piece begins
	}
}

// whole returns the sum if what was added is all of the file, in order.
func (s *runningSum) whole(total int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != total {
		return ""
	}
	return hex.EncodeToString(s.hash.Sum(nil))
}
