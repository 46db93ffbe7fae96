package policy

import (
	"errors"
	"fmt"

	"berth/directory"
)

// account reports whether o is an account of this host, and neither the person nor the
// server.
func (o Owner) account() bool { return o != "" && o != Service && o != Person }

// words is o in a sentence.
func (o Owner) words() string {
	if o == Person {
		return "the person"
	}
	return string(o)
}

// FindAccounts fills in the numbers of the accounts that folders belong to. find gets
// what the rule says. The error joins every mistake, each a *Mistake.
//
// It must be called before the Set is used. Without it, folders of accounts deny the login.
func (s *Set) FindAccounts(find func(name string) (directory.POSIX, error)) error {
	s.accounts = map[Owner]*directory.POSIX{}
	var mistakes []error
	for i, r := range s.rules {
		fill := func(key string, o Owner) {
			if !o.account() {
				return
			}
			p, err := find(string(o))
			if err == nil {
				err = p.Err()
			}
			if err != nil {
				mistakes = append(mistakes, &Mistake{Rule: r.name, Index: i, Key: key, Value: string(o), Want: err.Error()})
				return
			}
			s.accounts[o] = &p
		}
		fill(fmt.Sprintf("rules[%d].owner", i), r.has.Owner)
		for _, m := range r.mounts {
			fill(m.key+".owner", m.owner)
		}
	}
	return errors.Join(mistakes...)
}

// belongs fills in the owner of the files in f.
func (f *Folder) belongs(o Owner, u *directory.User, accounts map[Owner]*directory.POSIX) *Denied {
	f.Belongs = o
	switch {
	case o == Service:
		return nil
	case o == Person:
		f.Owner = &u.POSIX
	case accounts[o] != nil:
		f.Owner = accounts[o]
	default:
		f.Owner = &directory.POSIX{Problem: "the account has not been looked up"}
	}
	if err := f.Owner.Err(); err != nil {
		return &Denied{Reason: NoUID, User: u.Name, Rule: f.Rule, Detail: fmt.Sprintf("folder %s has owner: %s: %v", f.Path, o, err)}
	}
	return nil
}
