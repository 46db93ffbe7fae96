package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"berth/sshd/privatefile"
)

// maxFile bounds the LDIF file: it is held in memory, and written whole.
const maxFile = 64 << 20

// Why a change is refused, besides that the file cannot be written.
var (
	errEdited = errors.New("the LDIF file was edited since it was read: reload it")
	errGone   = errors.New("the entry was removed")
)

// A store is the entries and the file they come from. Reading takes no lock;
// changes are made one after the other.
type store struct {
	file   string
	policy Policy
	hasher *hasher
	log    hclog.Logger

	current atomic.Pointer[tree]

	changing sync.Mutex      // held while the file is read or written; guards what follows
	seen     os.FileInfo     // the file when it was last read or written
	unsaved  map[string]bool // keys of entries whose counters are newer than the file
}

// tree is the entries as they are now.
func (s *store) tree() *tree { return s.current.Load() }

// read reads the file, and makes entries of it that nobody else knows yet. The caller
// holds changing.
func (s *store) read(log hclog.Logger) (t *tree, seen os.FileInfo, err error) {
	seen, err = os.Stat(s.file) // first, so that an edit between this line and the next is noticed later
	if err == nil && seen.Size() > maxFile {
		err = fmt.Errorf("%s: larger than %d MiB: use a directory server for so many people", s.file, maxFile>>20)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(s.file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the LDIF file: %w", err)
	}
	doc, err := parseLDIF(data)
	if err == nil {
		t, err = newTree(doc, s.policy, log)
	}
	if _, atLine := errors.AsType[*lineError](err); atLine {
		return nil, nil, fmt.Errorf("%s:%w", s.file, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.file, err)
	}
	if now := s.tree(); now != nil && !now.base.Equal(t.base) { // clients search below the one that they know
		return nil, nil, fmt.Errorf("%s: all entries are below %s now, and were below %s: only a restart applies this", s.file, t.base.String(), now.base.String())
	}
	return t, seen, nil
}

// check returns why reload would fail.
func (s *store) check() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	_, _, err := s.read(hclog.NewNullLogger())
	return err
}

// reload reads the file, and writes it again if passwords in it are in the clear.
// After an error nothing has changed. Wrong passwords and locks that could not be
// written are kept.
func (s *store) reload() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, seen, err := s.read(s.log)
	if err != nil {
		return err
	}
	if err := s.hashAll(t); err != nil {
		return err
	}
	for key := range s.unsaved {
		if from, to := s.tree().find(key), t.find(key); from != nil && to != nil {
			for _, name := range []string{"pwdFailureTime", "pwdAccountLockedTime"} {
				to.set(name, from.values(name)...)
			}
		}
	}
	s.seen = seen
	s.current.Store(t)
	if !t.completed {
		return nil
	}
	if err := s.write(t); err != nil { // as with a read-only file: the server works without
		s.log.Warn("the LDIF file cannot be written: passwords in the clear remain in it", "file", s.file, "error", err)
	}
	return nil
}

// hashAll replaces the passwords that are in the clear in t, which nobody else
// knows yet.
func (s *store) hashAll(t *tree) error {
	var g errgroup.Group
	now := time.Now()
	for _, e := range t.entries {
		password := e.first("userPassword")
		if password == "" || !isClear(password) {
			continue
		}
		t.completed = true
		g.Go(func() error {
			stored, err := s.hasher.hash(context.Background(), password)
			e.set("userPassword", stored)
			if !e.has("pwdChangedTime") {
				e.set("pwdChangedTime", formatTime(now))
			}
			return err
		})
	}
	return g.Wait()
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

// count is change for wrong passwords and locks. They apply even if the file
// cannot be written. Otherwise a full disk would allow any number of guesses.
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

// altered returns the tree with the entry at key as alter has changed it.
func (s *store) altered(key string, alter func(*entry) error) (*tree, error) {
	t := s.tree()
	old := t.find(key)
	if old == nil {
		return nil, errGone
	}
	e := *old
	e.fields = slices.Clone(old.fields)
	if err := alter(&e); err != nil {
		return nil, err
	}
	return t.with(&e), nil
}

// write replaces the file by t, in one step: at any moment the name means the whole
// old or the whole new content. Only the owner may read the new file.
func (s *store) write(t *tree) error {
	file, err := filepath.EvalSymlinks(s.file) // a link stays a link
	var now os.FileInfo
	if err == nil {
		now, err = os.Stat(file)
	}
	if err == nil && !(os.SameFile(now, s.seen) && now.ModTime().Equal(s.seen.ModTime()) && now.Size() == s.seen.Size()) {
		return errEdited
	}
	if err == nil {
		now, err = privatefile.Replace(file, t.document().bytes())
	}
	if err != nil {
		return fmt.Errorf("the LDIF file cannot be written: %w", err)
	}
	s.seen = now
	clear(s.unsaved)
	return nil
}

// Writable returns why changes of people cannot be written to the LDIF file; nil
// if they can. A file that takes its place must be made beside it.
func (s *Server) Writable() error {
	file, err := filepath.EvalSymlinks(s.store.file)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
