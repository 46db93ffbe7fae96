package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Lister is a Directory that can tell all of its users.
type Lister interface {
	// Users yields every user, as Lookup would return it. It ends after the
	// first error; ErrNotListed says that the directory cannot tell.
	Users(ctx context.Context) iter.Seq2[*User, error]
}

// ErrNotListed is the error of a directory that cannot tell its users.
var ErrNotListed = errors.New("the directory does not list its users")

// users lists the users of d if it can.
func users(ctx context.Context, d Directory) iter.Seq2[*User, error] {
	if l, ok := d.(Lister); ok {
		return l.Users(ctx)
	}
	return func(yield func(*User, error) bool) { yield(nil, ErrNotListed) }
}

// Users implements Lister. It always asks the directory.
func (c *Cache) Users(ctx context.Context) iter.Seq2[*User, error] { return users(ctx, c.directory) }

// Users implements Lister.
func (s *Shield) Users(ctx context.Context) iter.Seq2[*User, error] { return users(ctx, s.directory) }

// Users implements Lister: the users of all directories, one directory after
// the other.
func (j *Joined) Users(ctx context.Context) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		for i := range j.members {
			m := &j.members[i]
			for u, err := range users(ctx, m.Directory) {
				if err != nil {
					yield(nil, fmt.Errorf("directory %s: %w", m.Name, err))
					return
				}
				if owned, err := j.owned(m, u, nil); !yield(owned, err) {
					return
				}
			}
		}
	}
}
