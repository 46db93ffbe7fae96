package fs

import (
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"berth/policy"
)

// ledger lists the atomic uploads that run, of all sessions of this process. An
// upload is listed from its open until the file has its name. An upload that was
// removed from the list before never gets the name.
type ledger struct {
	mu      sync.Mutex
	uploads map[string][]*upload // by the path on this machine, in the order of their opens
	locked  map[string]bool      // paths
	freed   *sync.Cond           // when a path is no longer locked
}

// sharedLedger is the one ledger of this process. A session with a ledger of its own
// would take the uploads of other sessions for files that somebody else wrote.
var sharedLedger = newLedger()

func newLedger() *ledger {
	l := &ledger{uploads: map[string][]*upload{}, locked: map[string]bool{}}
	l.freed = sync.NewCond(&l.mu)
	return l
}

// lock waits until nobody else changes what has one of these paths, so that
// what an upload finds under its name is still there when it replaces it.
func (l *ledger) lock(paths ...string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slices.ContainsFunc(paths, func(p string) bool { return l.locked[p] }) {
		l.freed.Wait()
	}
	for _, p := range paths {
		l.locked[p] = true
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, p := range paths {
			delete(l.locked, p)
		}
		l.freed.Broadcast()
	}
}

// lockTarget is lock for the target of up. It reports whether up is listed.
func (l *ledger) lockTarget(up *upload) (unlock func(), listed bool) {
	for {
		was, _ := l.state(up)
		unlock = l.lock(up.u.path(was.name))
		if now, listed := l.state(up); now.name == was.name {
			return unlock, listed
		}
		unlock() // the directory was renamed
	}
}

func (l *ledger) add(up *upload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uploads[up.path()] = append(l.uploads[up.path()], up)
}

// found notes what has the name of up, which is listed, unless an upload that
// was opened earlier got the name meanwhile.
func (l *ledger) found(up *upload, before iofs.FileInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up.before == nil {
		up.before = before
	}
}

// state is what may change while up runs, and whether it may still get its name.
func (l *ledger) state(up *upload) (s uploadState, listed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return up.uploadState, l.lists(up)
}

// lists is state for a caller that holds mu.
func (l *ledger) lists(up *upload) bool { return slices.Contains(l.uploads[up.path()], up) }

// to is the uploads to a path.
func (l *ledger) to(at string) []*upload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.uploads[at])
}

func (l *ledger) match(match func(up *upload) bool) (found []*upload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.uploads {
		for _, up := range all {
			if match(up) {
				found = append(found, up)
			}
		}
	}
	return found
}

// in is the uploads to names in a directory.
func (l *ledger) in(dir string) []*upload {
	return l.match(func(up *upload) bool { return path.Dir(up.path()) == path.Clean(dir) })
}

// drop removes up from the list and reports whether it was there.
func (l *ledger) drop(up *upload) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remove(up)
}

// remove is drop for a caller that holds mu.
func (l *ledger) remove(up *upload) (listed bool) {
	at := up.path()
	listed = l.lists(up)
	l.uploads[at] = slices.DeleteFunc(l.uploads[at], func(other *upload) bool { return other == up })
	if len(l.uploads[at]) == 0 {
		delete(l.uploads, at)
	}
	return listed
}

// movedBelow notes that what was below the directory from is now below to.
func (l *ledger) movedBelow(from, to string) {
	for _, up := range l.match(func(up *upload) bool { return up.path() != from && policy.Below(from, up.path()) }) {
		s, _ := l.state(up)
		l.move(up, to+strings.TrimPrefix(up.u.path(s.name), from), path.Base(s.temp), s.before)
	}
}

// move gives a listed upload another target, unless its session cannot reach
// that: then Close will fail.
func (l *ledger) move(up *upload, to, temp string, before iofs.FileInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, reachable := strings.CutPrefix(to, up.u.host)
	if !reachable || !l.remove(up) {
		return
	}
	up.name, up.temp, up.before = name, join(path.Dir(name), temp), before
	l.uploads[to] = append(l.uploads[to], up)
}

// took notes that up, now the file fi, has its name. Uploads that were opened
// earlier are removed from the list and returned, for they are older than fi.
// Those that were opened later may replace it.
func (l *ledger) took(up *upload, fi iofs.FileInfo) (older []*upload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.uploads[up.path()])
	i := slices.Index(all, up)
	for _, other := range all[:i+1] {
		l.remove(other)
	}
	for _, later := range all[i+1:] {
		later.before = fi
	}
	return all[:i]
}
