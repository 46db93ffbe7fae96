package fs

import (
	iofs "io/fs"
	"sync"

	"berth/policy"
)

// maxOwn is how many names a session is known to have made; the oldest is
// forgotten first.
const maxOwn = 4096

// own is what a session made itself in places where it may not see, change or
// rename what is there. A file is known by its identity too, for the name may
// since be somebody else's.
type own struct {
	mu    sync.Mutex
	files map[string]fileID
	order []string // of files, oldest first
}

func (o *own) add(name string, id fileID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files == nil {
		o.files = map[string]fileID{}
	}
	if _, known := o.files[name]; !known {
		o.order = append(o.order, name)
	}
	o.files[name] = id
	if len(o.order) > maxOwn {
		delete(o.files, o.order[0])
		o.order = o.order[1:]
	}
}

func (o *own) rename(oldname, newname string) {
	o.mu.Lock()
	id, known := o.files[oldname]
	o.mu.Unlock()
	if known {
		o.add(newname, id)
	}
}

func (o *own) has(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, known := o.files[name]
	return known
}

// is reports whether fi, found under name, is what the session made.
func (o *own) is(name string, fi iofs.FileInfo) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, known := o.files[name]
	return known && id == idOf(fi)
}

// isFile is is for an open file.
func (o *own) isFile(name string, f File) bool {
	fi, err := f.Stat()
	return err == nil && o.is(name, fi)
}

// current reports whether what stands under name now was made by the session.
func (o *own) current(l layer, name string) bool {
	if !o.has(name) {
		return false
	}
	fi, err := l.Lstat(name)
	return err == nil && o.is(name, fi)
}

// owns are the rights that make knowing one's own files unnecessary.
const owns = policy.List | policy.Overwrite | policy.Rename | policy.SetAttr

// remember notes that the session made name, if that gives it any right.
func (g *guard) remember(r *rules, name string) {
	if r.Rights(name).Ops&owns == owns {
		return
	}
	if fi, err := g.layer.Lstat(name); err == nil {
		g.own.add(name, idOf(fi))
	}
}

// rememberFile is remember for a file that is still open, and so perhaps not
// yet under its name.
func (g *guard) rememberFile(r *rules, name string, f File) {
	if r.Rights(name).Ops&owns == owns {
		return
	}
	if fi, err := f.Stat(); err == nil {
		g.own.add(name, idOf(fi))
	}
}
