package fs

import (
	iofs "io/fs"
	"path/filepath"
	"sync"
	"time"

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
	mu    sync.Mutex
	hosts map[string]*usage
}

// recount is how old a count may be when a session comes to a directory that no
// session was using: other programs may have changed the directory since.
const recount = time.Hour

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

// bounds is how much a host directory may hold. 0 means no limit.
type bounds struct{ bytes, files int64 }

// tighter is what both b and c allow.
func (b bounds) tighter(c bounds) bounds {
	return bounds{smaller(b.bytes, c.bytes), smaller(b.files, c.files)}
}

func smaller(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// bounded is the host directories that p bounds.
func (q *Quotas) bounded(p *policy.Policy) map[*usage]bounds {
	all := map[*usage]bounds{}
	for _, f := range p.Folders {
		b := bounds{f.Quota, f.QuotaFiles}
		if f.Path == "/" {
			b = b.tighter(bounds{p.Limits.Quota, p.Limits.QuotaFiles})
		}
		if b != (bounds{}) {
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
	host  string
	names sync.Mutex // held while a name is made or removed, so that each is counted once; the outer directory's first

	mu           sync.Mutex // after names, and after tracked.mu
	sessions     int
	counted      time.Time // zero: not yet
	bytes, files int64
	open         map[fileID]*tracked
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

func (u *usage) join() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessions == 0 && time.Since(u.counted) > recount {
		u.counted = time.Time{}
	}
	u.sessions++
}

func (u *usage) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sessions--
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
		u.bytes -= t.size
	}
}

// add counts what exists already or was removed, whatever the limit.
func (u *usage) add(bytes, files int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes += bytes
	u.files += files
}

// reserve counts what is about to be written or made, if limit leaves room for
// it.
func (u *usage) reserve(bytes, files int64, limit bounds) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if bytes > 0 && limit.bytes > 0 && u.bytes > limit.bytes-bytes {
		return ErrQuota
	}
	if files > 0 && limit.files > 0 && u.files > limit.files-files {
		return ErrQuota
	}
	u.bytes += bytes
	u.files += files
	return nil
}

// count walks the directory, unless that has been done. The caller holds names.
func (u *usage) count() error {
	u.mu.Lock()
	done := !u.counted.IsZero()
	u.mu.Unlock()
	if done {
		return nil
	}
	l, err := openJail(u.host, 0)
	if err != nil {
		return translate(err)
	}
	defer l.Close()
	bytes, files, err := measure(l)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes, u.files, u.counted = bytes, files, time.Now()
	return nil
}

// measure counts all names and the bytes of all regular files, those of a file
// with several names once. A directory that cannot be read counts as empty, since
// nobody can fill it either; only the root must be readable.
func measure(l layer) (bytes, files int64, err error) {
	seen := map[fileID]bool{}
	err = walk(l, "/", func(name string, fi iofs.FileInfo, err error) error {
		if err != nil {
			if name == "/" {
				return err
			}
			return nil
		}
		files++
		if id := idOf(fi); fi.Mode().IsRegular() && !seen[id] {
			bytes += fi.Size()
			if hardLinks(fi) > 1 {
				seen[id] = true
			}
		}
		return nil
	})
	return bytes, files, err
}
