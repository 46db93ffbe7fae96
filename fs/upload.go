package fs

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"path"
	"time"
)

// upload is a temporary file that gets the name of its target when it is closed.
type upload struct {
	file
	u     *uploads
	begun time.Time // by the clock of the file system
	uploadState
}

// uploadState is guarded by the mu of the ledger.
type uploadState struct {
	name   string        // of the target
	temp   string        // of the temporary file
	before iofs.FileInfo // what the upload may replace; nil: nothing
	failed error         // the first error of a write
	ended  bool          // closed, aborted, or its session has ended
}

// path is that of the target on this machine. The caller holds the ledger's mu.
func (up *upload) path() string { return up.u.path(up.name) }

// WriteAt remembers an error, since a file with a gap is not a whole one.
func (up *upload) WriteAt(p []byte, off int64) (int, error) {
	n, err := up.file.WriteAt(p, off)
	if err != nil {
		up.fail(err)
	}
	return n, err
}

func (up *upload) replaces() iofs.FileInfo {
	s, _ := up.u.ledger.state(up)
	return s.before
}

// fail makes Close remove the upload.
func (up *upload) fail(err error) {
	up.u.ledger.mu.Lock()
	defer up.u.ledger.mu.Unlock()
	up.failed = cmp.Or(up.failed, err)
}

// end marks the upload as ended. It reports whether the upload had not ended
// before.
func (up *upload) end() bool {
	up.u.ledger.mu.Lock()
	defer up.u.ledger.mu.Unlock()
	first := !up.ended
	up.ended = true
	return first
}

func (up *upload) discard() error {
	s, _ := up.u.ledger.state(up)
	return discard(up.u.layer, s.temp)
}

// Abort keeps what was written for the person to resume.
func (up *upload) Abort() error { return up.leave(up.file.Abort) }

// leave ends the upload of a client that disappeared, and its file by end. What
// cannot be resumed is removed.
func (up *upload) leave(end func() error) error {
	if !up.end() {
		return end()
	}
	unlock, listed := up.u.ledger.lockTarget(up)
	defer unlock()
	defer up.u.ledger.drop(up)
	fi, missing := up.file.Stat()
	now := time.Now() // from which it is kept, whatever times the client has set
	_ = up.file.SetAttr(Attr{Set: AttrTimes, Atime: now, Mtime: now})
	err := end()
	s, _ := up.u.ledger.state(up)
	found, absent := up.u.layer.identify(s.name)
	if listed && (s.failed != nil || missing == nil && fi.Size() == 0 ||
		s.temp != partName(up.u.person, s.name) || absent == nil && up.olderThan(found, s.before)) {
		_ = up.discard() // else Sweep does
	}
	return err
}

// Close gives the file its name. If that was removed meanwhile, or has something
// newer, the content is lost and Close succeeds, as for any open file without a
// name.
func (up *upload) Close() error {
	if !up.end() {
		return errors.Join(iofs.ErrClosed, up.file.Close())
	}
	s, listed := up.u.ledger.state(up)
	err := s.failed
	if listed && err == nil {
		err = up.file.Sync()
	}
	err = up.finish(err)
	// The lock ends last: the session that gets it next checks whether temp exists.
	return errors.Join(err, up.file.Close())
}

// finish gives the file its name, or removes it after an error.
func (up *upload) finish(err error) error {
	l := up.u.ledger
	unlock, listed := l.lockTarget(up)
	defer unlock()
	if !listed {
		return nil
	}
	if err == nil {
		err = up.rename()
	}
	if err != nil {
		err = errors.Join(err, up.discard())
		l.drop(up)
		return err
	}
	fi, _ := up.file.identify()
	for _, older := range l.took(up, fi) { // none can be closed before the target is unlocked
		_ = older.discard()
	}
	s, _ := l.state(up)
	return up.u.layer.syncDir(path.Dir(s.name))
}

// rename gives the file its name, unless that has something newer. It tries
// again when the directory was renamed at the same moment.
func (up *upload) rename() error {
	for {
		s, _ := up.u.ledger.state(up)
		now, err := up.u.layer.identify(s.name)
		switch {
		case err != nil && !errors.Is(err, iofs.ErrNotExist):
		case err == nil && now.IsDir():
			err = ErrIsDir
		case err == nil && up.olderThan(now, s.before):
			err = iofs.ErrExist
		default:
			err = up.u.layer.Rename(s.temp, s.name, err == nil)
		}
		if again, _ := up.u.ledger.state(up); !errors.Is(err, iofs.ErrNotExist) || again.name == s.name {
			return err
		}
	}
}

// olderThan reports whether the file now, which has the name, came there or was
// written after the upload began. Another process did that, or a session that
// writes in place: what other uploads do is in before.
func (up *upload) olderThan(now, before iofs.FileInfo) bool {
	switch {
	case before == nil:
		return true
	case idOf(now) == idOf(before):
		return !now.ModTime().Equal(before.ModTime()) && !now.ModTime().Before(up.begun)
	}
	return !changed(now).Before(up.begun)
}
