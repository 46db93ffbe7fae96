package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/policy/review"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

const (
	mostFound   = 1000 // people that a search finds
	perPage     = 100  // of them on a page
	mostNews    = 10   // events of a person
	nestingKept = 5 * time.Minute
	nestingTime = 5 * time.Second // to read how groups contain each other
)

// A personBody is one person, and why they may do what they may do, or the people whose
// names begin with what was asked for.
type personBody struct {
	Find, From, Method, At, Group string // what is asked
	Methods                       []string
	Problem                       string
	Found                         *policy.Explanation // nil: nobody is explained
	User                          *directory.User     // who is explained
	Picture                       picture
	Keys                          []keyRow
	Sessions                      []admin.Session
	Events                        []eventRow // the newest first

	People      []directory.Found // whose names begin with Find
	Page, Pages int
	More        bool // there are others
}

// A keyRow is a key, and when it was added and used, as far as the end of the events file
// says; zero: it does not.
type keyRow struct {
	policy.ExplainedKey
	Added, Used time.Time
}

// person explains what somebody may do, also under other circumstances: another address,
// method or time, or one more group. If nobody has that login name, it lists the people
// whose names begin with it.
func (c *Console) person(w http.ResponseWriter, r *http.Request, s *session) {
	b := personBody{
		Find: strings.TrimSpace(r.FormValue("user")), From: strings.TrimSpace(r.FormValue("from")),
		Method: r.FormValue("method"), At: r.FormValue("at"), Group: strings.TrimSpace(r.FormValue("group")), Methods: policy.Methods(),
	}
	if b.Method == "" {
		b.Method = b.Methods[0]
	}
	status := http.StatusOK
	var err error
	switch begin := strings.TrimSpace(r.FormValue("begin")); {
	case b.Find != "":
		status, err = c.explain(r, &b)
	case begin != "":
		b.Find = begin
		status, err = c.find(r, &b)
	}
	if err != nil {
		b.Problem = err.Error()
	}
	c.show(w, status, "people.html", c.view(s, say("people.title"), b))
}

// find fills in the people whose names begin with what is asked for.
func (c *Console) find(r *http.Request, b *personBody) (int, error) {
	all, more, err := c.Gate.Directory.Find(r.Context(), b.Find, mostFound)
	switch {
	case err != nil:
		return http.StatusBadGateway, err
	case len(all) == 0:
		return http.StatusNotFound, errors.New(say("people.nobody", b.Find))
	}
	b.More = more
	b.People, b.Page, b.Pages = paged(all, perPage, pageOf(r))
	return http.StatusOK, nil
}

// timeForm is that of an input of type datetime-local. It is read as UTC.
const timeForm = "2006-01-02T15:04"

// explain looks the person up and fills in b. It returns the status of the answer.
func (c *Console) explain(r *http.Request, b *personBody) (int, error) {
	q := policy.Request{Method: b.Method, Time: time.Now()}
	var err error
	if b.At != "" {
		if q.Time, err = time.Parse(timeForm, b.At); err != nil {
			return http.StatusBadRequest, errors.New(say("form.bad_time", b.At, timeForm))
		}
	}
	if b.From != "" {
		if q.Remote, err = netip.ParseAddr(b.From); err != nil {
			return http.StatusBadRequest, errors.New(say("form.bad_address", b.From))
		}
	}
	if !slices.Contains(b.Methods, b.Method) {
		return http.StatusBadRequest, errors.New(say("form.bad_method", b.Method, strings.Join(b.Methods, ", ")))
	}
	u, err := c.Gate.Directory.Lookup(r.Context(), b.Find)
	switch {
	case errors.Is(err, directory.ErrNoUser):
		return c.find(r, b)
	case err != nil:
		return http.StatusBadGateway, err
	}
	var nesting error // the groups that contain another one are not known
	if b.Group != "" {
		g, err := supposed(b.Group)
		if err != nil {
			return http.StatusBadRequest, err
		}
		groups, err := c.nesting.of(r.Context(), c.Gate.Directory)
		if err != nil {
			nesting = errors.New(say("folders.no_nesting", err))
		}
		changed := *u
		changed.Groups = append(slices.Clone(u.Groups), groups.With(u.Source, g)...)
		u = &changed
	}
	q.User = u
	set := c.Rules.Set()
	e := set.Explain(q)
	b.Found, b.User = &e, u
	b.Picture = draw(e, c.groupsOf(r.Context(), set, u))
	for _, open := range c.open() {
		if open.User == u.Name && len(b.Sessions) < mostRows {
			b.Sessions = append(b.Sessions, open)
		}
	}
	return http.StatusOK, errors.Join(nesting, c.news(b))
}

// news fills in what the end of the events file has about the person and the keys.
func (c *Console) news(b *personBody) error {
	added, used := map[string]time.Time{}, map[string]time.Time{}
	err := c.eventsOf(b.User, nil, func(m audit.Match) bool {
		b.Events = append(b.Events, newEventRow(m))
		return len(b.Events) < mostNews
	})
	if err == nil && len(b.Found.User.Keys) > 0 {
		err = c.eventsOf(b.User, []string{event.KeyAdded.String(), event.LoginAccepted.String()}, func(m audit.Match) bool {
			at := used
			if m.Type == event.KeyAdded.String() {
				at = added
			}
			if key := m.Fields["fingerprint"]; at[key].IsZero() { // the newest comes first
				at[key] = m.Time
			}
			return true
		})
	}
	for _, k := range b.Found.User.Keys {
		b.Keys = append(b.Keys, keyRow{k, added[k.Fingerprint], used[k.Fingerprint]})
	}
	return err
}

// eventsOf finds the events of u at the end of the events file, the newest first.
func (c *Console) eventsOf(u *directory.User, types []string, found func(audit.Match) (more bool)) error {
	if c.File == "" {
		return nil
	}
	search, err := audit.NewSearch(audit.Query{User: u.Name, Types: types})
	if err != nil {
		return err
	}
	return search.Newest(&c.tail, c.File, mostTail, func(m audit.Match) bool {
		if m.UserID != u.ID && (m.UserID != "" || !strings.EqualFold(m.User, u.Name)) || m.Directory != "" && m.Directory != u.Source {
			return true // an event of somebody else who had the name before
		}
		return found(m)
	})
}

// supposed is a group that the person is not in, by its name or DN. The groups that contain
// it are not known here.
func supposed(group string) (directory.Group, error) {
	g := directory.Group{Name: group, Via: say("people.supposed")}
	if !strings.Contains(group, "=") {
		return g, nil
	}
	dn, err := directory.ParseDN(group)
	if err != nil {
		return g, errors.New(say("form.bad_group", group, err))
	}
	return directory.Group{DN: dn, Via: g.Via}, nil
}

// A nesting remembers for some minutes how groups contain each other.
type nesting struct {
	mu     sync.Mutex
	groups review.Groups
	err    error // why some are missing
	read   time.Time
}

// of returns how the groups of d contain each other, as far as it could be read.
func (n *nesting) of(ctx context.Context, d directory.Directory) (review.Groups, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.read.IsZero() || time.Since(n.read) > nestingKept {
		ctx, cancel := context.WithTimeout(ctx, nestingTime)
		defer cancel()
		all, err := d.Nesting(ctx)
		n.groups, n.err, n.read = review.NewGroups(all), err, time.Now()
	}
	return n.groups, n.err
}

// A through is a group that rules name, with how the person is in it.
type through struct {
	name  string
	chain []string // groups from the person's own to this one, without this one; "…": not known
	via   string
	rules []string
}

// groupsOf returns the groups of u that rules name.
func (c *Console) groupsOf(ctx context.Context, set *policy.Set, u *directory.User) (all []through) {
	for _, rule := range set.RuleNames() {
		for _, g := range set.Through(rule, u) {
			name := groupName(g)
			i := slices.IndexFunc(all, func(t through) bool { return t.name == name })
			if i < 0 {
				t := through{name: name, via: g.Via}
				if g.Via == "nested" {
					groups, _ := c.nesting.of(ctx, c.Gate.Directory) // the drawing then says "…"
					chain := groups.Chain(u, g)
					t.chain = chain[:len(chain)-1]
				}
				i, all = len(all), append(all, t)
			}
			all[i].rules = append(all[i].rules, rule)
		}
	}
	return all
}

// groupName returns the value in the first part of a DN, or the name if there
// is no DN.
func groupName(g directory.Group) string {
	if g.Name != "" {
		return g.Name
	}
	return g.DN.String()
}
