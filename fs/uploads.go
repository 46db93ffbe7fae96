package fs

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// uploads makes whole-file uploads atomic: what is written goes to a hidden
// file beside the target, which gets the name when it is closed. So a file under
// its name is always a whole one, the old or the new. docs/uploads.md has the
// rules.
//
// That is done for every open that begins a file: one that makes it, or
// truncates it, or could do both and writes from the beginning (see rewrite).
// Any other open of an existing file changes it in place, since it is meant to
// change a part: a client that resumes, an editor over sshfs.
//
// The person who uploads sees the unfinished upload under the name, in all
// sessions; others see what was there before. An upload whose client disappears
// is kept, and an open without truncation goes on with it.
//
// A file that is replaced gives the new one its permissions; other names of it
// (hard links) keep the old content.
type uploads struct {
	layer
	ledger *ledger
	host   string        // the folder, by its one name on this machine, without a slash at the end
	person string        // whose session it is
	as     *actor        // the person, if the files are theirs
	atomic bool          // else files are written in place, and only others' uploads matter
	keep   time.Duration // how long a broken upload is kept
}

// path is that of name on this machine.
func (u *uploads) path(name string) string { return u.host + name }

// unfinished is the person's own upload to name, as it is shown, and the name of its
// temporary file. The name is empty if there is no such upload. A broken upload is
// removed when the file that it would replace has changed.
func (u *uploads) unfinished(name string) (up iofs.FileInfo, temp string, err error) {
	if !u.atomic || isTemp(path.Base(name)) {
		return nil, "", nil
	}
	if up := u.newest(name); up != nil {
		s, _ := u.ledger.state(up)
		temp := join(path.Dir(name), path.Base(s.temp))
		switch fi, err := u.layer.Lstat(temp); {
		case err == nil:
			return named(fi, path.Base(name)), temp, nil
		case exhausted(err):
			return nil, "", err
		}
	}
	temp = partName(u.person, name)
	part, err := u.layer.Lstat(temp)
	if exhausted(err) {
		return nil, "", err
	}
	if err != nil || part.Size() == 0 || !u.as.owns(part) { // others on this disk can choose any name
		return nil, "", nil
	}
	fi, err := u.layer.Lstat(name)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
	case err != nil:
		return nil, "", err
	case !fi.Mode().IsRegular() || changed(part).Before(changed(fi)),
		changed(part).Equal(changed(fi)) && part.ModTime().Before(fi.ModTime()): // the clock has steps of 4 ms
		_ = clearTemp(u.layer, temp)
		return nil, "", nil
	}
	return named(part, path.Base(name)), temp, nil
}

// newest is the person's running upload to name that was opened last, or nil.
func (u *uploads) newest(name string) *upload {
	for _, up := range slices.Backward(u.ledger.to(u.path(name))) {
		if up.u.person == u.person {
			return up
		}
	}
	return nil
}

func (u *uploads) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	exclusive := flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL
	if exclusive { // until the name is taken
		defer u.ledger.lock(u.path(name))()
	}
	if exclusive && len(u.ledger.to(u.path(name))) > 0 {
		return nil, iofs.ErrExist
	}
	if flag&(os.O_TRUNC|os.O_EXCL) == 0 { // else nothing is continued
		_, temp, err := u.unfinished(name)
		if err != nil {
			return nil, err
		}
		if temp != "" {
			f, err := u.openUnfinished(name, temp, flag)
			if !errors.Is(err, iofs.ErrNotExist) { // otherwise it has got its name meanwhile
				return f, err
			}
		}
	}
	if !u.atomic || !writes(flag) || isTemp(path.Base(name)) { // a temporary file is another layer's
		return u.layer.OpenFile(name, flag, perm)
	}
	var up *upload
	fi, err := u.layer.Lstat(name)
	switch {
	case err == nil && exclusive:
		err = iofs.ErrExist
	case err == nil && fi.Mode()&iofs.ModeSymlink != 0:
		err = ErrTooManyLinks
	case err == nil && flag&openFlags == os.O_WRONLY|os.O_CREATE:
		return u.rewrite(name, flag, perm)
	case err == nil && flag&os.O_TRUNC == 0:
		return u.layer.OpenFile(name, flag, perm)
	case err == nil:
		var old file
		if old, err = u.layer.OpenFile(name, os.O_WRONLY, 0); err == nil { // what cannot be written is not replaced either
			err = old.Close()
		}
		if err == nil {
			up, err = u.beginOver(name, flag, fi)
		}
	case flag&os.O_CREATE != 0 && errors.Is(err, iofs.ErrNotExist):
		up, err = u.begin(name, flag, perm)
	}
	if err != nil {
		return nil, err
	}
	return up, nil
}

// beginOver begins an upload over the file fi, with its permissions.
func (u *uploads) beginOver(name string, flag int, fi iofs.FileInfo) (*upload, error) {
	up, err := u.begin(name, flag, fi.Mode().Perm())
	if err != nil {
		return nil, err
	}
	made, err := up.Stat()
	if err == nil && made.Mode() != fi.Mode().Perm() {
		err = up.SetAttr(Attr{Set: AttrMode, Mode: fi.Mode().Perm()})
	}
	if err != nil {
		return nil, errors.Join(err, up.Abort())
	}
	is, o := made.Sys().(*Owner), fi.Sys().(*Owner)
	if is.UID == o.UID && is.GID == o.GID {
		return up, nil
	}
	if up.SetAttr(Attr{Set: AttrOwner, UID: o.UID, GID: o.GID}) != nil { // as far as it is permitted
		_ = up.SetAttr(Attr{Set: AttrOwner, UID: sameOwner, GID: o.GID})
	}
	return up, nil
}

// begin begins an upload with an empty file. The file has the name of partName, by
// which a broken upload is found again, unless another upload of the person has it, or
// others begin at the same moment. Then it is a name that only this one knows.
func (u *uploads) begin(name string, flag int, perm iofs.FileMode) (up *upload, err error) {
	part, own := partName(u.person, name), join(path.Dir(name), newTempName())
	for _, temp := range []string{part, part, own} { // the first may have to clear a broken upload
		var f file
		f, err = u.layer.OpenFile(temp, flag&^os.O_TRUNC|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, iofs.ErrExist) {
			_ = clearTemp(u.layer, temp) // unless it is in use
			continue
		}
		if err != nil {
			return nil, err
		}
		if up, err = u.list(f, name, temp); err == nil {
			return up, nil
		}
		if cerr := f.Close(); cerr != nil {
			return nil, cerr
		}
	}
	return nil, err
}

// list makes f, which is temp, an upload to name.
func (u *uploads) list(f file, name, temp string) (*upload, error) {
	fi, err := lockTemp(u.layer, f, temp)
	if err != nil && !errors.Is(err, ErrNotSupported) {
		return nil, err
	}
	up := &upload{file: f, u: u, begun: changed(fi), uploadState: uploadState{name: name, temp: temp}}
	u.ledger.add(up)
	before, err := u.layer.identify(name)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		u.ledger.drop(up)
		return nil, err
	}
	u.ledger.found(up, before)
	return up, nil
}

// openUnfinished opens the person's unfinished upload. Writing continues it. If this
// session has a handle of the upload, the new handle is a second one. A handle of
// another session is replaced: its client may be gone without the server knowing.
func (u *uploads) openUnfinished(name, temp string, flag int) (file, error) {
	defer u.ledger.lock(u.path(name))()
	running := u.newest(name)
	if running != nil && running.u != u && writes(flag) && u.ledger.drop(running) {
		_ = running.file.Close() // which unlocks it
	}
	f, err := u.layer.OpenFile(temp, flag&^os.O_CREATE, 0)
	if err != nil || !writes(flag) || running != nil && running.u == u {
		return f, err
	}
	up, err := u.list(f, name, temp)
	if err != nil { // another process continues it
		return nil, errors.Join(iofs.ErrPermission, f.Close())
	}
	return up, nil
}

func (u *uploads) Lstat(name string) (iofs.FileInfo, error) {
	if fi, temp, err := u.unfinished(name); temp != "" || err != nil {
		return fi, err
	}
	return u.layer.Lstat(name)
}

func (u *uploads) identify(name string) (iofs.FileInfo, error) {
	_, temp, err := u.unfinished(name)
	if err != nil {
		return nil, err
	}
	fi, err := u.layer.identify(cmp.Or(temp, name))
	if err != nil {
		return nil, err
	}
	return named(fi, path.Base(name)), nil
}

func (u *uploads) SetAttr(name string, a Attr) error {
	_, temp, err := u.unfinished(name)
	if err != nil {
		return err
	}
	return u.layer.SetAttr(cmp.Or(temp, name), a)
}

// maxSwept bounds the stale files that one listing removes, and maxListed the
// unfinished uploads that it shows.
const (
	maxSwept  = 64
	maxListed = 1000
)

// ReadDir shows the person's unfinished uploads as Lstat does. It leaves out
// temporary files and removes stale ones on the way.
func (u *uploads) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		unfinished, err := u.unfinishedIn(name)
		if err != nil {
			yield(nil, err)
			return
		}
		swept := 0
		for fi, err := range u.layer.ReadDir(name) {
			if err != nil {
				yield(nil, err)
				return
			}
			if isTemp(fi.Name()) {
				if stale(fi, u.keep) && swept < maxSwept {
					swept++
					_ = clearTemp(u.layer, join(name, fi.Name())) // the next listing tries again
				}
				continue
			}
			if own := unfinished[fi.Name()]; own != nil {
				delete(unfinished, fi.Name())
				fi = own
			}
			if !yield(fi, nil) {
				return
			}
		}
		for _, fi := range unfinished {
			if !yield(fi, nil) {
				return
			}
		}
	}
}

// unfinishedIn is the person's unfinished uploads to names in a directory. The error says
// why there may be more.
func (u *uploads) unfinishedIn(dir string) (found map[string]iofs.FileInfo, err error) {
	if !u.atomic {
		return nil, nil
	}
	found = map[string]iofs.FileInfo{}
	failed := func(why error) {
		if exhausted(why) {
			err = why
		}
	}
	note := func(base string) {
		fi, temp, unknown := u.unfinished(join(dir, base))
		failed(unknown)
		if temp != "" && len(found) < maxListed {
			found[base] = fi
		}
	}
	for _, up := range u.ledger.in(u.path(dir)) {
		if s, _ := u.ledger.state(up); up.u.person == u.person {
			note(path.Base(s.name))
		}
	}
	for base, unread := range u.layer.names(dir) {
		failed(unread)
		if target, own := strings.CutPrefix(base, partPrefix(u.person)); own {
			note(target)
		}
	}
	return found, err
}

func (u *uploads) Mkdir(name string, perm iofs.FileMode) error {
	return u.make(name, func() error { return u.layer.Mkdir(name, perm) })
}

func (u *uploads) Symlink(target, name string) error {
	return u.make(name, func() error { return u.layer.Symlink(target, name) })
}

func (u *uploads) Link(oldname, newname string) error {
	return u.make(newname, func() error { return u.layer.Link(oldname, newname) })
}

// make calls do, which makes something with a name that must not be shown yet.
func (u *uploads) make(name string, do func() error) error {
	if _, temp, err := u.unfinished(name); temp != "" || err != nil {
		return cmp.Or(err, iofs.ErrExist)
	}
	return do()
}

// Remove also gives up the person's unfinished uploads to name.
func (u *uploads) Remove(name string) error {
	defer u.ledger.lock(u.path(name))()
	_, temp, err := u.unfinished(name)
	if err != nil {
		return err
	}
	err = u.layer.Remove(name)
	if temp == "" || err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	for _, up := range u.ledger.to(u.path(name)) {
		if up.u.person == u.person && u.ledger.drop(up) {
			_ = up.discard()
		}
	}
	return discard(u.layer, temp)
}

// Rmdir removes leftovers of uploads with the directory that the person does not
// see. An upload that somebody is just making keeps the directory.
func (u *uploads) Rmdir(name string) error {
	err := u.layer.Rmdir(name)
	if !errors.Is(err, ErrNotEmpty) || len(u.ledger.in(u.path(name))) > 0 {
		return err
	}
	if own, unknown := u.unfinishedIn(name); unknown != nil || len(own) > 0 {
		return cmp.Or(unknown, err)
	}
	for base := range u.layer.names(name) {
		if !isTemp(base) {
			return err
		}
	}
	for base := range u.layer.names(name) {
		if isTemp(base) && clearTemp(u.layer, join(name, base)) != nil {
			return err
		}
	}
	return u.layer.Rmdir(name)
}

// Rename takes the person's unfinished uploads along: those to oldname itself,
// and everybody's to files in the directory that oldname may be.
func (u *uploads) Rename(oldname, newname string, replace bool) error {
	from, to := u.path(oldname), u.path(newname)
	if from == to {
		return u.layer.Rename(oldname, newname, replace)
	}
	defer u.ledger.lock(from, to)()
	_, temp, err := u.unfinished(oldname)
	_, other, nerr := u.unfinished(newname)
	if err = cmp.Or(err, nerr); err != nil {
		return err
	}
	if other != "" && !replace {
		return iofs.ErrExist
	}
	err = u.layer.Rename(oldname, newname, replace)
	if temp != "" && errors.Is(err, iofs.ErrNotExist) {
		err = u.checkTarget(newname, replace)
	}
	if err != nil {
		return err
	}
	for _, up := range u.ledger.to(to) { // newname has something newer
		if u.ledger.drop(up) {
			_ = up.discard()
		}
	}
	u.ledger.movedBelow(from, to)
	part := partName(u.person, newname)
	if temp != "" {
		err = u.layer.Rename(temp, part, true)
	}
	for _, up := range u.ledger.to(from) {
		switch s, _ := u.ledger.state(up); {
		case up.u.person != u.person:
		case path.Base(s.temp) == path.Base(temp):
			before, _ := u.layer.identify(newname)
			u.ledger.move(up, to, path.Base(part), before)
		case u.ledger.drop(up): // the other one was opened later
			_ = up.discard()
		}
	}
	return err
}

// checkTarget returns why name cannot become the target of an upload.
func (u *uploads) checkTarget(name string, replace bool) error {
	if _, err := u.layer.Lstat(path.Dir(name)); err != nil {
		return err
	}
	fi, err := u.layer.Lstat(name)
	switch {
	case exhausted(err):
		return err
	case err == nil && fi.IsDir():
		return ErrIsDir
	case err == nil && !replace:
		return iofs.ErrExist
	}
	return nil
}

func (u *uploads) Close() error {
	for _, up := range u.ledger.match(func(up *upload) bool { return up.u == u }) {
		_ = up.leave(func() error { return nil })
	}
	return u.layer.Close()
}
