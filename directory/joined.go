package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Member is one of several directories.
type Member struct {
	Name     string   // unique; becomes User.Source
	Suffixes []string // domains of its users, as in user@suffix and SUFFIX\user; default: Name
	Directory
}

// Joined is several directories as one. A name with a suffix belongs to the
// directory of that suffix alone; one without to the first directory that knows
// it. It is safe for concurrent use.
//
// Two directories may have different people of the same name. So that nobody gets
// the home of another person, users of all members but the first are called
// name@suffix, after the first of the member's suffixes. Two kinds of users are
// refused with ErrAmbiguous: a user of the first member whose name ends in a suffix
// of another member (such as a mail address), and a user of a later member who has
// the name and the id of somebody in an earlier one (a copied entry).
type Joined struct {
	members []Member
}

// Join returns the members as one directory. It fails if a name or suffix is
// used twice.
func Join(members ...Member) (*Joined, error) {
	j := &Joined{members: slices.Clone(members)}
	names, suffixes := map[string]bool{}, map[string]bool{}
	for i := range j.members {
		m := &j.members[i]
		if m.Name == "" || names[m.Name] {
			return nil, fmt.Errorf("directory name %q: must be set and used once", m.Name)
		}
		names[m.Name] = true
		if len(m.Suffixes) == 0 {
			m.Suffixes = []string{m.Name}
		}
		for _, suffix := range m.Suffixes {
			key := strings.ToLower(suffix)
			if key == "" || strings.ContainsAny(key, `@\/`) || suffixes[key] {
				return nil, fmt.Errorf(`directory %q: suffix %q: must be a domain name that no other directory has, without @ and \`, m.Name, suffix)
			}
			suffixes[key] = true
		}
	}
	return j, nil
}

// Lookup implements Directory. If a directory cannot be asked, the search ends: the
// next one may have another person of that name, who must not get this password.
func (j *Joined) Lookup(ctx context.Context, name string) (*User, error) {
	a := j.LookupMany(ctx, []string{name})[name]
	return a.User, a.Err
}

// LookupMany implements Directory.
func (j *Joined) LookupMany(ctx context.Context, names []string) map[string]Answer {
	answers := make(map[string]Answer, len(names))
	of := map[*Member][]string{} // names by the member that their suffix belongs to
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
		found := j.suffixed(ctx, m, of[m])
		var next []string
		for name, a := range m.LookupMany(ctx, free) {
			if errors.Is(a.Err, ErrNoUser) {
				next = append(next, name)
			} else {
				found[name] = a
			}
		}
		copied := j.copied(ctx, i, found)
		for name, a := range found {
			u, err := j.owned(m, a.User, a.Err)
			if other := copied[name]; err == nil && other != nil {
				u, err = nil, ambiguousID(u, other)
			}
			answers[name] = Answer{u, err}
		}
		free = next
	}
	for _, name := range free {
		answers[name] = Answer{nil, fmt.Errorf("name %q in %d directories: %w", name, len(j.members), ErrNoUser)}
	}
	return answers
}

// copied returns the users whom a directory before the i-th knows by the name and
// the id of a user in found. Its keys are those of found.
//
// If an earlier directory cannot be asked, its copies are not found. Otherwise
// its outage would end all logins of the later ones. A copied entry that logs
// in meanwhile gains nothing from it: its Identity, name and groups are those
// of its own directory.
func (j *Joined) copied(ctx context.Context, i int, found map[string]Answer) map[string]*User {
	asked := map[string]string{} // own names of users, by the name that was looked up
	for name, a := range found {
		// A name that is the user's own was looked up in the earlier directories
		// already, and they do not know it.
		if a.Err == nil && a.User.ID != "" && !strings.EqualFold(a.User.Name, name) {
			asked[name] = a.User.Name
		}
	}
	copied := map[string]*User{}
	for k := range j.members[:i] {
		other := j.members[k].LookupMany(ctx, slices.Compact(slices.Sorted(maps.Values(asked))))
		for name, own := range asked {
			if a := other[own]; a.Err == nil && a.User.ID == found[name].User.ID {
				owned := *a.User
				owned.Source = j.members[k].Name
				copied[name] = &owned
			}
		}
	}
	return copied
}

// suffixed looks up names with a suffix of m. It looks up the whole name, and if nobody
// has it, the name without the suffix. But users of a later member are called
// NAME@SUFFIX. So such a name first means the owner of NAME: otherwise somebody else
// could have it as another name, such as a mail address.
func (j *Joined) suffixed(ctx context.Context, m *Member, names []string) map[string]Answer {
	answers := make(map[string]Answer, len(names))
	var bares, wholes []string
	for _, name := range names {
		if _, bare := j.bySuffix(name); m != &j.members[0] && strings.EqualFold(name, bare+"@"+m.Suffixes[0]) {
			bares = append(bares, bare)
		}
	}
	owners := m.LookupMany(ctx, bares)
	for _, name := range names {
		_, bare := j.bySuffix(name)
		switch a, asked := owners[bare]; {
		case !asked, errors.Is(a.Err, ErrNoUser), a.Err == nil && (a.User.ID == "" || !strings.EqualFold(a.User.Name, bare)):
			wholes = append(wholes, name)
		default:
			answers[name] = a
		}
	}
	whole := map[string][]string{} // by the name without the suffix
	bares = nil
	for name, a := range m.LookupMany(ctx, wholes) {
		_, bare := j.bySuffix(name)
		owner, asked := owners[bare]
		switch {
		case !errors.Is(a.Err, ErrNoUser):
			answers[name] = a
		case asked:
			answers[name] = owner
		default:
			if whole[bare] == nil {
				bares = append(bares, bare)
			}
			whole[bare] = append(whole[bare], name)
		}
	}
	for bare, a := range m.LookupMany(ctx, bares) {
		for _, name := range whole[bare] {
			answers[name] = a
		}
	}
	return answers
}

// Clashes returns why some of users are refused: another directory has the name or
// the id. users are those of all members, under their own names.
func (j *Joined) Clashes(users []*User) []string {
	var all []string
	owners := map[string]*User{} // by own name and id: those of the earliest member
	for i := range j.members {
		m := &j.members[i]
		for _, u := range users {
			if u.Source != m.Name {
				continue
			}
			if _, err := j.owned(m, u, nil); err != nil {
				all = append(all, err.Error())
			}
			key := strings.ToLower(u.Name) + "\x00" + u.ID
			if owner := owners[key]; owner == nil {
				owners[key] = u
			} else if owner.Source != u.Source && u.ID != "" {
				all = append(all, ambiguousID(u, owner).Error())
			}
		}
	}
	return all
}

func ambiguousID(u, owner *User) error {
	return &Refusal{Why: ErrAmbiguous, Detail: fmt.Sprintf("%s is %q in directory %s and %q in directory %s", u.ID, u.DN, u.Source, owner.DN, owner.Source)}
}

// Users implements Directory: the users of all directories, one directory after the
// other. Those that cannot be listed make one error, after the users of the others.
func (j *Joined) Users(ctx context.Context) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		var errs []error
		for i := range j.members {
			m := &j.members[i]
			for u, err := range m.Users(ctx) {
				if err != nil {
					errs = append(errs, fmt.Errorf("directory %s: %w", m.Name, err))
					break
				}
				// With an error no name means this user.
				if owned, err := j.owned(m, u, nil); err == nil && !yield(owned, nil) {
					return
				}
			}
		}
		if len(errs) > 0 {
			yield(nil, errors.Join(errs...))
		}
	}
}

// Find implements Directory: it searches all directories.
func (j *Joined) Find(ctx context.Context, prefix string, most int) (all []Found, more bool, err error) {
	for i := range j.members {
		m := &j.members[i]
		found, others, err := m.Find(ctx, prefix, most)
		if err != nil {
			return nil, false, fmt.Errorf("directory %s: %w", m.Name, err)
		}
		more = more || others
		for _, f := range found {
			// With an error no name means this user.
			if owned, err := j.owned(m, &User{Name: f.Name, DN: f.DN}, nil); err == nil {
				all = append(all, Found{owned.Source, owned.Name, f.FullName, f.DN})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return all[:min(most, len(all))], more || len(all) > most, nil
}

// Nesting implements Directory: the groups of all directories.
func (j *Joined) Nesting(ctx context.Context) ([]Nested, error) {
	var all []Nested
	for i := range j.members {
		groups, err := j.members[i].Nesting(ctx)
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w", j.members[i].Name, err)
		}
		all = append(all, groups...)
	}
	return all, nil
}

// bySuffix returns the directory whose suffix the name has, and the name
// without the suffix.
func (j *Joined) bySuffix(name string) (m *Member, bare string) {
	suffix, bare, found := strings.Cut(name, `\`)
	if !found {
		i := strings.LastIndexByte(name, '@')
		if i < 0 {
			return nil, name
		}
		bare, suffix = name[:i], name[i+1:]
	}
	for i := range j.members {
		if slices.ContainsFunc(j.members[i].Suffixes, func(s string) bool { return strings.EqualFold(s, suffix) }) {
			return &j.members[i], bare
		}
	}
	return nil, name
}

// owned marks a user as m's.
func (j *Joined) owned(m *Member, u *User, err error) (*User, error) {
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", m.Name, err)
	}
	owned := *u
	owned.Source = m.Name
	if m != &j.members[0] {
		owned.Name += "@" + m.Suffixes[0]
	} else if other, _ := j.bySuffix(u.Name); other != nil && other != m {
		return nil, &Refusal{Why: ErrAmbiguous, Detail: fmt.Sprintf("%q is the name of %q in directory %s, but names like it are those of directory %s", u.Name, u.DN, m.Name, other.Name)}
	}
	return &owned, nil
}

// ask calls do with the directory of a user, and the user as that directory knows
// them.
func (j *Joined) ask(u *User, do func(d Directory, own *User) error) error {
	i := slices.IndexFunc(j.members, func(m Member) bool { return m.Name == u.Source })
	if i < 0 {
		return fmt.Errorf("user %q is of directory %q, which is not here", u.Name, u.Source)
	}
	own := *u
	if i > 0 {
		own.Name = strings.TrimSuffix(u.Name, "@"+j.members[i].Suffixes[0])
	}
	return do(j.members[i].Directory, &own)
}

// Authenticate implements Directory. Only the user's own directory sees the
// password.
func (j *Joined) Authenticate(ctx context.Context, u *User, password string) error {
	return j.ask(u, func(d Directory, own *User) error { return d.Authenticate(ctx, own, password) })
}

// ChangePassword implements Directory.
func (j *Joined) ChangePassword(ctx context.Context, u *User, old, new string) error {
	return j.ask(u, func(d Directory, own *User) error { return d.ChangePassword(ctx, own, old, new) })
}

// AddKey implements Directory.
func (j *Joined) AddKey(ctx context.Context, u *User, line string) error {
	return j.ask(u, func(d Directory, own *User) error { return d.AddKey(ctx, own, line) })
}

// RemoveKey implements Directory.
func (j *Joined) RemoveKey(ctx context.Context, u *User, fingerprint string) error {
	return j.ask(u, func(d Directory, own *User) error { return d.RemoveKey(ctx, own, fingerprint) })
}

// Lockout implements Directory.
func (j *Joined) Lockout(ctx context.Context, u *User) (threshold int, window time.Duration, err error) {
	err = j.ask(u, func(d Directory, own *User) (err error) {
		threshold, window, err = d.Lockout(ctx, own)
		return err
	})
	return threshold, window, err
}

// PasswordRules implements Directory.
func (j *Joined) PasswordRules(ctx context.Context, u *User) (rules PasswordRules, err error) {
	err = j.ask(u, func(d Directory, own *User) (err error) {
		rules, err = d.PasswordRules(ctx, own)
		return err
	})
	return rules, err
}

// Ping implements Directory. It returns nil only if every directory answers,
// because each may be the one that knows a user.
func (j *Joined) Ping(ctx context.Context) error {
	var errs []error
	for _, m := range j.members {
		if err := m.Ping(ctx); err != nil {
			errs = append(errs, fmt.Errorf("directory %s: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}
