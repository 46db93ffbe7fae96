package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// links follows symbolic links. It is the topmost layer, above the guard, and no
// layer below it follows any: so the guard decides about the name a link leads
// to, and a link cannot reach what the policy keeps from its reader. A link is
// resolved as in a chroot at the root of the folder it is in: an absolute
// target starts there, and ".." stops there.
//
// It also answers for names that end in a slash, as Linux does: the name is that
// of a directory, a link before the slash is followed, and no operation makes,
// moves or removes anything else by such a name.
type links struct {
	layer
	below  layer                    // reads links without asking the guard
	folder func(name string) string // the root of the folder that name is in
	lists  func(name string) bool   // whether the person may list the directory
}

// Bounds of following: links in one name, as in Linux, and how often a name is
// resolved again because somebody changed a link meanwhile.
const (
	maxLinks = 40
	maxTurns = 8
)

// last says how a link is treated that is the last element of a name, and what a
// slash after it means: the name must then be that of a directory.
type last int

const (
	followed last = iota
	itself        // the link is meant; before a slash it is followed
	nameOnly      // the link is meant; before a slash it is not a directory
)

// cutSlash is name without the slash at its end, and whether there was one.
func cutSlash(name string) (string, bool) {
	if n := len(name) - 1; n > 0 && name[n] == '/' && name[n-1] != '/' {
		return name[:n], true
	}
	return name, false
}

// follow calls do with name and, whenever do meets a link, again with where the
// links lead. Its error is about the name as it was given.
func (l *links) follow(op, name string, end last, do func(name string) error) error {
	real, slash := cutSlash(name)
	err := valid(real)
	if err == nil && slash {
		err = l.directory(real, end)
		if end == itself {
			end = followed
		}
	}
	if err != nil {
		return fail(op, name, err)
	}
	for range maxTurns {
		err := do(real)
		if !errors.Is(err, ErrTooManyLinks) {
			return fail(op, name, err)
		}
		if real, err = l.resolve(real, end); err != nil {
			return fail(op, name, err)
		}
	}
	return fail(op, name, ErrTooManyLinks)
}

// directory fails unless name is a directory, or a link to one where end follows
// links.
func (l *links) directory(name string, end last) error {
	stat := l.Stat
	if end == nameOnly {
		stat = l.Lstat
	}
	fi, err := stat(name)
	if err == nil && !fi.IsDir() {
		err = ErrNotDir
	}
	return err
}

// resolve is name without links. What does not exist is treated as no link: the
// operation itself then fails, with an error that its caller may see.
func (l *links) resolve(name string, end last) (string, error) {
	w := route{folder: l.folder, look: func(name, _ string) (string, error) {
		target, err := l.below.Readlink(name)
		if exhausted(err) {
			return "", err
		}
		return target, nil // "" after any other error
	}}
	return w.from("/", "/", name, "", end)
}

// route goes along a name, element by element.
type route struct {
	folder func(name string) string
	// look returns the target of a link, "" for anything else, or an error that
	// ends the route. rest is what follows the element, with its slash.
	look  func(name, rest string) (target string, err error)
	file  bool // set by look: the element is neither a link nor a directory
	links int  // followed so far
}

// from resolves todo in the directory done. after is the rest of the name,
// which comes after todo. ".." does not leave root.
func (w *route) from(root, done, todo, after string, end last) (string, error) {
	for todo != "" {
		todo = strings.TrimLeft(todo, "/")
		n := strings.IndexByte(todo+"/", '/')
		base, rest := todo[:n], todo[n:]
		todo = rest
		next := join(done, base)
		switch {
		case base == "" || base == ".":
			continue
		case w.file:
			return "", ErrNotDir
		case base == "..":
			if done != root {
				done = path.Dir(done)
			}
			continue
		case rest == "" && end != followed:
			return next, nil
		}
		target, err := w.look(next, rest+after)
		if err != nil {
			return "", err
		}
		if target == "" {
			done = next
			continue
		}
		if w.links++; w.links > maxLinks {
			return "", ErrTooManyLinks
		}
		folder := w.folder(next)
		if strings.HasPrefix(target, "/") {
			done = folder
		}
		if done, err = w.from(folder, done, target, rest+after, followed); err != nil {
			return "", err
		}
	}
	return done, nil
}

// find is follow for an operation that has a result.
func find[T any](l *links, op, name string, end last, do func(name string) (T, error)) (v T, err error) {
	err = l.follow(op, name, end, func(name string) (err error) {
		v, err = do(name)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func (l *links) OpenFile(name string, flag int, perm iofs.FileMode) (File, error) {
	end := followed
	if flag&os.O_CREATE != 0 {
		if _, slash := cutSlash(name); slash {
			return nil, fail("open", name, ErrIsDir)
		}
		if flag&os.O_EXCL != 0 {
			end = itself
		}
	}
	return find(l, "open", name, end, func(name string) (File, error) { return l.layer.OpenFile(name, flag, perm) })
}

func (l *links) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		err := l.follow("readdir", name, followed, func(name string) error {
			for fi, err := range l.layer.ReadDir(name) {
				if err != nil {
					return err
				}
				if !yield(fi, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

func (l *links) Stat(name string) (iofs.FileInfo, error)  { return l.stat("stat", name, followed) }
func (l *links) Lstat(name string) (iofs.FileInfo, error) { return l.stat("lstat", name, itself) }

func (l *links) stat(op, name string, end last) (iofs.FileInfo, error) {
	_, slash := cutSlash(name)
	return find(l, op, name, end, func(real string) (iofs.FileInfo, error) {
		fi, err := l.layer.Lstat(real)
		if err == nil && (slash || end == followed) && fi.Mode()&iofs.ModeSymlink != 0 {
			err = ErrTooManyLinks
		}
		if err != nil {
			return nil, err
		}
		return named(fi, path.Base(name)), nil
	})
}

func (l *links) Readlink(name string) (string, error) {
	_, slash := cutSlash(name)
	return find(l, "readlink", name, itself, func(name string) (string, error) {
		if slash {
			return "", iofs.ErrInvalid // a directory
		}
		return l.layer.Readlink(name)
	})
}

func (l *links) Mkdir(name string, perm iofs.FileMode) error {
	name, _ = cutSlash(name)
	return l.follow("mkdir", name, nameOnly, func(name string) error { return l.layer.Mkdir(name, perm) })
}

func (l *links) Remove(name string) error { return l.follow("remove", name, nameOnly, l.layer.Remove) }

func (l *links) Rmdir(name string) error { return l.follow("rmdir", name, nameOnly, l.layer.Rmdir) }

func (l *links) Symlink(target, name string) error {
	cut, err := l.fresh(name)
	if err != nil {
		return fail("symlink", name, err)
	}
	return l.follow("symlink", cut, nameOnly, func(name string) error { return l.layer.Symlink(target, name) })
}

// fresh is the name of a link to be made. It fails for a name with a slash at its
// end, where only a directory can be made.
func (l *links) fresh(name string) (string, error) {
	cut, slash := cutSlash(name)
	if !slash {
		return name, nil
	}
	if _, err := l.Lstat(cut); err != nil {
		return "", err
	}
	return "", iofs.ErrExist
}

func (l *links) SetAttr(name string, a Attr) error {
	end := followed
	if _, slash := cutSlash(name); a.NoFollow && !slash {
		end = itself
	}
	a.NoFollow = end == itself
	return l.follow("setattr", name, end, func(name string) error { return l.layer.SetAttr(name, a) })
}

// Realpath follows the links that the person may see and read.
func (l *links) Realpath(name string) (string, error) {
	if len(name) > maxName || !strings.HasPrefix(name, "/") || strings.IndexByte(name, 0) >= 0 {
		return "", fail("realpath", name, iofs.ErrInvalid)
	}
	w := route{folder: l.folder}
	w.look = func(name, rest string) (string, error) {
		fi, err := l.layer.Lstat(name)
		switch {
		case err == nil && fi.Mode()&iofs.ModeSymlink != 0:
			target, err := l.layer.Readlink(name)
			if errors.Is(err, iofs.ErrPermission) {
				return "", nil
			}
			return target, err
		case err == nil:
			w.file = !fi.IsDir()
			return "", nil
		case exhausted(err):
			return "", err
		case rest == "" && (errors.Is(err, iofs.ErrNotExist) || errors.Is(err, iofs.ErrPermission)),
			!l.lists(path.Dir(name)):
			return "", nil
		}
		return "", err
	}
	real, err := w.from("/", "/", name, "", followed)
	return real, fail("realpath", name, err)
}

func (l *links) StatFS(name string) (Usage, error) {
	return find(l, "statfs", name, followed, l.layer.StatFS)
}

func (l *links) Rename(oldname, newname string, replace bool) error {
	cut, slash := cutSlash(newname)
	if slash {
		if err := l.directory(strings.TrimSuffix(oldname, "/"), nameOnly); err != nil {
			return fail("rename", oldname, err)
		}
	}
	return l.pair("rename", oldname, cut, func(oldname, newname string) error {
		return l.layer.Rename(oldname, newname, replace)
	})
}

func (l *links) Link(oldname, newname string) error {
	cut, err := l.fresh(newname)
	if err != nil {
		return fail("link", oldname, err)
	}
	return l.pair("link", oldname, cut, l.layer.Link)
}

// pair is follow for two names. When a link is met, both are resolved.
func (l *links) pair(op, oldname, newname string, do func(oldname, newname string) error) error {
	if err := valid(newname); err != nil {
		return fail(op, newname, err)
	}
	real := newname
	first := true
	return l.follow(op, oldname, nameOnly, func(oldname string) (err error) {
		if !first {
			if real, err = l.resolve(real, nameOnly); err != nil {
				return err
			}
		}
		first = false
		return do(oldname, real)
	})
}
