package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"path"
	"sync/atomic"

	"berth/policy"
)

// guard asks the policy before every operation. It is the only place that
// decides; nothing of a session reaches a file but through it. Names are free
// of links here, and what it does not permit was not touched.
//
// A session that may create but not list (a drop box) still sees its own
// uploads: clients stat a file, set its times and rename it after they wrote
// it. Those files, and nothing else, are in own.
type guard struct {
	layer
	rules atomic.Pointer[rules]
	own   own
}

// rules is a policy with what the guard derives from it.
type rules struct {
	*policy.Policy
	places map[string]bool // paths of folders and access entries, and all above them
	ways   map[string]bool // those above
	hides  bool            // some entry hides names
}

func newGuard(l layer, p *policy.Policy) *guard {
	g := &guard{layer: l}
	g.SetPolicy(p)
	return g
}

// SetPolicy makes p decide from the next operation on, in open files too. The
// folders stay those the FS was opened with.
func (g *guard) SetPolicy(p *policy.Policy) {
	r := &rules{Policy: p, places: map[string]bool{"/": true}, ways: map[string]bool{}}
	for _, f := range p.Folders {
		r.add(f.Path)
	}
	for _, a := range p.Access {
		r.add(a.Path)
		r.hides = r.hides || a.Hide
	}
	g.rules.Store(r)
}

func (r *rules) add(name string) {
	for r.places[name] = true; name != "/"; {
		name = path.Dir(name)
		r.places[name], r.ways[name] = true, true
	}
}

// allows reports whether all operations of op are permitted on name.
func (r *rules) allows(op policy.Op, name string) bool { return r.Check(op, name) == nil }

// hidden reports whether name is to be treated as if it were not there. A
// directory whose name no pattern refuses is not hidden by a list of file
// names.
func (r *rules) hidden(name string, dir bool) bool {
	if hasTemp(name) {
		return true
	}
	return r.Rights(name).Hides(name) && (!dir || !r.allows(policy.List, name))
}

// check permits op on name, or says why not: a hidden name does not exist.
func (r *rules) check(op policy.Op, name string) error {
	if hasTemp(name) {
		return iofs.ErrPermission
	}
	err := r.Check(op, name)
	if err != nil && r.Rights(name).Hides(name) {
		return iofs.ErrNotExist
	}
	return err
}

func (g *guard) Stat(name string) (iofs.FileInfo, error) { return g.Lstat(name) }

// Lstat without the right to list shows the places the policy names and what
// the session made itself.
func (g *guard) Lstat(name string) (iofs.FileInfo, error) {
	r := g.rules.Load()
	listed := r.allows(policy.List, name)
	if !listed && !r.places[name] && !g.own.has(name) {
		return nil, fail("lstat", name, g.unseen(r, name))
	}
	fi, err := g.layer.Lstat(name)
	if err != nil {
		return nil, err
	}
	if r.hidden(name, fi.IsDir()) || !listed && !r.places[name] && !g.own.is(name, fi) {
		return nil, fail("lstat", name, iofs.ErrNotExist)
	}
	return fi, nil
}

// unseen is the error about a name that may not be listed. Where the session
// may put files it must look as if nothing were there, since clients ask before
// they upload.
func (g *guard) unseen(r *rules, name string) error {
	if hasTemp(name) || r.Rights(name).Ops&(policy.Write|policy.Mkdir) != 0 {
		return iofs.ErrNotExist
	}
	return r.check(policy.List, name)
}

// ReadDir without the right to list shows the way to the places of the policy,
// if there are any below.
func (g *guard) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		r := g.rules.Load()
		err := r.check(policy.List, name)
		if err != nil && !r.ways[name] {
			yield(nil, fail("readdir", name, err))
			return
		}
		for fi, lerr := range g.layer.ReadDir(name) {
			if lerr != nil {
				yield(nil, lerr)
				return
			}
			if r.shows(name, fi, err == nil) && !yield(fi, nil) {
				return
			}
		}
	}
}

// shows reports whether an entry of dir is listed; unless all are, only the way
// to the places of the policy is.
func (r *rules) shows(dir string, fi iofs.FileInfo, all bool) bool {
	if all && !r.hides { // a million entries need no names joined
		return !isTemp(fi.Name())
	}
	name := join(dir, fi.Name())
	return !r.hidden(name, fi.IsDir()) && (all || r.places[name])
}

func (g *guard) Readlink(name string) (string, error) {
	r := g.rules.Load()
	if err := r.check(policy.Read, name); err != nil {
		return "", fail("readlink", name, err)
	}
	return g.layer.Readlink(name)
}

func (g *guard) Mkdir(name string, perm iofs.FileMode) error {
	r := g.rules.Load()
	if err := r.check(policy.Mkdir, name); err != nil {
		return fail("mkdir", name, err)
	}
	if err := g.layer.Mkdir(name, perm); err != nil {
		return err
	}
	g.remember(r, name)
	return nil
}

func (g *guard) Remove(name string) error {
	if err := g.rules.Load().checkGone(policy.Delete, name); err != nil {
		return fail("remove", name, err)
	}
	return g.layer.Remove(name)
}

func (g *guard) Rmdir(name string) error {
	if err := g.rules.Load().checkGone(policy.Rmdir, name); err != nil {
		return fail("rmdir", name, err)
	}
	return g.layer.Rmdir(name)
}

// checkGone is check for what takes name away. The places that the policy
// speaks of stay: a directory with few rights must not become one with many by
// being put elsewhere.
func (r *rules) checkGone(op policy.Op, name string) error {
	if err := r.check(op, name); err != nil {
		return err
	}
	if r.places[name] {
		return iofs.ErrPermission
	}
	return nil
}

func (g *guard) Symlink(target, name string) error {
	if err := g.rules.Load().check(policy.Symlink, name); err != nil {
		return fail("symlink", name, err)
	}
	return g.layer.Symlink(target, name)
}

// Link gives a file a second name, and with it the rights of that place: they
// must not be more than those it is seen with now.
func (g *guard) Link(oldname, newname string) error {
	r := g.rules.Load()
	err := r.check(policy.Symlink, newname)
	if err == nil {
		err = r.check(r.Rights(newname).Ops, oldname)
	}
	if err != nil {
		return fail("link", oldname, err)
	}
	return g.layer.Link(oldname, newname)
}

func (g *guard) Rename(oldname, newname string, replace bool) error {
	r := g.rules.Load()
	own := false
	err := r.checkRename(oldname, newname)
	if err != nil && r.mayRenameOwn(oldname, newname) && g.own.current(g.layer, oldname) {
		own, err = true, nil
	}
	if err != nil {
		return fail("rename", oldname, err)
	}
	if own || !r.allows(policy.Overwrite, newname) {
		err = g.layer.Rename(oldname, newname, false)
		if replace && errors.Is(err, iofs.ErrExist) {
			err = fail("rename", newname, iofs.ErrPermission)
		}
	} else {
		err = g.layer.Rename(oldname, newname, replace)
	}
	if err == nil {
		g.own.rename(oldname, newname)
	}
	return err
}

// checkRename permits a rename under one entry of the policy with the right to
// rename. To a place with other rights something is taken away here and made
// there, and must not gain there the right to be read.
func (r *rules) checkRename(oldname, newname string) error {
	if err := r.checkGone(policy.Rename, oldname); err != nil {
		return err
	}
	if r.places[newname] || hasTemp(newname) {
		return iofs.ErrPermission
	}
	from, to := r.Rights(oldname), r.Rights(newname)
	if from.Path == to.Path {
		return r.check(policy.Rename, newname)
	}
	away := policy.Rename | policy.Delete
	if to.Ops&policy.Read != 0 {
		away |= policy.Read
	}
	if err := r.check(away, oldname); err != nil {
		return err
	}
	return r.check(policy.Create, newname)
}

// mayRenameOwn reports whether the session may give a file of its own another
// name, as clients do that upload to a temporary one.
func (r *rules) mayRenameOwn(oldname, newname string) bool {
	return r.Rights(oldname).Path == r.Rights(newname).Path && !hasTemp(newname) && r.allows(policy.Create, newname)
}

// SetAttr needs the right to overwrite for the size and that to set attributes
// for the rest. The owner never changes.
func (g *guard) SetAttr(name string, a Attr) error {
	r := g.rules.Load()
	a, err := r.settable(a, name, func() bool { return g.own.current(g.layer, name) })
	if err == nil && a.Set == 0 {
		_, err = g.Lstat(name)
	}
	if err == nil {
		a, err = keepOwner(a, func() (iofs.FileInfo, error) { return g.layer.Lstat(name) })
	}
	if err != nil || a.Set == 0 {
		return fail("setattr", name, err)
	}
	return g.layer.SetAttr(name, a)
}

// settable is what of a may be set on name. All but the owner may on what the
// session made itself; what must not is left out if the policy says so, since
// many clients set times after an upload and take a refusal for its failure.
func (r *rules) settable(a Attr, name string, own func() bool) (Attr, error) {
	if a.Set&AttrSize != 0 && !r.allows(policy.Overwrite, name) && !own() {
		return a, r.check(policy.Overwrite, name)
	}
	if a.Set&^AttrSize == 0 || r.allows(policy.SetAttr, name) || own() {
		return a, nil
	}
	if r.IgnoreSetAttr {
		a.Set &= AttrSize
		return a, nil
	}
	return a, r.check(policy.SetAttr, name)
}

// keepOwner takes the owner out of a if it is the one there is, which some
// clients set with every change, and refuses any other.
func keepOwner(a Attr, stat func() (iofs.FileInfo, error)) (Attr, error) {
	if a.Set&AttrOwner == 0 {
		return a, nil
	}
	fi, err := stat()
	if err != nil {
		return a, err
	}
	if o, ok := fi.Sys().(*Owner); !ok || o.UID != a.UID || o.GID != a.GID {
		return a, iofs.ErrPermission
	}
	a.Set &^= AttrOwner
	return a, nil
}

func (g *guard) StatFS(name string) (Usage, error) {
	r := g.rules.Load()
	if !r.places[name] && r.Rights(name).Ops == 0 {
		return Usage{}, fail("statfs", name, r.check(policy.List, name))
	}
	return g.layer.StatFS(name)
}
