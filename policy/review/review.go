// Package review says who can reach what, and why: every person of the directories, with
// the rights at each path, the rule and the groups that give them, and when each right was
// last used. It decides as a login does, by policy, and does no I/O. Start at New.
package review

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/directory"
	"berth/policy"
)

// Settings is what a review looks for beside the rights.
type Settings struct {
	// ForbidTogether is lists of groups, written as in rules. Nobody should be in two
	// groups of one list: a review names those who are.
	ForbidTogether [][]string `mapstructure:"forbid_together"`
}

// Check reports what in s cannot be used, with the key and what would be right.
func (s Settings) Check() []error {
	_, errs := s.compile()
	return errs
}

// compile makes of each list of groups a set with a rule for each group.
func (s Settings) compile() (sets []*policy.Set, errs []error) {
	for i, groups := range s.ForbidTogether {
		if len(groups) < 2 {
			errs = append(errs, fmt.Errorf("forbid_together[%d]: %q: must name two groups or more", i, strings.Join(groups, ", ")))
			continue
		}
		var rules []policy.Rule
		for _, g := range groups {
			rules = append(rules, policy.Rule{Name: g, When: policy.When{Groups: []string{g}}})
		}
		set, err := policy.Compile(rules)
		var m *policy.Mistake
		switch {
		case errors.As(err, &m) && strings.HasSuffix(m.Key, ".name"):
			errs = append(errs, fmt.Errorf("forbid_together[%d][%d]: %q: is empty, or in the list twice", i, m.Index, m.Value))
		case m != nil: // the place in rules would be that of a rule of the file
			errs = append(errs, fmt.Errorf("forbid_together[%d][%d]: %s", i, m.Index, m.What()))
		default:
			sets = append(sets, set)
		}
	}
	return sets, errs
}

// A Row is one person's rights at one path and below it. Its JSON is what berth report
// access prints; keys never change meaning.
type Row struct {
	Owners      []string `json:"owners,omitempty"` // DNs, of the groups that the rule names
	Path        string   `json:"path"`             // in the person's view
	Host        string   `json:"host"`             // on the server; links there are not followed
	User        string   `json:"user"`
	UserID      string   `json:"user_id,omitempty"`
	Directory   string   `json:"directory,omitempty"`
	DN          string   `json:"dn,omitempty"`
	State       string   `json:"state"` // of the account: only active ones can log in
	Permissions []string `json:"permissions"`
	Names       string   `json:"names,omitempty"` // which names only

	Disk *policy.ExplainedDisk `json:"disk,omitempty"` // what the disk says of Host, if it was asked

	Rule       string               `json:"rule"` // gives the permissions
	FolderRule string               `json:"folder_rule,omitempty"`
	FolderWhen string               `json:"folder_when,omitempty"` // that rule matches only then
	When       string               `json:"when,omitempty"`        // the rule matches only then
	Because    string               `json:"because"`               // group, user or everybody
	Chains     [][]string           `json:"chains,omitempty"`
	LastLogin  *time.Time           `json:"last_login,omitempty"`
	LastUse    map[string]time.Time `json:"last_use,omitempty"` // list, read, write, …
	Change     string               `json:"change,omitempty"`   // since the review before
}

// A Conflict is a person in groups that nobody should be in together.
type Conflict struct {
	User      string     `json:"user"`
	UserID    string     `json:"user_id,omitempty"`
	Directory string     `json:"directory,omitempty"`
	State     string     `json:"state"`
	Groups    []string   `json:"groups"` // as they are written in forbid_together
	Chains    [][]string `json:"chains"`
}

// A Report is the result of a review.
type Report struct {
	Made      time.Time  `json:"made"`
	Path      string     `json:"path,omitempty"`     // that was asked about; empty: all
	OfOwner   string     `json:"of_owner,omitempty"` // only rows of this owner are there; empty: all
	RulesHash string     `json:"rules_hash"`
	People    int        `json:"people"`    // that were checked
	Complete  bool       `json:"complete"`  // no person is missing
	Problems  []string   `json:"problems"`  // why somebody may be missing, or something is not proved
	UseSince  *time.Time `json:"use_since"` // the first event; null: no events were read
	Compared  *time.Time `json:"compared"`  // the review before
	Conflicts []Conflict `json:"conflicts"`
	Rows      []Row      `json:"rows"`
}

// A Review makes a Report of people that come one by one. It is not safe for concurrent
// use.
type Review struct {
	// Disk says what the disk permits in a folder, beside the rights of the rules; nil:
	// nobody asks. Set it before Add.
	Disk func(policy.Folder, policy.Op) *policy.ExplainedDisk

	// Most is how many rows the report may have; 0: any number. Set it before Add.
	Most int

	set           *policy.Set
	circumstances *policy.Circumstances
	forbidden     []*policy.Set
	groups        Groups
	uses          *Uses
	target        *target // nil: all paths
	problems      int
	full          bool
	report        Report
}

// New begins a review of path, in the view of people or on the server; empty: of all
// paths. An error says that no rule has the path. nested and uses may be nil.
func New(set *policy.Set, path string, s Settings, nested []directory.Nested, uses *Uses, now time.Time) (*Review, error) {
	forbidden, errs := s.compile()
	if len(errs) > 0 {
		return nil, errs[0]
	}
	r := &Review{
		set: set, circumstances: set.Circumstances(now), forbidden: forbidden, groups: NewGroups(nested), uses: uses,
		report: Report{Made: now.UTC(), Path: path, RulesHash: set.Hash(), Complete: true, Problems: []string{}, Conflicts: []Conflict{}, Rows: []Row{}},
	}
	if uses != nil {
		r.report.UseSince = uses.Since
	}
	var err error
	if path != "" {
		r.target, err = newTarget(set, path)
	}
	return r, err
}

// mostProblems is how many problems a report spells out.
const mostProblems = 100

// Problem records that the report is not complete, or that something in it is not proved.
func (r *Review) Problem(complete bool, text string) {
	r.report.Complete = r.report.Complete && complete
	if r.problems++; r.problems <= mostProblems {
		r.report.Problems = append(r.report.Problems, text)
	}
}

// Report ends the review. Its rows are in the order of paths and names.
func (r *Review) Report() *Report {
	if more := r.problems - mostProblems; more > 0 {
		r.report.Problems = append(r.report.Problems, fmt.Sprintf("and %d more", more))
	}
	slices.SortStableFunc(r.report.Rows, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Directory, b.Directory), strings.Compare(a.User, b.User))
	})
	return &r.report
}

// Full reports whether the report has the most rows that it may have, and lacks
// others.
func (r *Review) Full() bool { return r.full }

// Add adds what u can reach.
func (r *Review) Add(u *directory.User) {
	r.report.People++
	if u.State.Status == directory.StatusUnknown {
		r.Problem(false, fmt.Sprintf("%s: the state of the account is not known: %s", cmp.Or(u.Name, u.DN), u.State.Reason))
	}
	known, undecided := map[string]bool{}, false
	first := len(r.report.Rows)
	for _, req := range r.circumstances.Of(u) {
		p, err := r.set.Resolve(req)
		if err != nil {
			if d, ok := errors.AsType[*policy.Denied](err); ok && !undecided && (d.Reason == policy.GroupsUnknown || d.Reason == policy.Placeholder) {
				undecided = true
				r.Problem(d.Reason == policy.Placeholder, fmt.Sprintf("%s: %s", u.Name, d.Detail))
			}
			continue
		}
		if matched := strings.Join(p.Rules, "\x00"); known[matched] || !p.Allows("sftp") && !p.Allows("scp") {
			continue
		} else {
			known[matched] = true
		}
		for _, row := range r.rows(p) {
			switch {
			case slices.ContainsFunc(r.report.Rows[first:], row.sameRights):
			case r.Most == 0 || len(r.report.Rows) < r.Most:
				r.report.Rows = append(r.report.Rows, row)
			case !r.full:
				r.full = true
				r.Problem(false, fmt.Sprintf("there are more than %d results: the others are missing", r.Most))
			}
		}
	}
	r.conflicts(u)
}

// sameRights reports whether two rows of one person are equal, apart from the
// last uses.
func (a Row) sameRights(b Row) bool {
	return a.Path == b.Path && a.Host == b.Host && a.Rule == b.Rule && a.FolderRule == b.FolderRule && a.Names == b.Names && slices.Equal(a.Permissions, b.Permissions)
}

// rows are what one policy gives.
func (r *Review) rows(p *policy.Policy) []Row {
	var all []Row
	add := func(path string, a policy.Access) {
		folder, host, found := p.FolderOf(path)
		if found && a.Ops != 0 && a.Rule != "" {
			all = append(all, r.row(p, path, host, a, folder))
		}
	}
	if r.target == nil {
		for _, a := range p.Access {
			add(a.Path, a)
		}
		return all
	}
	shown := map[string]bool{}
	for _, top := range r.target.paths(p) {
		if !shown[top] {
			shown[top] = true
			add(top, p.Rights(top))
		}
		for _, a := range p.Access {
			if policy.Below(top, a.Path) && !shown[a.Path] {
				shown[a.Path] = true
				add(a.Path, a)
			}
		}
	}
	return all
}

func (r *Review) row(p *policy.Policy, path, host string, a policy.Access, folder policy.Folder) Row {
	u := p.User
	row := Row{
		Path: path, Host: host, User: u.Name, UserID: u.ID, Directory: u.Source, DN: u.DN, State: u.State.Status.String(),
		Permissions: a.Ops.Names(), Names: a.NamesText(), Rule: a.Rule, When: conditions(r.set.Rule(a.Rule).When), Because: "everybody",
	}
	if folder.Rule != a.Rule {
		row.FolderRule, row.FolderWhen = folder.Rule, conditions(r.set.Rule(folder.Rule).When)
	}
	if groups := r.set.Through(a.Rule, u); len(groups) > 0 {
		row.Because = "group"
		for _, g := range groups {
			row.Chains = append(row.Chains, r.groups.Chain(u, g))
			row.Owners = append(row.Owners, r.groups.owners(u.Source, g)...)
		}
		slices.Sort(row.Owners)
		row.Owners = slices.Compact(row.Owners)
	} else if len(r.set.Rule(a.Rule).When.Users) > 0 {
		row.Because = "user"
	}
	if r.Disk != nil {
		folder.Host = host
		row.Disk = r.Disk(folder, a.Ops)
	}
	if r.uses != nil {
		row.LastLogin, row.LastUse = r.uses.of(p, path)
	}
	return row
}

// conditions says when a rule matches, apart from the person.
func conditions(w policy.When) string {
	var all []string
	if len(w.From) > 0 {
		all = append(all, "from "+strings.Join(w.From, ", "))
	}
	if len(w.Method) > 0 {
		all = append(all, "by "+strings.Join(w.Method, ", "))
	}
	if w.Hours != "" {
		all = append(all, "at "+w.Hours)
	}
	return strings.Join(all, "; ")
}

// conflicts adds the lists of groups of which u is in two or more.
func (r *Review) conflicts(u *directory.User) {
	for _, set := range r.forbidden {
		in := map[string]directory.Group{}
		for _, name := range set.Groups() {
			if groups := set.Through(name, u); len(groups) > 0 {
				in[name] = groups[0]
			}
		}
		if len(in) < 2 {
			continue
		}
		c := Conflict{User: u.Name, UserID: u.ID, Directory: u.Source, State: u.State.Status.String(), Groups: slices.Sorted(maps.Keys(in))}
		for _, name := range c.Groups {
			c.Chains = append(c.Chains, r.groups.Chain(u, in[name]))
		}
		r.report.Conflicts = append(r.report.Conflicts, c)
	}
}
