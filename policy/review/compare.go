package review

import (
	"fmt"
	"slices"
	"time"

	"berth/directory"
	"berth/policy"
)

// A Comparison finds the people whose access other rules would change, under all
// circumstances. Make it with CompareRules. It is not safe for concurrent use.
type Comparison struct {
	People   int        // that were checked
	Affected []Affected // in the order in which they came
	Most     int        // of Affected; 0: any number
	Full     bool       // there are more than Most
	Problem  error      // why people are missing; the caller sets it

	old, next     *policy.Set
	circumstances *policy.Circumstances
}

// An Affected is a person whose access other rules change.
type Affected struct {
	User      string
	Directory string
	State     string // of the account
	Changes   []policy.Change
	Only      string // an example of the circumstances; empty: the same changes at every login
}

// CompareRules begins a comparison of old with next.
func CompareRules(old, next *policy.Set, now time.Time) (*Comparison, error) {
	circumstances, err := old.Together(next, now)
	return &Comparison{old: old, next: next, circumstances: circumstances}, err
}

// Add compares what u may do.
func (c *Comparison) Add(u *directory.User) {
	c.People++
	var all []policy.Change
	var example policy.Request
	logins, changed, same := 0, 0, true
	for _, req := range c.circumstances.Of(u) {
		changes := c.old.Compare(c.next, req)
		logins++
		if len(changes) == 0 {
			continue
		}
		if changed++; changed == 1 {
			all, example = changes, req
			continue
		}
		same = same && slices.Equal(all, changes)
		for _, change := range changes {
			if !slices.Contains(all, change) {
				all = append(all, change)
			}
		}
	}
	switch {
	case len(all) == 0:
	case c.Most > 0 && len(c.Affected) == c.Most:
		c.Full = true
	default:
		a := Affected{User: u.Name, Directory: u.Source, State: u.State.Status.String(), Changes: all}
		if !same || changed < logins {
			a.Only = fmt.Sprintf("from %s, by %s, at %s", example.Remote, example.Method, example.Time.Format("Mon 15:04"))
		}
		c.Affected = append(c.Affected, a)
	}
}
