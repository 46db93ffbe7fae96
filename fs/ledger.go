package fs

import (
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// ledger lists the atomic uploads that run, of all sessions of this process. An upload is listed from its open until the file has its
// name. One that was removed from the list before never gets the name.
type ledger struct {
	mu      sync.Mutex
	uploads map[string][]*upload // by the path on this machine, in the order of their opens
	locked  map[string]bool      // paths
	freed   *sync.Cond           // when a path is no longer locked
}

// everybodys is the ledger of this process. There is one, as there is one disk:
// sessions that did not share it would take each other's files for older ones.
var everybodys = newLedger()

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
	return l.hold(paths)
}

// lockTarget is lock for the target of up. It reports whether up is listed.
func (l *ledger) lockTarget(up *upload) (unlock func(), listed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.locked[up.path()] {
		l.freed.Wait()
	}
	return l.hold([]string{up.path()}), l.lists(up)
}

// hold locks paths that nobody has locked. The caller holds mu.
func (l *ledger) hold(paths []string) (unlock func()) {
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

// add lists an upload that is about to begin. An exclusive one fails if anybody
// uploads to its name.
func (l *ledger) add(up *upload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := up.path()
	if up.exclusive && len(l.uploads[at]) > 0 {
		return iofs.ErrExist
	}
	l.uploads[at] = append(l.uploads[at], up)
	return nil
}

// to is the uploads to a path.
func (l *ledger) to(at string) []*upload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.uploads[at])
}

// newest is that upload of a person to a path which was opened last, and the
// base name of its temporary file. It is nil if there is none.
func (l *ledger) newest(at, person string) (*upload, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, up := range slices.Backward(l.uploads[at]) {
		if up.u.person == person && up.temp != "" {
			return up, path.Base(up.temp)
		}
	}
	return nil, ""
}

// lists reports whether up may still get its name. The caller holds mu.
func (l *ledger) lists(up *upload) bool { return slices.Contains(l.uploads[up.path()], up) }

// opened notes the temporary file of up, and what its target showed before. It
// reports whether up is still listed.
func (l *ledger) opened(up *upload, f file, temp string, before iofs.FileInfo) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	up.file, up.temp = f, temp
	if up.before == nil { // else an upload that was opened earlier has its name since
		up.before = before
	}
	return l.lists(up)
}

// state is what may change while up runs.
func (l *ledger) state(up *upload) (s uploadState, listed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return up.uploadState, l.lists(up)
}

// match is the uploads, with an open file, that match.
func (l *ledger) match(match func(up *upload) bool) (found []*upload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.uploads {
		for _, up := range all {
			if up.temp != "" && match(up) {
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
	listed := l.lists(up)
	l.remove(up)
	return listed
}

// remove is drop for a caller that holds mu.
func (l *ledger) remove(up *upload) {
	at := up.path()
	l.uploads[at] = slices.DeleteFunc(l.uploads[at], func(other *upload) bool { return other == up })
	if len(l.uploads[at]) == 0 {
		delete(l.uploads, at)
	}
}

// movedBelow notes that what was below the directory from is now below to.
func (l *ledger) movedBelow(from, to string) {
	for _, up := range l.match(func(up *upload) bool { return up.path() != from && below(from, up.path()) }) {
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
	if !reachable || !l.lists(up) {
		return
	}
	l.remove(up)
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
