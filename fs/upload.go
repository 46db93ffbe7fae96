package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"strings"
	"sync"
)

// upload is a file on its way to name.
type upload struct {
	file
	u *uploads

	mu      sync.Mutex // after u.mu
	name    string     // where it will stand
	temp    string     // where it is
	replace bool       // at the end, whatever stands at name
	failed  error      // the first error of a write
	state   uploadState
}

type uploadState int

const (
	uploading uploadState = iota
	removed               // its name was removed meanwhile, as of any open file
	over                  // closed, aborted, or the session has ended
)

func (up *upload) tempName() string {
	up.mu.Lock()
	defer up.mu.Unlock()
	return up.temp
}

func (up *upload) move(oldname, newname string) string {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.name = newname + strings.TrimPrefix(up.name, oldname)
	if below(oldname, up.temp) {
		up.temp = newname + strings.TrimPrefix(up.temp, oldname)
	}
	return up.name
}

// WriteAt remembers an error, for a file with a gap is no upload.
func (up *upload) WriteAt(p []byte, off int64) (int, error) {
	n, err := up.file.WriteAt(p, off)
	if err != nil {
		up.fail(err)
	}
	return n, err
}

// fail makes Close remove the upload.
func (up *upload) fail(err error) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.failed == nil {
		up.failed = err
	}
}

// remove is unlink of a file that is still open. It reports whether the upload
// was still running.
func (up *upload) remove() bool {
	up.mu.Lock()
	running := up.state == uploading
	if running {
		up.state = removed
		_ = discard(up.u.layer, up.temp) // Close has nothing left to put anywhere
	}
	up.mu.Unlock()
	up.u.forget(up)
	return running
}

// leave ends the upload as that of a client that disappeared.
func (up *upload) leave() {
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.state != uploading {
		return
	}
	up.state = over
	if fi, err := up.file.Stat(); up.failed != nil || err == nil && fi.Size() == 0 {
		_ = discard(up.u.layer, up.temp) // else Sweep does
	}
}

// Abort keeps what was written for the user to resume.
func (up *upload) Abort() error {
	up.u.forget(up)
	up.leave()
	return up.file.Close()
}

// Close puts the file under its name.
func (up *upload) Close() error {
	up.u.forget(up)
	up.mu.Lock()
	defer up.mu.Unlock()
	state := up.state
	up.state = over
	var err error
	switch {
	case state == over:
		err = iofs.ErrClosed
	case state == uploading && up.failed != nil:
		err = errors.Join(up.failed, discard(up.u.layer, up.temp))
	case state == uploading:
		err = up.commit()
	}
	// The lock goes last: whoever gets it next looks whether temp is still there.
	return errors.Join(err, up.file.Close())
}

func (up *upload) commit() error {
	l := up.u.layer
	if err := up.file.Sync(); err != nil {
		return errors.Join(err, discard(l, up.temp))
	}
	if err := l.Rename(up.temp, up.name, up.replace); err != nil {
		return errors.Join(err, discard(l, up.temp))
	}
	return l.syncDir(path.Dir(up.name))
}
