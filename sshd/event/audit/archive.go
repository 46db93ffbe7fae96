package audit

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// stampLayout is the UTC time at which a file became full, as it is in its
// name: events-20260131T235959.999Z.jsonl. Such names sort by age.
const stampLayout = "20060102T150405.000Z"

// archive keeps the full files beside the one in use: it compresses them and
// removes the oldest, in a goroutine of its own.
type archive struct {
	settings Settings
	log      hclog.Logger
	wake     waker // there is something to do
	done     chan struct{}
}

func newArchive(s Settings, log hclog.Logger) *archive {
	a := &archive{settings: s, log: log, wake: make(waker, 1), done: make(chan struct{})}
	a.wake.poke() // an earlier process may not have finished
	go func() {
		defer close(a.done)
		for range a.wake {
			if err := a.tidy(); err != nil {
				log.Error("compress or remove old events files", "file", s.File, "error", err)
			}
		}
	}()
	return a
}

// close waits for the work that is left.
func (a *archive) close() {
	close(a.wake)
	<-a.done
}

// take moves the file at path into the archive and returns a new one in its
// place. Nothing has changed when it fails. A file that somebody has removed is
// made again.
func take(path string, now time.Time) (*os.File, error) {
	to := fullName(path, now)
	for exists(to) || exists(to+".gz") { // two files can be full in one millisecond
		now = now.Add(time.Millisecond)
		to = fullName(path, now)
	}
	if err := os.Rename(path, to); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	f, _, _, err := openAppend(path)
	if err != nil {
		return nil, errors.Join(err, os.Rename(to, path))
	}
	return f, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, iofs.ErrNotExist)
}

// fullName is the name of what was the file at path until a time.
func fullName(path string, at time.Time) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + at.UTC().Format(stampLayout) + ext
}

// fullAt is the time at which the file at path became full with that name, compressed or
// not; zero if it is no such name.
func fullAt(path, name string) time.Time {
	ext := filepath.Ext(path)
	stamp, ok := strings.CutPrefix(name, filepath.Clean(strings.TrimSuffix(path, ext)+"-"))
	stamp, isFile := strings.CutSuffix(strings.TrimSuffix(stamp, ".gz"), ext)
	t, err := time.Parse(stampLayout, stamp)
	if !ok || !isFile || err != nil {
		return time.Time{}
	}
	return t
}

// fullFiles returns the full files of the one at path, compressed or not, in the order of
// their names: the oldest first.
func fullFiles(path string) ([]string, error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if name := filepath.Join(dir, e.Name()); !fullAt(path, name).IsZero() {
			files = append(files, name)
		}
	}
	return files, nil
}

// tidy brings the archive into the state that the settings ask for.
func (a *archive) tidy() error {
	files, err := fullFiles(a.settings.File)
	if err != nil {
		return err
	}
	for keep := a.settings.Keep; keep > 0 && len(files) > keep; files = files[1:] {
		if full := fullAt(a.settings.File, files[0]); time.Since(full) <= a.settings.KeepFor {
			break // and so is every later one
		}
		err = errors.Join(err, os.Remove(files[0]))
	}
	if !a.settings.Compress {
		return err
	}
	for _, path := range files {
		if !strings.HasSuffix(path, ".gz") {
			err = errors.Join(err, compress(path))
		}
	}
	return err
}

// compress puts path+".gz" in the place of path. It is complete before it gets
// its name. A file that another process still writes to is left for later.
func compress(path string) error {
	from, err := os.OpenFile(path, os.O_RDWR, 0) // NFS locks only what is open for writing
	if err != nil {
		return err
	}
	defer from.Close()
	if errors.Is(syscall.Flock(int(from.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return nil
	}
	part := path + ".gz.part"
	to, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(to)
	_, err = io.Copy(z, from)
	if err := errors.Join(err, z.Close(), to.Sync(), to.Close()); err != nil {
		return errors.Join(fmt.Errorf("compress %s: %w", path, err), os.Remove(part))
	}
	if err := os.Rename(part, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
