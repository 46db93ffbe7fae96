package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"path"
	"strings"
	"sync/atomic"

	"berth/policy"
)

// guard asks the policy before every operation. It is the only place that decides:
// a session has no other way to a file. Names contain no links here. If the guard
// refuses an operation, the layers below change nothing.
//
// A session that may create but not list (a drop box) still sees its own
// uploads: clients stat a file, set its times and rename it after they wrote
// it. Those files, and nothing else, are in own. They count as long as the session
// may still write there.
type guard struct {
	layer
	rules   atomic.Pointer[rules]
	own     own
	folders *mounts // which are below
}

// rules is a policy with what the guard derives from it.
type rules struct {
	*policy.Policy
	places map[string]bool        // paths of folders and access entries, and all above them
	ways   map[string]bool        // only the directories above these paths
	hides  bool                   // some entry hides names
	folds  func(name string) bool // whether name is in a folder that compares names as Windows does
	folded map[string]bool        // places, as Windows compares them
}

func newGuard(l layer, p *policy.Policy, folders *mounts) *guard {
	g := &guard{layer: l, folders: folders}
	g.SetPolicy(p)
	return g
}

// SetPolicy makes p decide from the next operation on, in open files too. The
// folders stay those the FS was opened with.
func (g *guard) SetPolicy(p *policy.Policy) {
	r := &rules{Policy: p, places: map[string]bool{"/": true}, ways: map[string]bool{}, folds: g.folders.folds, folded: map[string]bool{}}
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
	r.places[name], r.folded[fold(name)] = true, true
	for name != "/" {
		name = path.Dir(name)
		r.places[name], r.ways[name], r.folded[fold(name)] = true, true, true
	}
}

// barred reports whether every operation refuses name, whatever the policy permits.
// Such a name is that of a temporary file, or another spelling of some other name.
func (r *rules) barred(name string) bool {
	return hasTemp(name) || r.folds(name) && (hasTemp(fold(name)) || r.folding(name))
}

// check is the one test of what the policy permits on a name. All operations use it,
// most of them by permit.
func (r *rules) check(op policy.Op, name string) error {
	if r.barred(name) {
		return iofs.ErrPermission
	}
	return r.Check(op, name)
}

// allows reports whether all operations of op are permitted on name.
func (r *rules) allows(op policy.Op, name string) bool { return r.check(op, name) == nil }

// lists reports whether the directory may be listed.
func (g *guard) lists(dir string) bool { return g.rules.Load().allows(policy.List, dir) }

// hidden reports whether name must look as if it did not exist. A directory whose
// name no pattern refuses is not hidden by a list of file names.
func (r *rules) hidden(name string, dir bool) bool {
	return r.barred(name) || r.hides && r.Rights(name).Hides(name) && (!dir || !r.allows(policy.List, name))
}

// use is how an operation uses a name.
type use int

const (
	needs  use = iota // fails if nothing exists under the name
	makes             // fails if something does
	either            // makes or replaces it
)

// permit returns nil if op is permitted on name, else the error for the client.
func (g *guard) permit(r *rules, op policy.Op, name string, u use) error {
	err := r.check(op, name)
	if err == nil && r.hides && r.Rights(name).Hides(name) { // permitted only if it is a directory
		fi, lerr := g.layer.Lstat(name)
		switch {
		case lerr == nil && !fi.IsDir():
			err = iofs.ErrPermission
		case lerr != nil && !errors.Is(lerr, iofs.ErrNotExist):
			return lerr
		}
	}
	if err != nil {
		err = g.refusal(r, name, u, err)
	}
	return err
}

// refusal is the error for the client about a name that the policy refuses with
// err. Whether the name exists comes first, as on any system, but only where the
// person may list the directory or see the name.
func (g *guard) refusal(r *rules, name string, u use, err error) error {
	_, lerr := g.Lstat(name)
	switch {
	case lerr == nil && u == makes:
		return iofs.ErrExist
	case lerr == nil || errors.Is(lerr, iofs.ErrPermission) || !r.allows(policy.List, path.Dir(name)):
		return err
	case u == needs || !errors.Is(lerr, iofs.ErrNotExist):
		return lerr // also ErrTooManyLinks: the rights are those of the place that the link leads to
	}
	if _, lerr := g.Lstat(path.Dir(name)); lerr != nil {
		return lerr
	}
	return err
}

// Lstat without the right to list shows the places the policy names and what
// the session made itself.
func (g *guard) Lstat(name string) (iofs.FileInfo, error) {
	r := g.rules.Load()
	shown := r.places[name] || !r.barred(name) && r.allows(policy.List, path.Dir(name)) // as in a listing
	if !shown && !g.keeps(r, name) {
		return nil, r.unseen(name)
	}
	stat := g.layer.Lstat
	if !shown {
		stat = g.layer.identify
	}
	fi, err := stat(name)
	if err != nil {
		return nil, err
	}
	if r.hidden(name, fi.IsDir()) || !shown && !g.own.is(name, fi) {
		return nil, iofs.ErrNotExist
	}
	return fi, nil
}

// unseen is the error for a name that may not be listed. Where the session may
// put files, the name must look as if it did not exist, since clients stat before
// they upload.
func (r *rules) unseen(name string) error {
	a := r.Rights(name)
	if r.barred(name) || a.Ops&(policy.Write|policy.Mkdir) != 0 || a.Ops&policy.List != 0 && a.Hides(name) {
		return iofs.ErrNotExist
	}
	return iofs.ErrPermission
}

// ReadDir without the right to list shows only what leads to places of the policy
// below name, if there are any. A policy that changes meanwhile decides from the next
// entry on.
func (g *guard) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		r := g.rules.Load()
		err := g.permit(r, policy.List, name, needs)
		if err != nil && !r.ways[name] {
			yield(nil, err)
			return
		}
		plain := r.plain(name, err)
		for fi, lerr := range g.layer.ReadDir(name) {
			if now := g.rules.Load(); now != r {
				r, err = now, now.check(policy.List, name)
				plain = r.plain(name, err)
				if err != nil && !r.ways[name] {
					lerr = err
				}
			}
			if lerr != nil {
				yield(nil, lerr)
				return
			}
			shown := plain
			if !plain {
				full := join(name, fi.Name())
				shown = !r.hidden(full, fi.IsDir()) && (err == nil || r.places[full])
			}
			if shown && !yield(fi, nil) {
				return
			}
		}
	}
}

// plain reports whether all names in a directory are shown, so that ReadDir need not
// check each of a million entries. err is the answer to whether the directory may be
// listed.
func (r *rules) plain(name string, err error) bool { return err == nil && !r.hides && !r.folds(name) }

func (g *guard) Readlink(name string) (string, error) {
	if err := g.permit(g.rules.Load(), policy.Read, name, needs); err != nil {
		return "", err
	}
	return g.layer.Readlink(name)
}

func (g *guard) Mkdir(name string, perm iofs.FileMode) error {
	r := g.rules.Load()
	if err := g.permit(r, policy.Mkdir, name, makes); err != nil {
		return err
	}
	if err := g.layer.Mkdir(name, perm); err != nil {
		return err
	}
	g.remember(r, name, func() (iofs.FileInfo, error) { return g.layer.identify(name) })
	return nil
}

func (g *guard) Remove(name string) error {
	if err := g.permitGone(g.rules.Load(), policy.Delete, name); err != nil {
		return err
	}
	return g.layer.Remove(name)
}

func (g *guard) Rmdir(name string) error {
	if err := g.permitGone(g.rules.Load(), policy.Rmdir, name); err != nil {
		return err
	}
	return g.layer.Rmdir(name)
}

// permitGone is permit for an operation after which name does not exist. The places
// that the policy names cannot be removed or renamed: a directory with few rights
// must not get more rights in another place.
func (g *guard) permitGone(r *rules, op policy.Op, name string) error {
	err := g.permit(r, op, name, needs)
	if err == nil && r.places[name] {
		err = g.refusal(r, name, needs, iofs.ErrPermission)
	}
	return err
}

func (g *guard) Symlink(target, name string) error {
	if err := g.permit(g.rules.Load(), policy.Symlink, name, makes); err != nil {
		return err
	}
	return g.layer.Symlink(target, name)
}

// Link gives a file a second name. Under the second name the file has the rights of
// that place, which must not be more than its rights under the first name.
func (g *guard) Link(oldname, newname string) error {
	r := g.rules.Load()
	err := g.permit(r, policy.Symlink, newname, makes)
	if err == nil {
		err = g.permit(r, r.Rights(newname).Ops, oldname, needs)
	}
	if err != nil {
		return err
	}
	return g.layer.Link(oldname, newname)
}

func (g *guard) Rename(oldname, newname string, replace bool) error {
	over, err := g.permitRename(g.rules.Load(), oldname, newname, replace)
	if err != nil {
		return err
	}
	err = g.layer.Rename(oldname, newname, replace && over)
	if replace && !over && errors.Is(err, iofs.ErrExist) {
		return iofs.ErrPermission
	}
	if err == nil {
		g.own.rename(oldname, newname)
	}
	return err
}

// permitRename permits a rename under one entry of the policy with the right to
// rename, and to a place with other rights as carry does. It also reports whether
// the rename may replace what exists under newname. The session may give a file
// of its own another name without the right to rename, as clients do that upload
// to a temporary name.
func (g *guard) permitRename(r *rules, oldname, newname string, replace bool) (over bool, err error) {
	u := makes
	if replace {
		u = either
	}
	same := r.Rights(oldname).Path == r.Rights(newname).Path
	if err := g.permitGone(r, policy.Rename, oldname); err != nil {
		if same && !r.places[oldname] && !r.places[newname] && r.allows(policy.Create, newname) && g.made(r, oldname) {
			err = nil
		}
		return false, err
	}
	if r.places[newname] {
		return false, g.refusal(r, newname, u, iofs.ErrPermission)
	}
	fi, err := g.layer.Lstat(oldname)
	if err != nil {
		return false, err
	}
	if same {
		err = g.permit(r, policy.Rename, newname, u)
	} else {
		err = g.carry(r, oldname, newname, fi, u)
	}
	replaces := policy.Overwrite
	if fi.IsDir() {
		replaces = policy.Rmdir
	}
	return r.allows(replaces, newname), err
}

// maxCarried bounds how much may lie below a directory that is moved to a place
// with other rights: the guard checks each name while the client waits.
const maxCarried = 100_000

// carry permits to move something to a place with other rights. It leaves one
// place and arrives at the other, and so does all that lies below a directory.
func (g *guard) carry(r *rules, oldname, newname string, fi iofs.FileInfo, u use) error {
	leave, arrive := r.carried(fi, newname)
	err := g.permit(r, leave|policy.Rename, oldname, needs)
	if err == nil {
		err = g.permit(r, arrive, newname, u)
	}
	if err != nil || !fi.IsDir() {
		return err
	}
	from, to := r.Rights(oldname), r.Rights(newname)
	if from.Hide { // an error must not depend on what is hidden there
		return iofs.ErrPermission
	}
	filters := len(from.Names.Allow) + len(from.Names.Deny) + len(to.Names.Allow) + len(to.Names.Deny)
	if filters == 0 && to.Ops&carriedOps == carriedOps && from.Ops&policy.Delete != 0 {
		return nil // anything may lie below
	}
	n := 0
	return walk(g.layer, oldname, func(name string, fi iofs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxCarried {
			return ErrTooLarge
		}
		there := newname + strings.TrimPrefix(name, oldname)
		leave, arrive := r.carried(fi, there)
		return errors.Join(r.check(leave, name), r.check(arrive, there))
	})
}

// carriedOps are all operations that carried asks for in the new place.
const carriedOps = policy.Create | policy.Mkdir | policy.Symlink

// carried is what must be permitted for a file to leave its place, and to arrive
// under newname. It must not become readable or visible there if it was not.
func (r *rules) carried(fi iofs.FileInfo, newname string) (leave, arrive policy.Op) {
	switch fi.Mode().Type() {
	case iofs.ModeDir:
		leave, arrive = policy.Rmdir|policy.List, policy.Mkdir
	case iofs.ModeSymlink:
		leave, arrive = policy.Delete, policy.Symlink
	default:
		leave, arrive = policy.Delete, policy.Create
	}
	return leave | r.Rights(newname).Ops&policy.ReadOnly, arrive
}

// SetAttr needs the right to overwrite for the size, and the right to set
// attributes for the rest. The owner never changes.
func (g *guard) SetAttr(name string, a Attr) error {
	r := g.rules.Load()
	a, err := g.settable(r, a, name, func() bool { return g.made(r, name) })
	if err == nil && a.Set == 0 {
		_, err = g.Lstat(name)
	}
	if err == nil {
		a, err = g.keepOwner(r, a, name, func() (iofs.FileInfo, error) { return g.layer.Lstat(name) })
	}
	if err != nil || a.Set == 0 {
		return err
	}
	return g.layer.SetAttr(name, a)
}

// settable returns the attributes of a that may be set on name. A session may set
// all but the owner of what it made itself. With IgnoreSetAttr, attributes that
// are not permitted are left out: many clients set times after an upload and
// report the upload as failed if that is refused.
func (g *guard) settable(r *rules, a Attr, name string, own func() bool) (Attr, error) {
	if a.Set&AttrSize != 0 && !r.allows(policy.Overwrite, name) && !(r.allows(policy.Create, name) && own()) {
		return a, g.refusal(r, name, needs, iofs.ErrPermission)
	}
	if a.Set&^AttrSize == 0 {
		return a, nil
	}
	err := g.permit(r, policy.SetAttr, name, needs)
	if err == nil || own() {
		return a, nil
	}
	if r.IgnoreSetAttr {
		a.Set &= AttrSize
		return a, nil
	}
	return a, err
}

// sameOwner is a UID or GID that changes nothing, as in chown(2).
const sameOwner = 1<<32 - 1

// keepOwner refuses to change the owner. Some clients set the present owner with
// every change: keepOwner leaves it out of a. Where files belong to people, they may
// give a file to another group, and the disk decides which.
func (g *guard) keepOwner(r *rules, a Attr, name string, stat func() (iofs.FileInfo, error)) (Attr, error) {
	if a.Set&AttrOwner == 0 {
		return a, nil
	}
	fi, err := stat()
	if err != nil {
		return a, err
	}
	o := fi.Sys().(*Owner)
	sameGroup := a.GID == sameOwner || a.GID == o.GID
	switch {
	case a.UID != sameOwner && a.UID != o.UID,
		!sameGroup && !(g.folders.owned(name) && r.allows(policy.SetAttr, name)):
		return a, iofs.ErrPermission
	case sameGroup:
		a.Set &^= AttrOwner
	}
	a.UID = sameOwner
	return a, nil
}

// StatFS answers for what Lstat shows.
func (g *guard) StatFS(name string) (Usage, error) {
	if _, err := g.Lstat(name); err != nil {
		return Usage{}, err
	}
	return g.layer.StatFS(name)
}
