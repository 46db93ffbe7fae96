package fs

import (
	iofs "io/fs"
	"sync"

	"berth/policy"
)

// maxOwn is how many names a session is known to have made, and maxOwnBytes how
// long they are together. The oldest is forgotten first.
const (
	maxOwn      = 4096
	maxOwnBytes = 512 << 10
)

// own lists what a session made itself in places where it may not see, change or
// rename files. A file is known by its identity too, since another file may have
// the name by now.
type own struct {
	mu    sync.Mutex
	files map[string]fileID
	order []string // of files, oldest first
	bytes int      // in order
}

func (o *own) add(name string, id fileID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files == nil {
		o.files = map[string]fileID{}
	}
	if _, known := o.files[name]; !known {
		o.order = append(o.order, name)
		o.bytes += len(name)
	}
	o.files[name] = id
	for len(o.order) > maxOwn || o.bytes > maxOwnBytes {
		delete(o.files, o.order[0])
		o.bytes -= len(o.order[0])
		o.order = o.order[1:]
	}
}

// rename notes another name of what the session may have made.
func (o *own) rename(oldname, newname string) {
	if id, known := o.get(oldname); known {
		o.add(newname, id)
	}
}

// get is the identity of what the session made under name, if it made anything.
func (o *own) get(name string) (fileID, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, known := o.files[name]
	return id, known
}

// is reports whether fi, which identify found under name, is what the session made.
func (o *own) is(name string, fi iofs.FileInfo) bool {
	id, known := o.get(name)
	return known && id == idOf(fi)
}

// keeps reports whether the session made something under name, and may still use it. It
// may have lost the rights by which it made that.
func (g *guard) keeps(r *rules, name string) bool {
	_, known := g.own.get(name)
	return known && r.Rights(name).Ops&(policy.Write|policy.Mkdir) != 0
}

// made reports whether the session made what has the name now, and may still use it.
func (g *guard) made(r *rules, name string) bool {
	if !g.keeps(r, name) {
		return false
	}
	fi, err := g.layer.identify(name)
	return err == nil && g.own.is(name, fi)
}

// With the rights in owns, a session need not know which files it made.
const owns = policy.List | policy.Overwrite | policy.Rename | policy.SetAttr

// remember notes that the session made name, which identify finds, if that gives
// it any right.
func (g *guard) remember(r *rules, name string, identify func() (iofs.FileInfo, error)) {
	if r.Rights(name).Ops&owns == owns {
		return
	}
	if fi, err := identify(); err == nil {
		g.own.add(name, idOf(fi))
	}
}
