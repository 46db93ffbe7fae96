package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"sync"
	"time"
)

// uploads makes whole-file uploads atomic: what is written goes to a hidden
// file beside the target, which is made safe and renamed when it is closed. So
// a file under its name is always a whole one, the old or the new.
//
// That is done for every open that begins a file: one that makes it, or
// truncates it, or could do both and writes from the beginning (see rewrite).
// Any other open of an existing file changes it in place, since it is meant to
// change a part: a client that resumes, an editor over sshfs.
//
// An upload whose client disappears is kept, out of sight of others, and
// stands in for the file to its own user: Lstat tells how much is there, and an
// open without truncation goes on with it. One that failed is removed.
//
// A file that is replaced gives the new one its permissions; other names of it
// (hard links) keep the old content.
type uploads struct {
	layer
	user string
	keep time.Duration // how long a broken one is kept

	mu   sync.Mutex
	open map[string]*upload // by target, those of this session
}

func newUploads(l layer, user string, keep time.Duration) *uploads {
	return &uploads{layer: l, user: user, keep: keep, open: map[string]*upload{}}
}

// running is the upload of this session to name, or nil.
func (u *uploads) running(name string) *upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.open[name]
}

// at is where what this session sees at name is.
func (u *uploads) at(name string) string {
	if up := u.running(name); up != nil {
		return up.tempName()
	}
	return name
}

func (u *uploads) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	if isTemp(path.Base(name)) { // another layer's
		return u.layer.OpenFile(name, flag, perm)
	}
	if up := u.running(name); up != nil && flag&(os.O_TRUNC|os.O_EXCL) == 0 {
		return u.layer.OpenFile(up.tempName(), flag&^os.O_CREATE, perm)
	}
	if !writes(flag) {
		return u.layer.OpenFile(name, flag, perm)
	}
	fi, err := u.layer.Lstat(name)
	exists := err == nil
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	part := u.part(name, fi)
	switch {
	case exists && flag&os.O_EXCL != 0:
		err = iofs.ErrExist
	case exists && fi.Mode()&iofs.ModeSymlink != 0:
		err = ErrTooManyLinks
	case flag&(os.O_TRUNC|os.O_EXCL) == 0 && part != nil:
		return u.resume(name, flag)
	case exists && flag&openFlags == os.O_WRONLY|os.O_CREATE:
		return u.rewrite(name, flag, perm)
	case exists && flag&os.O_TRUNC == 0:
		return u.layer.OpenFile(name, flag, perm)
	case exists:
		return u.renew(name, flag, fi)
	case flag&os.O_CREATE != 0:
		return u.begin(name, flag, perm)
	}
	return nil, fail("open", name, err)
}

// renew begins an upload over the file fi, which must be one that could be
// written in place.
func (u *uploads) renew(name string, flag int, fi iofs.FileInfo) (file, error) {
	old, err := u.layer.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := old.Close(); err != nil {
		return nil, err
	}
	up, err := u.anew(name, flag, fi)
	if err != nil {
		return nil, err
	}
	return up, nil
}

// anew begins an upload over the file fi, with its permissions.
func (u *uploads) anew(name string, flag int, fi iofs.FileInfo) (*upload, error) {
	f, err := u.begin(name, flag, fi.Mode().Perm())
	if err != nil {
		return nil, err
	}
	if err := f.SetAttr(Attr{Set: AttrMode, Mode: fi.Mode().Perm()}); err != nil {
		return nil, errors.Join(err, f.Abort())
	}
	if o, ok := fi.Sys().(*Owner); ok { // as far as the server may
		_ = f.SetAttr(Attr{Set: AttrOwner, UID: o.UID, GID: o.GID})
	}
	return f, nil
}

// attempts bounds how often the temporary file is opened again because another
// session of the user finished or began with it in the same moment.
const attempts = 8

// begin begins an upload with an empty file.
func (u *uploads) begin(name string, flag int, perm iofs.FileMode) (*upload, error) {
	temp := partName(u.user, name)
	flags := flag&^os.O_TRUNC | os.O_CREATE | os.O_EXCL
	for range attempts {
		f, err := u.layer.OpenFile(temp, flags, perm)
		if errors.Is(err, iofs.ErrExist) {
			if u.clear(temp) != nil { // in use by another session
				temp = join(path.Dir(name), newTempName())
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := u.take(f, temp); err == nil || errors.Is(err, ErrNotSupported) {
			return u.add(f, name, temp, flag), nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fail("open", name, iofs.ErrExist)
}

// clear removes a broken upload. It fails if the upload is not broken but goes
// on in another session.
func (u *uploads) clear(temp string) error {
	f, err := u.layer.OpenFile(temp, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = u.take(f, temp)
	if err == nil {
		err = u.layer.Remove(temp)
	}
	return errors.Join(err, f.Close())
}

// resume goes on with a broken upload.
func (u *uploads) resume(name string, flag int) (file, error) {
	temp := partName(u.user, name)
	f, err := u.layer.OpenFile(temp, flag&^(os.O_CREATE|os.O_EXCL|os.O_TRUNC), 0)
	if err != nil {
		return nil, err
	}
	if err := u.take(f, temp); err != nil {
		return nil, errors.Join(fail("open", name, iofs.ErrPermission), f.Close())
	}
	return u.add(f, name, temp, flag), nil
}

// take locks f, and makes sure that temp is still its name: the session that
// had the lock before may have finished the upload.
func (u *uploads) take(f file, temp string) error {
	if err := f.tryLock(); err != nil {
		return err
	}
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := u.layer.Lstat(temp)
	if err != nil {
		return err
	}
	if idOf(opened) != idOf(named) {
		return iofs.ErrNotExist
	}
	return nil
}

func (u *uploads) add(f file, name, temp string, flag int) *upload {
	up := &upload{file: f, u: u, name: name, temp: temp, replace: flag&os.O_EXCL == 0}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[name] = up
	return up
}

// forget takes up out of those that are open.
func (u *uploads) forget(up *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, other := range u.open {
		if other == up {
			delete(u.open, name)
		}
	}
}

// part is the broken upload of this user to name, if it is younger than the
// file fi that stands there; fi is nil if none does.
func (u *uploads) part(name string, fi iofs.FileInfo) iofs.FileInfo {
	if fi != nil && !fi.Mode().IsRegular() {
		return nil
	}
	if !canLock {
		return nil // one that is broken cannot be told from one that is not
	}
	part, err := u.layer.Lstat(partName(u.user, name))
	if err != nil || fi != nil && part.ModTime().Before(fi.ModTime()) || part.Size() == 0 {
		return nil
	}
	return part
}

func (u *uploads) Stat(name string) (iofs.FileInfo, error) { return u.Lstat(name) }

func (u *uploads) Lstat(name string) (iofs.FileInfo, error) {
	if at := u.at(name); at != name {
		if fi, err := u.layer.Lstat(at); err == nil {
			return named(fi, path.Base(name)), nil
		}
	}
	fi, err := u.layer.Lstat(name)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	if part := u.part(name, fi); part != nil {
		return named(part, path.Base(name)), nil
	}
	return fi, err
}

func (u *uploads) SetAttr(name string, a Attr) error { return u.layer.SetAttr(u.at(name), a) }

// maxSwept bounds the stale files that one listing removes.
const maxSwept = 64

// ReadDir leaves out temporary files and removes stale ones on the way.
func (u *uploads) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		swept := 0
		for fi, err := range u.layer.ReadDir(name) {
			if err == nil && isTemp(fi.Name()) {
				if stale(fi, u.keep) && swept < maxSwept {
					swept++
					_ = discard(u.layer, join(name, fi.Name())) // the next listing tries again
				}
				continue
			}
			if !yield(fi, err) {
				return
			}
		}
	}
}

// Remove also gives up an upload to name, running or broken.
func (u *uploads) Remove(name string) error {
	err := u.layer.Remove(name)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if up := u.running(name); up != nil && up.remove() {
		return nil
	}
	if u.part(name, nil) == nil {
		return err
	}
	if cleared := u.clear(partName(u.user, name)); err != nil {
		return cleared
	}
	return nil
}

// Rename takes running uploads along: one to oldname itself, and those to files
// in the directory that oldname may be.
func (u *uploads) Rename(oldname, newname string, replace bool) error {
	up := u.running(oldname)
	err := u.layer.Rename(oldname, newname, replace)
	if up != nil && errors.Is(err, iofs.ErrNotExist) {
		err = u.free(newname, replace)
	}
	if err != nil {
		return err
	}
	u.moved(oldname, newname)
	return nil
}

// free reports why name cannot become the target of a running upload.
func (u *uploads) free(name string, replace bool) error {
	if _, err := u.layer.Lstat(path.Dir(name)); err != nil {
		return err
	}
	if _, err := u.layer.Lstat(name); err == nil && !replace {
		return iofs.ErrExist
	}
	return nil
}

// moved notes that running uploads have another target.
func (u *uploads) moved(oldname, newname string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, up := range u.open {
		if !below(oldname, name) {
			continue
		}
		delete(u.open, name)
		u.open[up.move(oldname, newname)] = up
	}
}

func (u *uploads) Close() error {
	u.mu.Lock()
	open := u.open
	u.open = map[string]*upload{}
	u.mu.Unlock()
	for _, up := range open {
		up.leave()
	}
	return u.layer.Close()
}
