package policy

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
)

// An Explanation is a decision with every reason. Its JSON is what berth
// explain --json prints; keys never change meaning.
type Explanation struct {
	User       ExplainedUser     `json:"user"`
	Remote     string            `json:"remote,omitempty"`
	Method     string            `json:"method,omitempty"`
	Time       time.Time         `json:"time"`
	Allowed    bool              `json:"allowed"` // by the rules; the account's state may still refuse
	Reason     Reason            `json:"reason,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Rules      []ExplainedRule   `json:"rules"`
	Values     []ExplainedValue  `json:"values,omitempty"`
	Folders    []ExplainedFolder `json:"folders,omitempty"`
	Rights     []ExplainedAccess `json:"rights,omitempty"`
	ValidUntil *time.Time        `json:"valid_until,omitempty"`
	Warnings   []string          `json:"warnings,omitempty"` // what is wrong on this machine; the rules know nothing of that
}

// ExplainedUser is what the directory knows about a user.
type ExplainedUser struct {
	Name      string           `json:"name"`
	ID        string           `json:"id,omitempty"`
	DN        string           `json:"dn,omitempty"`
	Directory string           `json:"directory,omitempty"`
	State     string           `json:"state"`
	Because   string           `json:"because,omitempty"`    // what the state was read from
	Until     *time.Time       `json:"until,omitempty"`      // when the state ends by itself
	Cached    bool             `json:"cached,omitempty"`     // no server answered
	UID       uint32           `json:"uid,omitempty"`        // on a disk; 0: none that can be used
	GroupsCut int              `json:"groups_cut,omitempty"` // groups beyond what a disk can count, which do not count there
	GID       uint32           `json:"gid,omitempty"`
	GIDs      []uint32         `json:"gids,omitempty"` // of further groups
	Groups    []ExplainedGroup `json:"groups"`
	Keys      []ExplainedKey   `json:"keys"`
	TOTP      *bool            `json:"totp,omitempty"` // whether there is a secret for one-time codes; nil: nobody looked
}

// ExplainedGroup is a group of the user and how it was found.
type ExplainedGroup struct {
	Name string `json:"name,omitempty"`
	DN   string `json:"dn,omitempty"`
	SID  string `json:"sid,omitempty"`
	GID  uint32 `json:"gid,omitempty"` // on a disk
	Via  string `json:"via"`
}

// ExplainedKey is a key of the user, or a value that is not used as one.
type ExplainedKey struct {
	Fingerprint string     `json:"fingerprint,omitempty"`
	Type        string     `json:"type,omitempty"`
	Comment     string     `json:"comment,omitempty"`
	Attribute   string     `json:"attribute"`
	Index       int        `json:"index"`
	From        []string   `json:"from,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Skipped     string     `json:"skipped,omitempty"` // why it is not used
}

// ExplainedRule is one rule and whether it matched.
type ExplainedRule struct {
	Name       string               `json:"name"`
	Deny       bool                 `json:"deny,omitempty"`
	Matched    bool                 `json:"matched"`
	Conditions []ExplainedCondition `json:"conditions"`
}

// ExplainedCondition is one condition of a rule, and why it did or did not hold.
type ExplainedCondition struct {
	Key  string `json:"key"` // directory, groups, users, from, hours, method
	Held bool   `json:"held"`
	Why  string `json:"why"`
}

// An ExplainedValue is one single value, and where it comes from.
type ExplainedValue struct {
	Key      string   `json:"key"`
	Value    string   `json:"value"`
	Rule     string   `json:"rule,omitempty"`     // empty: the default
	Shadowed []string `json:"shadowed,omitempty"` // later rules that set it too, without effect
	Note     string   `json:"note,omitempty"`     // the attribute that it is from, or what is wrong with the attribute
}

// ExplainedFolder is a folder of the view.
type ExplainedFolder struct {
	Path     string   `json:"path"`
	Host     string   `json:"host,omitempty"`
	Owner    Owner    `json:"owner"`
	Rule     string   `json:"rule"`
	Shadowed []string `json:"shadowed,omitempty"` // later rules with another folder there, without effect

	Disk *ExplainedDisk `json:"disk,omitempty"` // if it was asked for; the rules know nothing of it
}

// ExplainedDisk has owner, mode and ACL of a host directory, and what the
// disk permits there.
type ExplainedDisk struct {
	Error   string   `json:"error,omitempty"` // why it could not be asked; the rest is then empty
	UID     uint32   `json:"uid"`
	GID     uint32   `json:"gid"`
	Mode    string   `json:"mode,omitempty"`
	ACL     []string `json:"acl,omitempty"`
	May     []string `json:"may,omitempty"`     // which of list, enter and change the disk permits the person
	Differs string   `json:"differs,omitempty"` // what the rules permit and the disk does not
}

// An ExplainedAccess is what may be done at a path and below it.
type ExplainedAccess struct {
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
	e := Explanation{User: explainUser(req.User), Method: req.Method, Time: req.Time}
	if req.Remote.IsValid() {
		e.Remote = req.Remote.Unmap().String()
	}
	for i := range s.rules {
		r := &s.rules[i]
		out := ExplainedRule{Name: r.name, Deny: r.deny, Matched: r.fails(f, i, 0) < 0, Conditions: []ExplainedCondition{}}
		for _, c := range r.conditions {
			held := c.holds(f, i)
			out.Conditions = append(out.Conditions, ExplainedCondition{Key: c.key, Held: held, Why: c.explain(f, held)})
		}
		e.Rules = append(e.Rules, out)
	}
	matched, until, err := s.match(f)
	e.ValidUntil = timeOrNil(until)
	var res *resolution
	if err == nil {
		res, err = s.merge(matched, req.User)
	}
	if d, denied := errors.AsType[*Denied](err); denied {
		e.Reason, e.Detail = d.Reason, d.Detail
		return e
	}
	e.Allowed = true
	for i, s := range settings {
		o := res.settings[i]
		e.Values = append(e.Values, ExplainedValue{Key: s.key, Value: s.show(&res.policy), Rule: o.rule, Shadowed: o.shadowed, Note: o.note})
	}
	for i, f := range res.policy.Folders {
		e.Folders = append(e.Folders, ExplainedFolder{Path: f.Path, Host: f.Host, Owner: f.Belongs, Rule: f.Rule, Shadowed: res.mounts[i].shadowed})
	}
	for i, a := range res.policy.Access {
		from := res.access[i]
		e.Rights = append(e.Rights, ExplainedAccess{
			Path:        a.Path,
			Permissions: a.Ops.Names(),
			Allow:       a.Names.Allow,
			Deny:        a.Names.Deny,
			Hide:        a.Hide,
			Rule:        a.Rule,
			NamesRule:   from.names.rule,
			Shadowed:    slices.Concat(from.ops.shadowed, from.names.shadowed),
		})
	}
	return e
}

// ForUser returns what the user may see of e: no paths of this machine, and no
// rules that do not match, because those say something about other people.
func (e Explanation) ForUser() Explanation {
	e.Rules = slices.DeleteFunc(slices.Clone(e.Rules), func(r ExplainedRule) bool { return !r.Matched })
	e.Folders, e.Warnings = slices.Clone(e.Folders), nil
	for i := range e.Folders {
		e.Folders[i].Host, e.Folders[i].Disk = "", nil
	}
	if e.Reason == Placeholder {
		e.Detail = "the path of a folder cannot be made from what the directory knows"
	}
	return e
}

func explainUser(u *directory.User) ExplainedUser {
	out := ExplainedUser{
		Name:      u.Name,
		ID:        u.ID,
		DN:        u.DN,
		Directory: u.Source,
		State:     u.State.Status.String(),
		Because:   u.State.Reason,
		Until:     timeOrNil(u.State.Until),
		Cached:    u.Cached,
		UID:       u.POSIX.UID,
		GroupsCut: u.POSIX.Cut,
		GID:       u.POSIX.GID,
		GIDs:      u.POSIX.Groups,
		Groups:    []ExplainedGroup{},
		Keys:      []ExplainedKey{},
	}
	for _, g := range u.Groups {
		out.Groups = append(out.Groups, ExplainedGroup{Name: g.Name, DN: g.DN.String(), SID: g.SID, GID: g.GID, Via: g.Via})
	}
	for _, k := range u.Keys {
		out.Keys = append(out.Keys, ExplainedKey{
			Fingerprint: ssh.FingerprintSHA256(k), Type: k.Type(), Comment: k.Comment, Attribute: k.Attribute, Index: k.Index,
			From: k.From, Expires: timeOrNil(k.Expires),
		})
	}
	for _, n := range u.Notes {
		out.Keys = append(out.Keys, ExplainedKey{Fingerprint: n.Fingerprint, Attribute: n.Attribute, Index: n.Index, Skipped: n.Reason})
	}
	return out
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
