package privatefile

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Create writes a new file whole or not at all. It makes the folder if that is missing.
// A file at path is never replaced, because two nodes may start on one shared folder at
// the same moment. The error then wraps io/fs.ErrExist.
func Create(path string, text []byte, perm os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(perm), f.Sync(), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), path)
	if err != nil && !errors.Is(err, iofs.ErrExist) { // this file system has no hard links
		if _, err = os.Lstat(path); err == nil {
			err = iofs.ErrExist
		} else {
			err = os.Rename(f.Name(), path)
		}
	}
	if errors.Is(err, iofs.ErrExist) {
		return &iofs.PathError{Op: "create", Path: path, Err: iofs.ErrExist}
	}
	if err != nil {
		return err
	}
	syncFolder(path)
	return nil
}

// ErrBusy means that another process is rewriting the file.
var ErrBusy = errors.New("another process is writing the file")

// Rewrite replaces the file at path, whole or not at all, by what change returns,
// with mode 0600. If the process is root's, the new file has the owner of the old
// one. change may read the old file: while it runs, the new file has a fixed name,
// and Rewrite in another process returns ErrBusy. Rewrite makes the folder if that
// is missing.
func Rewrite(path string, change func() ([]byte, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%w: %s exists. If no other process is running, one was interrupted: remove %[2]s", ErrBusy, fresh)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(fresh)
		}
	}()
	text, err := change()
	if err != nil {
		return err
	}
	_, err = replace(path, f, text)
	return err
}

// lockWait is much longer than those who call LockFolder keep the lock.
const lockWait = 5 * time.Second

// LockFolder keeps other processes from changing files in dir until unlock is called, if
// they ask, too. After an upgrade two processes serve for a while. Whoever may read the
// folder could lock it, so nobody waits for ever. A folder or a file system without locks
// has one server.
func LockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	for end := time.Now().Add(lockWait); errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK); {
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%s: another process keeps this folder locked", dir), f.Close())
		}
		time.Sleep(time.Millisecond)
	}
	return func() { f.Close() }, nil
}

// Replace is Rewrite for a file that no other process writes meanwhile, in a folder that
// exists. An interrupted Replace leaves nothing that the next one waits for. It
// returns what Stat says of the new file.
func Replace(path string, text []byte) (os.FileInfo, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // has no effect after the rename
	return replace(path, f, text)
}

// replace writes text to f, closes it and gives it the name path.
func replace(path string, f *os.File, text []byte) (os.FileInfo, error) {
	_, err := f.Write(text)
	if old, statErr := os.Stat(path); statErr == nil && os.Geteuid() == 0 {
		of := old.Sys().(*syscall.Stat_t)
		err = errors.Join(err, f.Chown(int(of.Uid), int(of.Gid)))
	}
	err = errors.Join(err, f.Sync())
	written, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	syncFolder(path)
	return written, nil
}

// syncFolder makes a new name survive a power failure if the system supports that. The
// file itself is whole in any case.
func syncFolder(path string) {
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync()
		dir.Close()
	}
}
