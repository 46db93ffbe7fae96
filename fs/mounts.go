package fs

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"berth/policy"
)

// mounts is several folders in one tree. A directory that exists only because a
// folder lies below it is virtual: it can be listed, and nothing else.
type mounts struct {
	folders []mounted           // the longest path first
	above   map[string][]string // children, by name, of the directories that folders lie in
	made    time.Time           // of the virtual directories
}

// mounted is a folder at its place.
type mounted struct {
	path   string
	host   string // the directory on this machine, as a clean name
	as     *actor // the person whose files they are; nil: they are the service's
	folds  bool   // its file system, or the administrator, compares names as Windows does
	broken error  // why it could not be opened; the layer is then nil
	layer
}

func newMounts(folders []mounted) *mounts {
	m := &mounts{folders: slices.Clone(folders), above: map[string][]string{"/": nil}, made: time.Now()}
	slices.SortFunc(m.folders, func(a, b mounted) int { return len(b.path) - len(a.path) })
	for _, f := range folders {
		for child := f.path; child != "/"; child = path.Dir(child) {
			dir := path.Dir(child)
			if !slices.Contains(m.above[dir], path.Base(child)) {
				m.above[dir] = append(m.above[dir], path.Base(child))
			}
		}
	}
	return m
}

// find is the folder that name is in, and the name there.
func (m *mounts) find(name string) (*mounted, string, error) {
	f := m.around(name)
	switch {
	case f == nil:
		return nil, "", iofs.ErrNotExist
	case f.broken != nil:
		return nil, "", ErrFolderMissing
	}
	return f, cmp.Or(strings.TrimPrefix(name, strings.TrimSuffix(f.path, "/")), "/"), nil
}

// around is the folder that name is in, broken or not; nil if there is none.
func (m *mounts) around(name string) *mounted {
	for i := range m.folders {
		if policy.Below(m.folders[i].path, name) {
			return &m.folders[i]
		}
	}
	return nil
}

// folder is the path of the folder that name is in.
func (m *mounts) folder(name string) string {
	if f := m.around(name); f != nil {
		return f.path
	}
	return "/"
}

// folds reports whether names are compared as Windows does where name is.
func (m *mounts) folds(name string) bool {
	f, _, err := m.find(name)
	return err == nil && f.folds
}

// owned reports whether files are the person's where name is.
func (m *mounts) owned(name string) bool {
	f := m.around(name)
	return f != nil && f.as != nil
}

// hostPath is where name is on this machine, empty if that is not known.
func (m *mounts) hostPath(name string) string {
	f, rel, err := m.find(name)
	if err != nil {
		return ""
	}
	if rel == "/" {
		return f.host
	}
	return join(f.host, rel[1:])
}

// pinned reports whether name is the root of a folder or a directory above one:
// it must stay where it is.
func (m *mounts) pinned(name string) bool {
	_, above := m.above[name]
	return above || slices.ContainsFunc(m.folders, func(f mounted) bool { return f.path == name })
}

// change is find for operations that make, move or remove name.
func (m *mounts) change(name string) (*mounted, string, error) {
	if m.pinned(name) {
		return nil, "", iofs.ErrPermission
	}
	f, rel, err := m.find(name)
	if (err == nil || errors.Is(err, iofs.ErrNotExist)) && m.virtual(path.Dir(name)) {
		err = iofs.ErrPermission // the directory exists, but only to be listed
	}
	return f, rel, err
}

// virtual reports whether a directory above folders is in no folder that works,
// or whether the folder around it has no directory in its place.
func (m *mounts) virtual(name string) bool {
	if _, above := m.above[name]; !above {
		return false
	}
	f, rel, err := m.find(name)
	if err != nil {
		return true
	}
	if rel == "/" {
		return false
	}
	fi, err := f.Lstat(rel)
	return err != nil && !exhausted(err) || err == nil && !fi.IsDir()
}

func (m *mounts) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	if m.pinned(name) {
		return nil, ErrIsDir
	}
	find := m.find
	if writes(flag) {
		find = m.change
	}
	f, rel, err := find(name)
	if err != nil {
		return nil, err
	}
	return f.OpenFile(rel, flag, perm)
}

func (m *mounts) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		shown := m.above[name]
		for _, base := range shown {
			fi, err := m.Lstat(join(name, base))
			if err != nil && !exhausted(err) {
				continue // its host directory is missing
			}
			if !yield(fi, err) || err != nil {
				return
			}
		}
		if m.virtual(name) {
			return
		}
		f, rel, err := m.find(name)
		if err != nil {
			yield(nil, err)
			return
		}
		for fi, err := range f.ReadDir(rel) {
			if err == nil && slices.Contains(shown, fi.Name()) {
				continue // a folder is mounted over it
			}
			if !yield(fi, err) {
				return
			}
		}
	}
}

func (m *mounts) Lstat(name string) (iofs.FileInfo, error)    { return m.stat(name, layer.Lstat) }
func (m *mounts) identify(name string) (iofs.FileInfo, error) { return m.stat(name, layer.identify) }

func (m *mounts) stat(name string, stat func(l layer, name string) (iofs.FileInfo, error)) (iofs.FileInfo, error) {
	if m.virtual(name) {
		return &info{name: path.Base(name), mode: iofs.ModeDir | 0o555, mtime: m.made, owner: Owner{Nlink: 2, Atime: m.made}}, nil
	}
	f, rel, err := m.find(name)
	if err != nil {
		return nil, err
	}
	fi, err := stat(f.layer, rel)
	if err != nil {
		return nil, err
	}
	return named(fi, path.Base(name)), nil
}

func (m *mounts) Readlink(name string) (string, error) {
	if m.pinned(name) {
		return "", iofs.ErrInvalid
	}
	f, rel, err := m.find(name)
	if err != nil {
		return "", err
	}
	return f.Readlink(rel)
}

// create is change for an operation that makes name.
func (m *mounts) create(name string, do func(f *mounted, rel string) error) error {
	if m.pinned(name) {
		return iofs.ErrExist
	}
	return m.alter(name, do)
}

func (m *mounts) alter(name string, do func(f *mounted, rel string) error) error {
	f, rel, err := m.change(name)
	if err != nil {
		return err
	}
	return do(f, rel)
}

func (m *mounts) Mkdir(name string, perm iofs.FileMode) error {
	return m.create(name, func(f *mounted, rel string) error { return f.Mkdir(rel, perm) })
}

func (m *mounts) Symlink(target, name string) error {
	return m.create(name, func(f *mounted, rel string) error { return f.Symlink(target, rel) })
}

func (m *mounts) Remove(name string) error {
	return m.alter(name, func(f *mounted, rel string) error { return f.Remove(rel) })
}

func (m *mounts) Rmdir(name string) error {
	return m.alter(name, func(f *mounted, rel string) error { return f.Rmdir(rel) })
}

func (m *mounts) Rename(oldname, newname string, replace bool) error {
	return m.pair(oldname, newname, func(from, to *mounted, oldrel, newrel string) error {
		err := ErrCrossFolder
		if from == to {
			err = from.Rename(oldrel, newrel, replace)
		}
		if errors.Is(err, ErrCrossFolder) { // or to another file system mounted in the folder
			err = move(from, to, oldrel, newrel, replace)
		}
		return err
	})
}

func (m *mounts) Link(oldname, newname string) error {
	return m.pair(oldname, newname, func(from, to *mounted, oldrel, newrel string) error {
		if from != to {
			return ErrCrossFolder
		}
		return from.Link(oldrel, newrel)
	})
}

func (m *mounts) pair(oldname, newname string, do func(from, to *mounted, oldrel, newrel string) error) error {
	return m.alter(oldname, func(from *mounted, oldrel string) error {
		return m.alter(newname, func(to *mounted, newrel string) error {
			return do(from, to, oldrel, newrel)
		})
	})
}

func (m *mounts) SetAttr(name string, a Attr) error {
	if m.virtual(name) {
		return iofs.ErrPermission
	}
	f, rel, err := m.find(name)
	if err != nil {
		return err
	}
	return f.SetAttr(rel, a)
}

// StatFS of a virtual directory is that of a folder: clients ask for the root
// to find out whether an upload will fit.
func (m *mounts) StatFS(name string) (Usage, error) {
	if m.virtual(name) {
		for _, f := range slices.Backward(m.folders) {
			if f.broken == nil {
				return f.StatFS("/")
			}
		}
	}
	f, rel, err := m.find(name)
	if err != nil {
		return Usage{}, err
	}
	return f.StatFS(rel)
}

func (m *mounts) syncDir(name string) error {
	f, rel, err := m.find(name)
	if err != nil {
		return err
	}
	return f.syncDir(rel)
}

func (m *mounts) names(name string) iter.Seq2[string, error] {
	f, rel, err := m.find(name)
	if err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return f.names(rel)
}

func (m *mounts) Close() error {
	var errs []error
	for _, f := range m.folders {
		if f.broken == nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
