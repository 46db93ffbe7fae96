package policy

import (
	"errors"
	"fmt"
)

// ErrDenied is wrapped by every refusal of Resolve; Check's errors wrap
// io/fs.ErrPermission.
var ErrDenied = errors.New("denied by policy")

// Reason is a code that says why Resolve refused. Its meaning never changes.
type Reason string

// The reasons.
const (
	NoRule        Reason = "no_rule"        // no rule matches
	DenyRule      Reason = "deny_rule"      // a rule with deny matches
	GroupsUnknown Reason = "groups_unknown" // a rule that denies or requires names groups, and the name of one of the user's groups cannot be read
	NoUID         Reason = "no_uid"         // a folder belongs to the person, and the directory has no uid or gid that can be used
	Placeholder   Reason = "placeholder"    // a placeholder of a host path has no value that can be used
)

// A Denied is why a login is refused. It wraps ErrDenied.
type Denied struct {
	Reason Reason
	User   string
	Rule   string // the rule that refused; empty for NoRule
	Detail string // more, for the administrator
}

func (d *Denied) Error() string { return fmt.Sprintf("%v: %s", ErrDenied, d.Detail) }

func (d *Denied) Unwrap() error { return ErrDenied }

// A Mistake is one thing wrong with the rules.
type Mistake struct {
	Rule  string // name of the rule, if it has one
	Index int    // of the rule, from 0
	Key   string // where: rules[2].folders[0].path
	Value string // what is there; empty if nothing is
	Want  string // what would be right
}

func (m *Mistake) Error() string {
	text := m.Key + ": " + m.What()
	if m.Rule != "" {
		text += fmt.Sprintf(" (rule %q)", m.Rule)
	}
	return text
}

// What returns the value and what would be right, without the place.
func (m *Mistake) What() string {
	if m.Value == "" {
		return m.Want
	}
	return fmt.Sprintf("%q: %s", m.Value, m.Want)
}

// A Clash is two rules with different settings for one path of the view. For
// a person whom both match, the first rule takes precedence.
type Clash struct {
	Path          string
	What          string // "folder", "permissions" or "names"
	First, Second Place
}

// A Place is a part of a rule.
type Place struct {
	Rule string
	Key  string // rules[2].folders[0]
}

func (c Clash) String() string {
	verb := "are"
	if c.What == "folder" {
		verb = "is"
	}
	return fmt.Sprintf("%s: the %s of rule %q %s not used for people whom rule %q also matches: that rule comes first", c.Path, c.What, c.Second.Rule, verb, c.First.Rule)
}
