package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"sync"
)

// quota limits the bytes and files of a host directory, or only counts them for
// sessions that have a limit there. The layer below may be a folder in that
// directory. The size of a file is the size that a listing shows. While an atomic
// upload is written, both the upload and the file that it will replace count.
type quota struct {
	layer
	u     *usage
	limit Amount
	as    *actor // who counts, if the service may not; nil: the service
	left  sync.Once
}

func newQuota(l layer, u *usage, limit Amount, as *actor) *quota {
	u.Join()
	return &quota{layer: l, u: u, limit: limit, as: as}
}

// change counts the directory, if that has not been done, and calls do, which
// changes names.
func (q *quota) change(do func() error) error {
	q.u.names.Lock()
	defer q.u.names.Unlock()
	if err := q.u.count(q.as); err != nil {
		return err
	}
	return do()
}

// create is change for an operation that makes one name.
func (q *quota) create(do func() error) error {
	return q.change(func() error { return q.one(do) })
}

// one counts the name that do makes. The caller holds names.
func (q *quota) one(do func() error) error {
	if err := q.u.Reserve(Amount{Files: 1}, q.limit); err != nil {
		return err
	}
	err := do()
	if err != nil {
		q.u.Add(Amount{Files: -1})
	}
	return err
}

// hold tracks the file that stat finds while it is open, or while its name is
// removed. The size is found out when nobody else has the file any more, since
// the last writer may have closed it just before.
func (q *quota) hold(stat func() (iofs.FileInfo, error)) (*tracked, iofs.FileInfo, error) {
	fi, err := stat()
	if err != nil {
		return nil, nil, err
	}
	fresh := &tracked{id: idOf(fi)}
	fresh.mu.Lock() // until the size is known
	defer fresh.mu.Unlock()
	t := q.u.hold(fresh)
	if t != fresh {
		return t, fi, nil
	}
	if fi, err = stat(); err == nil && idOf(fi) != t.id {
		err = iofs.ErrNotExist // replaced just before
	}
	if err != nil {
		q.u.release(t)
		return nil, nil, err
	}
	t.size = fi.Size()
	if hardLinks(fi) == 0 { // removed just before, by somebody who counted it as gone
		t.nameless = true
		q.u.Add(Amount{Bytes: t.size})
	}
	return t, fi, nil
}

// dropping calls do, which removes what has the name, or gives the name to
// something else if done says so. The bytes of a file without names count until
// nobody has it open. The caller holds names.
func (q *quota) dropping(name string, do func() (done bool, err error)) error {
	t, fi, err := q.hold(func() (iofs.FileInfo, error) { return q.layer.Lstat(name) })
	if err != nil {
		return err
	}
	defer q.u.release(t)
	done, err := do()
	if err != nil || !done {
		return err
	}
	q.u.Add(Amount{Files: -1})
	if fi.Mode().IsRegular() && hardLinks(fi) == 1 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.nameless = true
	}
	return nil
}

func (q *quota) OpenFile(name string, flag int, perm iofs.FileMode) (f file, err error) {
	if !writes(flag) { // needs no count, and changes no name
		return q.openOld(name, flag, perm)
	}
	err = q.change(func() error {
		_, err := q.layer.Lstat(name)
		if err == nil || flag&os.O_CREATE == 0 {
			f, err = q.openOld(name, flag, perm)
			return err
		}
		if exhausted(err) {
			return err
		}
		return q.one(func() error {
			below, err := q.layer.OpenFile(name, flag, perm)
			if err == nil {
				f, err = q.track(below, flag)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openOld opens an existing file. O_TRUNC is done in a second step, which is
// counted.
func (q *quota) openOld(name string, flag int, perm iofs.FileMode) (file, error) {
	below, err := q.layer.OpenFile(name, flag&^os.O_TRUNC, perm)
	if err != nil {
		return nil, err
	}
	f, err := q.track(below, flag)
	if err != nil || flag&os.O_TRUNC == 0 {
		return f, err
	}
	if err := f.SetAttr(Attr{Set: AttrSize}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// track makes an open file one whose growth is counted. A file that is open for
// reading counts, too, if its name is removed meanwhile.
func (q *quota) track(below file, flag int) (file, error) {
	t, _, err := q.hold(below.Stat)
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return &quotaFile{file: below, q: q, t: t, flag: flag}, nil
}

func (q *quota) Mkdir(name string, perm iofs.FileMode) error {
	return q.create(func() error { return q.layer.Mkdir(name, perm) })
}

func (q *quota) Symlink(target, name string) error {
	return q.create(func() error { return q.layer.Symlink(target, name) })
}

func (q *quota) Link(oldname, newname string) error {
	return q.create(func() error { return q.layer.Link(oldname, newname) })
}

func (q *quota) Remove(name string) error { return q.remove(name, q.layer.Remove) }
func (q *quota) Rmdir(name string) error  { return q.remove(name, q.layer.Rmdir) }

func (q *quota) remove(name string, do func(string) error) error {
	return q.change(func() error {
		return q.dropping(name, func() (bool, error) { return true, do(name) })
	})
}

func (q *quota) Rename(oldname, newname string, replace bool) error {
	return q.change(func() error {
		old, err := q.layer.Lstat(oldname)
		if err != nil {
			return err
		}
		target, err := q.layer.Lstat(newname)
		if exhausted(err) {
			return err
		}
		if err != nil {
			return q.layer.Rename(oldname, newname, replace)
		}
		return q.dropping(newname, func() (bool, error) {
			another := idOf(old) != idOf(target) // else nothing happens
			return another, q.layer.Rename(oldname, newname, replace)
		})
	})
}

func (q *quota) SetAttr(name string, a Attr) error {
	if a.Set&AttrSize != 0 {
		if err := truncate(q, name, a.Size); err != nil {
			return err
		}
		a.Set &^= AttrSize
	}
	return q.layer.SetAttr(name, a)
}

// StatFS shows the quota as the size of the file system, unless the file system
// is smaller.
func (q *quota) StatFS(name string) (Usage, error) {
	s, err := q.layer.StatFS(name)
	if err != nil || s.BlockSize == 0 || q.limit == (Amount{}) {
		return s, err
	}
	if err := q.change(func() error { return nil }); err != nil {
		return s, err
	}
	used := q.u.Used()
	if limit := q.limit.Bytes; limit > 0 {
		free := uint64(max(limit-used.Bytes, 0)) / s.BlockSize
		s.Blocks = min(s.Blocks, uint64(limit)/s.BlockSize)
		s.BlocksAvail = min(s.BlocksAvail, free)
		s.BlocksFree = min(s.BlocksFree, free)
	}
	if limit := q.limit.Files; limit > 0 {
		free := uint64(max(limit-used.Files, 0))
		if s.Files == 0 { // a file system without such a number
			s.Files, s.FilesFree = uint64(limit), free
		}
		s.Files = min(s.Files, uint64(limit))
		s.FilesFree = min(s.FilesFree, free)
	}
	return s, nil
}

func (q *quota) Close() error {
	q.left.Do(q.u.Leave)
	return q.layer.Close()
}
