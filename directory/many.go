package directory

import (
	"context"
	"errors"
)

// An Answer is what Lookup returns for one name.
type Answer struct {
	User *User
	Err  error
}

// ManyLooker is a Directory that looks several users up for little more than
// the price of one.
type ManyLooker interface {
	// LookupMany returns for each of the names what Lookup would.
	LookupMany(ctx context.Context, names []string) map[string]Answer
}

// LookupMany looks users up, in one go if d can.
func LookupMany(ctx context.Context, d Directory, names []string) map[string]Answer {
	if m, ok := d.(ManyLooker); ok && len(names) > 1 {
		return m.LookupMany(ctx, names)
	}
	answers := make(map[string]Answer, len(names))
	for _, name := range names {
		u, err := d.Lookup(ctx, name)
		answers[name] = Answer{u, err}
	}
	return answers
}

// LookupMany implements ManyLooker.
func (s *Shield) LookupMany(ctx context.Context, names []string) map[string]Answer {
	return LookupMany(ctx, s.directory, names)
}

// LookupMany implements ManyLooker: only those are asked for that are not
// remembered.
func (c *Cache) LookupMany(ctx context.Context, names []string) map[string]Answer {
	answers := make(map[string]Answer, len(names))
	var unknown []string
	for _, name := range names {
		if u := c.recall(name, c.fresh); u != nil {
			answers[name] = Answer{u, nil}
		} else {
			unknown = append(unknown, name)
		}
	}
	for name, a := range LookupMany(ctx, c.directory, unknown) {
		u, err := c.learn(ctx, name, a.User, a.Err)
		answers[name] = Answer{u, err}
	}
	return answers
}

// LookupMany implements ManyLooker: each directory is asked at most twice, for
// those that may be its own.
func (j *Joined) LookupMany(ctx context.Context, names []string) map[string]Answer {
	answers := make(map[string]Answer, len(names))
	of := map[*Member][]string{} // those whose suffix says it
	var free []string
	for _, name := range names {
		if m, _ := j.bySuffix(name); m != nil {
			of[m] = append(of[m], name)
		} else {
			free = append(free, name)
		}
	}
	for i := range j.members {
		m := &j.members[i]
		for name, a := range j.suffixed(ctx, m, of[m]) {
			u, err := j.owned(m, a.User, a.Err)
			answers[name] = Answer{u, err}
		}
		var next []string
		for name, a := range LookupMany(ctx, m.Directory, free) {
			if errors.Is(a.Err, ErrNoUser) {
				next = append(next, name)
				continue
			}
			u, err := j.owned(m, a.User, a.Err)
			answers[name] = Answer{u, err}
		}
		free = next
	}
	for _, name := range free {
		answers[name] = Answer{nil, j.nobody(name)}
	}
	return answers
}

// suffixed looks up those whose suffix is m's: by their whole names first, as
// Lookup does.
func (j *Joined) suffixed(ctx context.Context, m *Member, names []string) map[string]Answer {
	answers := LookupMany(ctx, m.Directory, names)
	whole := map[string][]string{} // by the name without the suffix
	var bares []string
	for name, a := range answers {
		if errors.Is(a.Err, ErrNoUser) {
			_, bare := j.bySuffix(name)
			if whole[bare] == nil {
				bares = append(bares, bare)
			}
			whole[bare] = append(whole[bare], name)
		}
	}
	for bare, a := range LookupMany(ctx, m.Directory, bares) {
		for _, name := range whole[bare] {
			answers[name] = a
		}
	}
	return answers
}
