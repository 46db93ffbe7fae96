package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"time"

	"berth/directory"
)

// Sweep removes temporary files anywhere under a host directory that nobody has
// changed for age, and returns how many it removed. Where files belong to people, it
// acts as the owners. It continues after an error and returns the first one.
func (q *Quotas) Sweep(ctx context.Context, host string, age time.Duration) (removed int, err error) {
	j, err := openJail(host, 0)
	if err != nil {
		return 0, err
	}
	defer j.Close()
	s := &sweeper{jail: j, owners: map[string]*actor{}}
	var first error
	err = walk(s, "/", func(name string, fi iofs.FileInfo, err error) error {
		if err == nil && stale(fi, age) {
			if err = q.clear(j, nil, host, name); errors.Is(err, iofs.ErrPermission) {
				if as := ownerOf(fi); as != nil {
					err = q.clear(newOwned(j, as), as, host, name)
				}
			}
			if err == nil {
				removed++
			}
		}
		if err != nil && first == nil && !errors.Is(err, iofs.ErrNotExist) {
			first = err
		}
		return ctx.Err()
	})
	return removed, errors.Join(first, err)
}

// clear removes a temporary file, which counts in the quotas of the directories around.
func (q *Quotas) clear(l layer, as *actor, host, name string) error {
	for _, u := range q.around(filepath.Join(realHost(host), filepath.FromSlash(path.Dir(name)))) {
		l = &quota{layer: l, u: u, as: as}
	}
	return clearTemp(l, name)
}

// A sweeper reads directories that the service may not read as their owners.
type sweeper struct {
	*jail
	owners map[string]*actor // of directories in such a directory, until they are read
}

func (s *sweeper) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		as := s.owners[name]
		delete(s.owners, name)
		if as == nil {
			for fi, err := range s.jail.ReadDir(name) {
				if errors.Is(err, iofs.ErrPermission) {
					as = s.owner(name)
				}
				if as == nil && !yield(fi, err) {
					return
				}
			}
		}
		if as == nil {
			return
		}
		for fi, err := range newOwned(s.jail, as).ReadDir(name) {
			if err == nil && fi.IsDir() {
				s.owners[join(name, fi.Name())] = ownerOf(fi)
			}
			if !yield(fi, err) {
				return
			}
		}
	}
}

// owner is an actor for the owner of a directory, nil if nobody can act so.
func (s *sweeper) owner(name string) *actor {
	fi, err := s.Lstat(name)
	if err != nil {
		return nil
	}
	return ownerOf(fi)
}

// ownerOf is an actor for the owner of a file, nil if nobody can act so. Nobody acts as
// root: what is root's is reached by its group alone.
func ownerOf(fi iofs.FileInfo) *actor {
	o := *fi.Sys().(*Owner)
	if o.UID == 0 {
		o.UID = uint32(os.Geteuid())
	}
	if o.GID == 0 {
		o.GID = uint32(os.Getegid())
	}
	as, _ := newActor(directory.POSIX{UID: o.UID, GID: o.GID})
	return as
}
