package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"sync/atomic"

	"berth/policy"
)

func (g *guard) OpenFile(name string, flag int, perm iofs.FileMode) (File, error) {
	r := g.rules.Load()
	open := g.openRead
	if writes(flag) {
		open = g.openWrite
	}
	f, err := open(r, name, flag, perm)
	if err != nil {
		return nil, fail("open", name, err)
	}
	return f, nil
}

func (g *guard) openRead(r *rules, name string, flag int, perm iofs.FileMode) (File, error) {
	if err := r.check(policy.Read, name); err != nil {
		return nil, err
	}
	f, err := g.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	gf := &guardFile{File: f, g: g, name: name, reads: policy.Read}
	gf.seen.Store(r)
	return gf, nil
}

// openWrite opens a file for writing with no more than the rights to create
// and to overwrite allow, in one step, so that no race makes more of them.
func (g *guard) openWrite(r *rules, name string, flag int, perm iofs.FileMode) (File, error) {
	if hasTemp(name) {
		return nil, iofs.ErrPermission
	}
	creates := flag&os.O_CREATE != 0 && r.allows(policy.Create, name)
	overwrites := r.allows(policy.Overwrite, name)
	resumes := !overwrites && flag&os.O_EXCL == 0 && g.own.current(g.layer, name)
	asked := flag
	switch {
	case resumes, overwrites && !creates && flag&os.O_EXCL == 0:
		flag &^= os.O_CREATE
	case creates && !overwrites:
		flag |= os.O_EXCL
	case !creates:
		return nil, r.refusal(flag, name)
	}
	reads := flag&os.O_WRONLY == 0 && r.allows(policy.Read, name)
	if !reads { // many clients open what they upload for both
		flag = flag&^os.O_RDWR | os.O_WRONLY
	}
	f, err := g.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, instead(err, asked, flag)
	}
	gf := &guardFile{File: f, g: g, name: name, writes: policy.Overwrite, uploads: resumes || flag&(os.O_EXCL|os.O_TRUNC) != 0}
	if reads {
		gf.reads = policy.Read
	}
	if creates {
		gf.writes = policy.Create
	}
	gf.seen.Store(r)
	if resumes && !g.own.isFile(name, f) {
		return nil, errors.Join(iofs.ErrPermission, f.Close())
	}
	if gf.uploads {
		g.rememberFile(r, name, f)
	}
	return gf, nil
}

// refusal is the error about a file that may be neither made nor overwritten.
func (r *rules) refusal(flag int, name string) error {
	if flag&os.O_CREATE != 0 {
		return r.check(policy.Write, name)
	}
	return r.check(policy.Overwrite, name)
}

// instead is the error about an open whose flags the guard changed.
func instead(err error, asked, flag int) error {
	switch {
	case asked&os.O_EXCL == 0 && flag&os.O_EXCL != 0 && errors.Is(err, iofs.ErrExist):
		return iofs.ErrPermission // may be made but not overwritten
	case asked&os.O_CREATE != 0 && flag&os.O_CREATE == 0 && errors.Is(err, iofs.ErrNotExist):
		return iofs.ErrPermission // may be overwritten but not made
	}
	return err
}

// guardFile is a file as far as the session may use it. When the policy has
// changed since, the rights are looked at again.
type guardFile struct {
	File
	g       *guard
	name    string
	reads   policy.Op   // what reading needs; 0 when it was not permitted at the open
	writes  policy.Op   // what writing needs; 0 likewise
	uploads bool        // the session made it or wrote all of it anew
	refused atomic.Bool // a write, so that the file is not whole
	seen    atomic.Pointer[rules]
}

// still reports whether the policy, if it is another one now, permits op.
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
	return f.File.ReadAt(p, off)
}

func (f *guardFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.still(f.writes) {
		f.refused.Store(true)
		return 0, fail("write", f.name, iofs.ErrPermission)
	}
	return f.File.WriteAt(p, off)
}

func (f *guardFile) SetAttr(a Attr) error {
	if a.Set&AttrSize != 0 && !f.still(f.writes) {
		return fail("setattr", f.name, iofs.ErrPermission)
	}
	if a.Set&^AttrSize != 0 && !f.uploads && !f.g.rules.Load().allows(policy.SetAttr, f.name) {
		return fail("setattr", f.name, iofs.ErrPermission)
	}
	a, err := keepOwner(a, f.File.Stat)
	if err != nil {
		return fail("setattr", f.name, err)
	}
	return f.File.SetAttr(a)
}

func (f *guardFile) Close() error {
	if f.refused.Load() && f.writes != 0 {
		return errors.Join(fail("close", f.name, iofs.ErrPermission), abort(f.File))
	}
	return f.File.Close()
}

// Abort gives an upload up.
func (f *guardFile) Abort() error { return abort(f.File) }

// abort gives f up if it can be, else closes it.
func abort(f File) error {
	if a, ok := f.(Aborter); ok {
		return a.Abort()
	}
	return f.Close()
}
