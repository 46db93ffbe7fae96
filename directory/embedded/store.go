package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// maxFile bounds the LDIF file: it is held in memory, and written whole.
const maxFile = 64 << 20

// errEdited is why a change is refused while the file holds something that the
// server has not read.
var errEdited = errors.New("the LDIF file was edited since it was read: reload it")

// A store is the entries and the file they come from. Reading takes no lock;
// changes are made one after the other.
type store struct {
	file   string
	policy Policy
	hasher *hasher
	log    hclog.Logger

	current atomic.Pointer[tree]

	changing sync.Mutex      // held while the file is read or written; guards what follows
	stamp    stamp           // of the file when it was last read or written
	unsaved  map[string]bool // keys of entries whose counters are newer than the file
}

// A stamp tells whether a file is still the one that was read.
type stamp struct {
	modified time.Time
	size     int64
}

// openStore reads file, and writes it again if passwords in it are in the clear.
func openStore(file string, p Policy, log hclog.Logger) (*store, error) {
	h, err := newHasher()
	if err != nil {
		return nil, err
	}
	s := &store{file: file, policy: p, hasher: h, log: log, unsaved: map[string]bool{}}
	return s, s.reload()
}

// tree is the entries as they are now.
func (s *store) tree() *tree { return s.current.Load() }

// reload reads the file again; after an error nothing has changed. Wrong
// passwords and locks that could not be written are kept.
func (s *store) reload() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	data, st, err := readStamped(s.file)
	if err != nil {
		return fmt.Errorf("reading the LDIF file: %w", err)
	}
	doc, err := parseLDIF(data)
	if err != nil {
		return inFile(s.file, err)
	}
	t, err := newTree(doc, s.policy, s.log)
	if err != nil {
		return inFile(s.file, err)
	}
	hashed, err := s.hashAll(t)
	if err != nil {
		return err
	}
	if old := s.tree(); old != nil {
		t.reading = old.reading + 1
		s.keepCounters(old, t)
	}
	s.stamp = st
	s.current.Store(t)
	if hashed == 0 {
		return nil
	}
	if err := s.write(t); err != nil { // as with a read-only file: it serves all the same
		s.log.Warn("passwords stay in the clear in the LDIF file, and none can be changed", "file", s.file, "error", err)
	}
	return nil
}

// readStamped reads a whole file, and its stamp from before.
func readStamped(file string) ([]byte, stamp, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, stamp{}, err
	}
	if len(data) > maxFile {
		return nil, stamp{}, fmt.Errorf("%s: larger than %d MiB: use a directory server for so many people", file, maxFile>>20)
	}
	return data, stamp{st.ModTime(), st.Size()}, nil
}

// hashAll replaces the passwords of t, which nobody else knows yet, that are in
// the clear. It returns how many.
func (s *store) hashAll(t *tree) (int, error) {
	var g errgroup.Group
	n, now := 0, time.Now()
	for _, e := range t.entries {
		password := e.first("userPassword")
		if password == "" || !isClear(password) {
			continue
		}
		n++
		g.Go(func() error {
			stored, err := s.hasher.hash(context.Background(), password)
			e.set("userPassword", stored)
			if !e.has("pwdChangedTime") {
				e.set("pwdChangedTime", formatTime(now))
			}
			return err
		})
	}
	return n, g.Wait()
}

// keepCounters copies wrong passwords and locks that the file does not have.
func (s *store) keepCounters(old, t *tree) {
	for key := range s.unsaved {
		from, to := old.find(key), t.find(key)
		if from == nil || to == nil {
			continue
		}
		for _, name := range []string{"pwdFailureTime", "pwdAccountLockedTime"} {
			to.set(name, from.values(name)...)
		}
	}
}

// change replaces the entry at key by what alter makes of a copy. It returns
// when the file holds the change; after an error nothing has changed.
func (s *store) change(key string, alter func(*entry) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.altered(key, alter)
	if err != nil {
		return err
	}
	if err := s.write(t); err != nil {
		return err
	}
	s.current.Store(t)
	return nil
}

// count is change for wrong passwords and locks: they hold even if the file
// cannot be written, else a full disk would allow any number of guesses.
func (s *store) count(key string, alter func(*entry)) {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.altered(key, func(e *entry) error { alter(e); return nil })
	if err != nil {
		return // the entry was removed meanwhile
	}
	s.unsaved[key] = true
	if err := s.write(t); err != nil {
		s.log.Error("failed logins are counted in memory only", "file", s.file, "error", err)
	}
	s.current.Store(t)
}

// altered returns the tree in which alter has been at the entry at key.
func (s *store) altered(key string, alter func(*entry) error) (*tree, error) {
	t := s.tree()
	e := t.find(key)
	if e == nil {
		return nil, fs.ErrNotExist
	}
	e = e.clone()
	if err := alter(e); err != nil {
		return nil, err
	}
	return t.with(e), nil
}

// write replaces the file by t, in one step: at any moment the name stands for
// the whole old or the whole new content.
func (s *store) write(t *tree) error {
	file, err := filepath.EvalSymlinks(s.file) // a link stays a link
	if err != nil {
		return fmt.Errorf("writing the LDIF file: %w", err)
	}
	st, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("writing the LDIF file: %w", err)
	}
	if !st.ModTime().Equal(s.stamp.modified) || st.Size() != s.stamp.size {
		return errEdited
	}
	written, err := replaceFile(file, t.document().bytes())
	if written != (stamp{}) {
		s.stamp = written
	}
	if err != nil {
		return fmt.Errorf("writing the LDIF file: %w", err)
	}
	clear(s.unsaved)
	return nil
}

// replaceFile puts data in the place of file, readable by its owner only, and
// returns when it will survive a power failure. A stamp beside an error is that
// of the new file, which is there but may be lost.
func replaceFile(file string, data []byte) (stamp, error) {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*")
	if err != nil {
		return stamp{}, err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	st, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return stamp{}, err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return stamp{}, err
	}
	return stamp{st.ModTime(), st.Size()}, syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
