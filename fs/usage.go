package fs

import (
	iofs "io/fs"
	"sync"
	"time"

	"berth/policy"
)

// Quotas remembers how full host directories are: each is counted once, when
// something first changes there, and then followed. All sessions of a process
// share one. The zero value is ready; it is safe for concurrent use.
type Quotas struct {
	mu    sync.Mutex
	hosts map[string]*usage
}

// recount is how old a count may be when the next session comes to a directory
// that none was using: other programs may have changed it since.
const recount = time.Hour

// of is the usage of a host directory, for one more session.
func (q *Quotas) of(host string) *usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hosts == nil {
		q.hosts = map[string]*usage{}
	}
	u, known := q.hosts[host]
	if !known {
		u = &usage{open: map[fileID]*tracked{}}
		q.hosts[host] = u
	}
	u.join()
	return u
}

// usage is how full one host directory is.
type usage struct {
	names sync.Mutex // held while a name is made or taken away, so that each is counted once

	mu           sync.Mutex // after names, and after tracked.mu
	sessions     int
	counted      time.Time // zero: not yet
	bytes, files int64
	open         map[fileID]*tracked
}

// tracked is a file that is open for writing, in whichever session.
type tracked struct {
	mu   sync.Mutex
	size int64 // as counted, which a write in flight has still to reach
	gone bool  // its last name was removed, and its bytes are not counted
	refs int   // guarded by usage.mu
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

// hold is the file id for one more user, or fresh if it is not open; fresh may
// be nil.
func (u *usage) hold(id fileID, fresh *tracked) *tracked {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.open[id]
	if fresh != nil && (t == nil || id == fileID{}) {
		t = fresh
		u.open[id] = t
	}
	if t != nil {
		t.refs++
	}
	return t
}

// release undoes a hold.
func (u *usage) release(id fileID, t *tracked) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.refs--; t.refs == 0 && u.open[id] == t {
		delete(u.open, id)
	}
}

// add counts what a limit does not matter to, since it is there already or gone.
func (u *usage) add(bytes, files int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes += bytes
	u.files += files
}

// reserve counts what is about to be written or made, if the limits, where they
// are not 0, leave room for it.
func (u *usage) reserve(bytes, files int64, limits policy.Limits) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if bytes > 0 && limits.Quota > 0 && u.bytes > limits.Quota-bytes {
		return ErrQuota
	}
	if files > 0 && limits.QuotaFiles > 0 && u.files > limits.QuotaFiles-files {
		return ErrQuota
	}
	u.bytes += bytes
	u.files += files
	return nil
}

// count walks the directory, unless that has been done. The caller holds names.
func (u *usage) count(l layer) error {
	u.mu.Lock()
	done := !u.counted.IsZero()
	u.mu.Unlock()
	if done {
		return nil
	}
	bytes, files, err := measure(l)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes, u.files, u.counted = bytes, files, time.Now()
	return nil
}

// measure counts the bytes of all regular files, one with several names once,
// and all names. A directory that cannot be read counts as empty, for nobody
// can fill it either; only the root must be readable.
func measure(l layer) (bytes, files int64, err error) {
	seen := map[fileID]bool{}
	dirs := []string{"/"}
	for len(dirs) > 0 {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		for fi, err := range l.ReadDir(dir) {
			if err != nil {
				if dir == "/" {
					return 0, 0, err
				}
				break
			}
			files++
			switch id := idOf(fi); {
			case fi.IsDir():
				dirs = append(dirs, join(dir, fi.Name()))
			case !fi.Mode().IsRegular() || seen[id]:
			default:
				bytes += fi.Size()
				if hardLinks(fi) > 1 {
					seen[id] = true
				}
			}
		}
	}
	return bytes, files, nil
}

func hardLinks(fi iofs.FileInfo) uint64 {
	if o, ok := fi.Sys().(*Owner); ok {
		return o.Nlink
	}
	return 1
}
