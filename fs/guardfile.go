package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"sync/atomic"

	"berth/policy"
)

// OpenFile opens a file for writing with no more than the rights to create and to
// overwrite allow, in one step, so that no race makes more of them.
func (g *guard) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	r := g.rules.Load()
	if !writes(flag) {
		if err := g.permit(r, policy.Read, name, needs); err != nil {
			return nil, err
		}
		f, err := g.openFor(r, name, flag, perm)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	u := either
	switch {
	case flag&os.O_CREATE == 0:
		u = needs
		flag &^= os.O_EXCL // which has no effect without O_CREATE
	case flag&os.O_EXCL != 0:
		u = makes
	}
	asked := flag
	creates := flag&os.O_CREATE != 0 && r.allows(policy.Create, name)
	overwrites := r.allows(policy.Overwrite, name)
	switch {
	case !overwrites && flag&os.O_EXCL == 0 && r.allows(policy.Create, name) && g.made(r, name):
		return g.openOwn(r, name, flag)
	case creates && !overwrites:
		flag |= os.O_EXCL
	case !creates && overwrites && flag&os.O_EXCL == 0:
		flag &^= os.O_CREATE
	case !creates:
		return nil, g.refusal(r, name, u, iofs.ErrPermission)
	}
	f, err := g.openFor(r, name, flag, perm)
	switch {
	case err == nil:
	case asked&os.O_EXCL == 0 && flag&os.O_EXCL != 0 && errors.Is(err, iofs.ErrExist):
		return nil, iofs.ErrPermission // may be made but not overwritten
	case asked&os.O_CREATE != 0 && flag&os.O_CREATE == 0 && errors.Is(err, iofs.ErrNotExist):
		return nil, g.refusal(r, name, u, iofs.ErrPermission) // may be overwritten but not made
	default:
		return nil, err
	}
	f.uploads = flag&(os.O_EXCL|os.O_TRUNC) != 0
	if creates {
		f.writes = policy.Create
	}
	if overwrites && flag&os.O_EXCL == 0 { // it is not known whether the file existed
		f.writes |= policy.Overwrite
	}
	if f.uploads {
		g.remember(r, name, f.identify)
	}
	return f, nil
}

// openFor opens a file. Without the right to read, it opens the file for writing
// only: many clients open an upload for reading and writing.
func (g *guard) openFor(r *rules, name string, flag int, perm iofs.FileMode) (*guardFile, error) {
	reads := policy.Read
	if flag&os.O_WRONLY != 0 || !r.allows(policy.Read, name) {
		reads = 0
		flag = flag&^os.O_RDWR | os.O_WRONLY
	}
	f, err := g.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	gf := &guardFile{file: f, g: g, name: name, reads: reads}
	gf.seen.Store(r)
	return gf, nil
}

// openOwn opens again what the session made. The file is truncated only after its
// identity has been checked. An atomic upload is not truncated: another one replaces it.
func (g *guard) openOwn(r *rules, name string, flag int) (file, error) {
	f, err := g.openFor(r, name, flag&^(os.O_CREATE|os.O_TRUNC), 0)
	if err != nil {
		return nil, err
	}
	f.uploads, f.writes = true, policy.Create
	fi, err := f.identify()
	if err != nil || !g.own.is(name, fi) {
		return nil, errors.Join(iofs.ErrPermission, f.Abort())
	}
	if flag&os.O_TRUNC == 0 {
		return f, nil
	}
	if r.Uploads == policy.Atomic && !isTemp(fi.Name()) {
		next, err := g.replaceOwn(r, name, flag)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		return next, nil
	}
	if err := f.SetAttr(Attr{Set: AttrSize}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// replaceOwn begins an atomic upload over what the session made, and over nothing else.
func (g *guard) replaceOwn(r *rules, name string, flag int) (*guardFile, error) {
	f, err := g.openFor(r, name, flag&^os.O_CREATE, 0)
	if err != nil {
		return nil, err
	}
	f.uploads, f.writes = true, policy.Create
	old := f.replaces()
	if old == nil || !g.own.is(name, old) {
		return nil, errors.Join(iofs.ErrPermission, f.Abort())
	}
	f.was = idOf(old)
	g.remember(r, name, f.identify)
	return f, nil
}

// guardFile is a file as far as the session may use it. After the policy has
// changed, the rights are checked again. Errors are about the name in the view,
// whatever the file is called in the layers below.
type guardFile struct {
	file
	g       *guard
	name    string
	reads   policy.Op             // what reading needs; 0 when it was not permitted at the open
	writes  policy.Op             // what writing needs; 0 likewise
	uploads bool                  // the session made it, or truncated it when it was opened
	was     fileID                // what the session made before under the name, which this upload replaces
	refused atomic.Bool           // a write, so that the file is not whole
	failed  atomic.Pointer[error] // the first of a write
	seen    atomic.Pointer[rules]
}

// still reports whether op is permitted. It asks the policy only if that has changed
// since the open.
func (f *guardFile) still(op policy.Op) bool {
	if op == 0 {
		return false
	}
	r := f.g.rules.Load()
	if r == f.seen.Load() {
		return true
	}
	return r.allows(op, f.name)
}

func (f *guardFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.still(f.reads) {
		return 0, fail("read", f.name, iofs.ErrPermission)
	}
	n, err := f.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = fail("read", f.name, err)
	}
	return n, err
}

func (f *guardFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.still(f.writes) {
		f.refused.Store(true)
		return 0, fail("write", f.name, iofs.ErrPermission)
	}
	n, err := f.file.WriteAt(p, off)
	if err != nil {
		first := fail("write", f.name, err) // only the first error is stored
		f.failed.CompareAndSwap(nil, &first)
	}
	return n, fail("write", f.name, err)
}

func (f *guardFile) Stat() (iofs.FileInfo, error) {
	fi, err := f.file.Stat()
	if err != nil {
		return nil, fail("stat", f.name, err)
	}
	return named(fi, path.Base(f.name)), nil
}

// HostPath is where the file was opened on this machine.
func (f *guardFile) HostPath() string { return f.g.folders.hostPath(f.name) }

func (f *guardFile) Sync() error { return fail("sync", f.name, f.file.Sync()) }

func (f *guardFile) SetAttr(a Attr) error {
	if a.Set&AttrSize != 0 && !f.still(f.writes) {
		return fail("setattr", f.name, iofs.ErrPermission)
	}
	if first := f.failed.Load(); first != nil && a.Set&AttrSize != 0 {
		// OpenSSH's scp sets the size of the whole file even then. The zeros would look
		// like its content.
		if fi, err := f.file.Stat(); err != nil || a.Size > fi.Size() {
			return fail("setattr", f.name, *first)
		}
	}
	size := a.Set & AttrSize
	a.Set &^= AttrSize
	own := func() bool { return f.uploads && f.still(f.writes) }
	r := f.g.rules.Load()
	a, err := f.g.settable(r, a, f.name, own)
	if err == nil {
		a, err = f.g.keepOwner(r, a, f.name, f.file.Stat)
	}
	if a.Set |= size; err != nil || a.Set == 0 {
		return fail("setattr", f.name, err)
	}
	return fail("setattr", f.name, f.file.SetAttr(a))
}

func (f *guardFile) Close() error {
	if f.writes != 0 && (f.refused.Load() || !f.still(f.writes)) {
		return fail("close", f.name, errors.Join(iofs.ErrPermission, f.file.Abort()))
	}
	err := f.file.Close()
	if err != nil && f.was != (fileID{}) {
		f.g.own.add(f.name, f.was) // it still has the name
	}
	return fail("close", f.name, err)
}

// Abort abandons an upload.
func (f *guardFile) Abort() error { return fail("close", f.name, f.file.Abort()) }
