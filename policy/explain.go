package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"berth/directory"
)

// An Explanation is a decision with every reason. Its JSON is what berth
// explain --json prints; keys never change meaning.
type Explanation struct {
	User       UserFacts   `json:"user"`
	Remote     string      `json:"remote,omitempty"`
	Method     string      `json:"method,omitempty"`
	Time       time.Time   `json:"time"`
	Allowed    bool        `json:"allowed"` // by the rules; the account's state has its own say
	Reason     Reason      `json:"reason,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	Rules      []RuleFacts `json:"rules"`
	Values     []Value     `json:"values,omitempty"`
	Folders    []Shown     `json:"folders,omitempty"`
	Rights     []Right     `json:"rights,omitempty"`
	ValidUntil *time.Time  `json:"valid_until,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"` // what is wrong on this machine; the rules know nothing of that
}

// UserFacts is what the directory says about a user.
type UserFacts struct {
	Name      string       `json:"name"`
	ID        string       `json:"id,omitempty"`
	DN        string       `json:"dn,omitempty"`
	Directory string       `json:"directory,omitempty"`
	State     string       `json:"state"`
	Because   string       `json:"because,omitempty"` // what the state was read from
	Until     *time.Time   `json:"until,omitempty"`   // when the state ends by itself
	Cached    bool         `json:"cached,omitempty"`  // no server answered
	Groups    []GroupFacts `json:"groups"`
	Keys      []KeyFacts   `json:"keys"`
	TOTP      *bool        `json:"totp,omitempty"` // whether there is a secret for one-time codes; nil: nobody looked
}

// GroupFacts is a group of the user and how it was found.
type GroupFacts struct {
	Name string `json:"name,omitempty"`
	DN   string `json:"dn,omitempty"`
	SID  string `json:"sid,omitempty"`
	Via  string `json:"via"`
}

// KeyFacts is a key of the user, or a value that is not used as one.
type KeyFacts struct {
	Fingerprint string     `json:"fingerprint,omitempty"`
	Type        string     `json:"type,omitempty"`
	Comment     string     `json:"comment,omitempty"`
	Attribute   string     `json:"attribute"`
	Index       int        `json:"index"`
	From        []string   `json:"from,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Skipped     string     `json:"skipped,omitempty"` // why it is not used
}

// RuleFacts is one rule and whether it matched.
type RuleFacts struct {
	Name       string           `json:"name"`
	Deny       bool             `json:"deny,omitempty"`
	Matched    bool             `json:"matched"`
	Conditions []ConditionFacts `json:"conditions"`
}

// ConditionFacts is one condition of a rule, and why it did or did not hold.
type ConditionFacts struct {
	Key  string `json:"key"` // groups, users, from, hours, method
	Held bool   `json:"held"`
	Why  string `json:"why"`
}

// A Value is one single value, and where it comes from.
type Value struct {
	Key      string   `json:"key"`
	Value    string   `json:"value"`
	Rule     string   `json:"rule,omitempty"`     // empty: the default
	Shadowed []string `json:"shadowed,omitempty"` // rules that set it too, in vain
}

// Shown is a folder of the view.
type Shown struct {
	Path     string   `json:"path"`
	Host     string   `json:"host,omitempty"`
	Rule     string   `json:"rule"`
	Shadowed []string `json:"shadowed,omitempty"` // rules with another folder there, in vain
}

// A Right is what may be done at a path and below it.
type Right struct {
	Path        string   `json:"path"`
	Permissions []string `json:"permissions"`
	Allow       []string `json:"allow,omitempty"` // names
	Deny        []string `json:"deny,omitempty"`  // names
	Hide        bool     `json:"hide,omitempty"`
	Rule        string   `json:"rule,omitempty"` // empty: the directories that lead to a folder
	NamesRule   string   `json:"names_rule,omitempty"`
	Shadowed    []string `json:"shadowed,omitempty"`
}

// Explain makes the decision of Resolve and says why. It does no I/O.
func (s *Set) Explain(req Request) Explanation {
	f := s.facts(req)
	e := Explanation{User: userFacts(req.User), Method: req.Method, Time: req.Time}
	if req.Remote.IsValid() {
		e.Remote = req.Remote.Unmap().String()
	}
	for i := range s.rules {
		e.Rules = append(e.Rules, s.rules[i].explain(f, i))
	}
	matched, until, err := s.match(f)
	e.ValidUntil = timeOrNil(until)
	var v *view
	if err == nil {
		v, err = merge(matched, req.User)
	}
	var d *Denied
	if errors.As(err, &d) {
		e.Reason, e.Detail = d.Reason, d.Detail
		return e
	}
	e.Allowed = true
	e.Values, e.Folders, e.Rights = v.values(), v.shown(), v.rights()
	return e
}

// ForUser returns e for the user's own eyes: without paths of this machine, and
// without rules that do not match, which tell of other people and of networks.
func (e Explanation) ForUser() Explanation {
	e.Rules = slices.DeleteFunc(slices.Clone(e.Rules), func(r RuleFacts) bool { return !r.Matched })
	e.Folders, e.Warnings = slices.Clone(e.Folders), nil
	for i := range e.Folders {
		e.Folders[i].Host = ""
	}
	if e.Reason == Placeholder {
		e.Detail = "the path of a folder cannot be made from what the directory knows"
	}
	return e
}

func (r *rule) explain(f *facts, i int) RuleFacts {
	out := RuleFacts{Name: r.name, Deny: r.deny, Matched: r.fails(f, i) < 0, Conditions: []ConditionFacts{}}
	for _, c := range r.conditions {
		held := c.holds(f, i)
		out.Conditions = append(out.Conditions, ConditionFacts{Key: c.key, Held: held, Why: c.explain(f, held)})
	}
	return out
}

func (v *view) values() []Value {
	var all []Value
	for i, s := range settings {
		o := v.settings[i]
		all = append(all, Value{Key: s.key, Value: s.show(&v.policy), Rule: o.rule, Shadowed: o.shadowed})
	}
	return all
}

func (v *view) shown() []Shown {
	var all []Shown
	for i, f := range v.policy.Folders {
		all = append(all, Shown{Path: f.Path, Host: f.Host, Rule: f.Rule, Shadowed: v.folders[i].shadowed})
	}
	return all
}

func (v *view) rights() []Right {
	var all []Right
	for i, a := range v.policy.Access {
		e := v.entries[i]
		all = append(all, Right{
			Path:        a.Path,
			Permissions: a.Ops.Names(),
			Allow:       a.Names.Allow,
			Deny:        a.Names.Deny,
			Hide:        a.Hide,
			Rule:        a.Rule,
			NamesRule:   e.names.rule,
			Shadowed:    slices.Concat(e.ops.shadowed, e.names.shadowed),
		})
	}
	return all
}

func userFacts(u *directory.User) UserFacts {
	out := UserFacts{
		Name:      u.Name,
		ID:        u.ID,
		DN:        u.DN,
		Directory: u.Source,
		State:     u.State.Status.String(),
		Because:   u.State.Reason,
		Until:     timeOrNil(u.State.Until),
		Cached:    u.Cached,
		Groups:    []GroupFacts{},
		Keys:      []KeyFacts{},
	}
	for _, g := range u.Groups {
		out.Groups = append(out.Groups, GroupFacts{Name: g.Name, DN: g.DN, SID: g.SID, Via: g.Via})
	}
	for _, k := range u.Keys {
		facts := KeyFacts{
			Fingerprint: fingerprint(k), Type: k.Type(), Comment: k.Comment, Attribute: k.Attribute, Index: k.Index,
			From: k.From, Expires: timeOrNil(k.Expires),
		}
		if k.Weak != "" {
			facts.Skipped = k.Weak + ", unless ssh.legacy allows it"
		}
		out.Keys = append(out.Keys, facts)
	}
	for _, n := range u.Notes {
		out.Keys = append(out.Keys, KeyFacts{Fingerprint: n.Fingerprint, Attribute: n.Attribute, Index: n.Index, Skipped: n.Reason})
	}
	return out
}

// fingerprint is that of ssh-keygen -l.
func fingerprint(k directory.Key) string {
	sum := sha256.Sum256(k.Marshal())
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
