package fs

import (
	"errors"
	iofs "io/fs"
	"path/filepath"
	"sync"

	"berth/policy"
)

// Quotas knows how full the host directories are that have a quota. Each is
// counted once, when something first changes there, and then kept up to date by
// all folders in it. All sessions of a process share one Quotas. The zero value is
// ready; it is safe for concurrent use.
//
// Changes by other programs, and through folders above the directory, are found
// when it is counted again.
type Quotas struct {
	// Counter returns what counts in a host directory, for several nodes that have
	// the same one. Without it this process counts alone.
	Counter func(host string) Counter

	mu    sync.Mutex
	hosts map[string]*usage
}

// of is the usage of a host directory.
func (q *Quotas) of(host string) *usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hosts == nil {
		q.hosts = map[string]*usage{}
	}
	u, known := q.hosts[host]
	if !known {
		u = &usage{host: host, open: map[fileID]*tracked{}}
		if q.Counter != nil {
			u.Counter = q.Counter(host)
		} else {
			u.Counter = new(memoryCounter)
		}
		q.hosts[host] = u
	}
	return u
}

// around is the usage of a host directory and of those that it lies in, as far
// as they are known, the innermost first.
func (q *Quotas) around(host string) []*usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*usage
	for {
		if u := q.hosts[host]; u != nil {
			all = append(all, u)
		}
		above := filepath.Dir(host)
		if above == host {
			return all
		}
		host = above
	}
}

// bounded is the host directories that p bounds.
func (q *Quotas) bounded(p *policy.Policy) map[*usage]Amount {
	all := map[*usage]Amount{}
	for _, f := range p.Folders {
		b := Amount{f.Quota, f.QuotaFiles}
		if f.Path == "/" {
			b = b.tighter(Amount{p.Limits.Quota, p.Limits.QuotaFiles})
		}
		if b != (Amount{}) {
			u := q.of(realHost(f.Host))
			all[u] = all[u].tighter(b)
		}
	}
	return all
}

// realHost is the one name of a host directory, however it is written.
func realHost(host string) string {
	if real, err := filepath.EvalSymlinks(host); err == nil {
		return real
	}
	return filepath.Clean(host)
}

// usage is how full one host directory is.
type usage struct {
	Counter
	host  string
	names sync.Mutex // held while a name is made or removed, so that each is counted once; the outer directory's first

	mu   sync.Mutex // after names, and after tracked.mu
	open map[fileID]*tracked
}

// tracked is a file that is open, in whichever session.
type tracked struct {
	id     fileID
	writes sync.RWMutex // before mu; held for reading by writes under way

	mu       sync.Mutex
	size     int64 // as counted, which writes under way have still to reach
	nameless bool  // its last name was removed: the bytes count until it is closed
	refs     int   // guarded by usage.mu
}

// hold is the file that fresh is, for one more user: fresh itself if nobody has
// it open.
func (u *usage) hold(fresh *tracked) *tracked {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.open[fresh.id]
	if t == nil || fresh.id == (fileID{}) {
		t = fresh
		u.open[t.id] = t
	}
	t.refs++
	return t
}

// release undoes a hold.
func (u *usage) release(t *tracked) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.refs--; t.refs > 0 {
		return
	}
	if u.open[t.id] == t {
		delete(u.open, t.id)
	}
	if t.nameless {
		u.Add(Amount{Bytes: -t.size})
	}
}

// count walks the directory if the Counter needs that. The caller holds names. The
// person sees more of a directory of people than the service does.
func (u *usage) count(as *actor) error {
	return u.Count(func() (Amount, error) {
		n, err := measureHost(u.host, as)
		if as != nil && errors.Is(err, iofs.ErrPermission) { // a directory around those of people
			n, err = measureHost(u.host, nil)
		}
		return n, err
	})
}

func measureHost(host string, as *actor) (n Amount, err error) {
	l, _, err := openAs(as, host, 0, 0)
	if err != nil {
		return n, translate(err)
	}
	defer l.Close()
	return measure(l)
}

// measure counts all names and the bytes of all regular files, those of a file
// with several names once. A directory that cannot be read counts as empty, since
// nobody can fill it either; only the root must be readable.
func measure(l layer) (n Amount, err error) {
	seen := map[fileID]bool{}
	err = walk(l, "/", func(name string, fi iofs.FileInfo, err error) error {
		if err != nil {
			if name == "/" || exhausted(err) {
				return err
			}
			return nil
		}
		n.Files++
		if id := idOf(fi); fi.Mode().IsRegular() && !seen[id] {
			n.Bytes += fi.Size()
			if hardLinks(fi) > 1 {
				seen[id] = true
			}
		}
		return nil
	})
	return n, err
}
