package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// links follows symbolic links. It stands on top, above the guard, and no layer
// below it follows any: so the guard decides about the name a link leads to,
// and a link cannot reach what the policy keeps from its reader. A link is
// resolved as in a chroot at the root of the folder it is in: an absolute
// target starts there, and ".." stops there.
type links struct {
	layer
	below  layer                    // reads links without asking the guard
	folder func(name string) string // the root of the folder that name is in
}

// Bounds of following: links in one name, as in Linux, and how often a name is
// looked at again since somebody changed a link meanwhile.
const (
	maxLinks = 40
	maxTurns = 8
)

// last says whether the last element of a name is followed too.
type last bool

// follow calls do with name and, whenever do meets a link, again with where the
// links lead. Its error is about the name as it was given.
func (l *links) follow(op, name string, end last, do func(name string) error) error {
	if err := valid(name); err != nil {
		return fail(op, name, err)
	}
	real := name
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

// resolve is name without links. What is not there counts as no link: the
// operation itself will tell, if its caller may know.
func (l *links) resolve(name string, end last) (string, error) {
	root := l.folder(name)
	done, todo := root, strings.TrimPrefix(name, root)
	for n := 0; todo != ""; {
		var base string
		base, todo, _ = strings.Cut(strings.TrimLeft(todo, "/"), "/")
		switch {
		case base == "" || base == ".":
			continue
		case base == "..":
			if done != root {
				done = path.Dir(done)
			}
			continue
		}
		next := join(done, base)
		if todo == "" && !end {
			return next, nil
		}
		target, err := l.below.Readlink(next)
		if err != nil {
			done = next
			continue
		}
		if n++; n > maxLinks {
			return "", ErrTooManyLinks
		}
		root = l.folder(next)
		if strings.HasPrefix(target, "/") {
			done = root
		}
		todo = target + "/" + todo
	}
	return done, nil
}

func (l *links) OpenFile(name string, flag int, perm iofs.FileMode) (f File, err error) {
	exclusive := flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL // looks at the link itself
	err = l.follow("open", name, last(!exclusive), func(name string) error {
		f, err = l.layer.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (l *links) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		err := l.follow("readdir", name, true, func(name string) error {
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

func (l *links) Stat(name string) (fi iofs.FileInfo, err error) {
	err = l.follow("stat", name, true, func(real string) error {
		fi, err = l.layer.Lstat(real)
		if err == nil && fi.Mode()&iofs.ModeSymlink != 0 {
			return ErrTooManyLinks
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return named(fi, path.Base(name)), nil
}

func (l *links) Lstat(name string) (fi iofs.FileInfo, err error) {
	err = l.follow("lstat", name, false, func(name string) error {
		fi, err = l.layer.Lstat(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fi, nil
}

func (l *links) Readlink(name string) (target string, err error) {
	err = l.follow("readlink", name, false, func(name string) error {
		target, err = l.layer.Readlink(name)
		return err
	})
	return target, err
}

func (l *links) Mkdir(name string, perm iofs.FileMode) error {
	return l.follow("mkdir", name, false, func(name string) error { return l.layer.Mkdir(name, perm) })
}

func (l *links) Remove(name string) error { return l.follow("remove", name, false, l.layer.Remove) }
func (l *links) Rmdir(name string) error  { return l.follow("rmdir", name, false, l.layer.Rmdir) }

func (l *links) Symlink(target, name string) error {
	return l.follow("symlink", name, false, func(name string) error { return l.layer.Symlink(target, name) })
}

func (l *links) SetAttr(name string, a Attr) error {
	return l.follow("setattr", name, last(!a.NoFollow), func(name string) error { return l.layer.SetAttr(name, a) })
}

func (l *links) StatFS(name string) (u Usage, err error) {
	err = l.follow("statfs", name, true, func(name string) error {
		u, err = l.layer.StatFS(name)
		return err
	})
	return u, err
}

func (l *links) Rename(oldname, newname string, replace bool) error {
	return l.pair("rename", oldname, newname, func(oldname, newname string) error {
		return l.layer.Rename(oldname, newname, replace)
	})
}

func (l *links) Link(oldname, newname string) error {
	return l.pair("link", oldname, newname, l.layer.Link)
}

// pair is follow for two names. When a link is met, both are resolved.
func (l *links) pair(op, oldname, newname string, do func(oldname, newname string) error) error {
	if err := valid(newname); err != nil {
		return fail(op, newname, err)
	}
	real := newname
	first := true
	return l.follow(op, oldname, false, func(oldname string) (err error) {
		if !first {
			if real, err = l.resolve(real, false); err != nil {
				return err
			}
		}
		first = false
		return do(oldname, real)
	})
}
