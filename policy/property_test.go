package policy

import (
	"errors"
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	"berth/directory"
)

// some returns one of all.
func some[T any](r *rand.Rand, all ...T) T { return all[r.Intn(len(all))] }

// randomRule makes a rule of few words, so that rules meet.
func randomRule(r *rand.Rand, i int) Rule {
	rule := Rule{Name: fmt.Sprint("r", i)}
	groups := []string{"staff", "finance", "x*", "S-1-5-21-7-99", "cn=staff,dc=corp", "corp\\staff"}
	w := &rule.When
	if r.Intn(2) == 0 {
		w.Groups = []string{some(r, groups...)}
	}
	if r.Intn(6) == 0 {
		w.Users = []string{some(r, "alice", "a*", "bob")}
	}
	if r.Intn(4) == 0 {
		w.From = []string{some(r, "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0")}
	}
	if r.Intn(4) == 0 {
		w.Method = []string{some(r, methods...)}
	}
	if r.Intn(3) == 0 {
		w.Hours = some(r, "Mon-Fri 06:00-20:00 Europe/Berlin", "22:00-06:00 UTC", "Sun 02:30-03:30 Europe/Berlin", "Sat-Mon America/New_York", "01:30-02:30 Australia/Lord_Howe, Wed UTC")
	}
	if r.Intn(5) == 0 {
		rule.Deny = true
		return rule
	}
	perms := func() []string {
		return some(r, nil, []string{}, []string{"full"}, []string{"create"}, []string{"list"}, []string{"read_only"}, []string{"write", "list"})
	}
	if r.Intn(2) == 0 {
		rule.Home = &Home{Host: "/srv/%u", Permissions: perms()}
	}
	places := []string{"/a", "/a/b", "/a/b/c", "/a-b", "/d"}
	for _, p := range places {
		if r.Intn(4) == 0 {
			rule.Folders = append(rule.Folders, Mount{Path: p, Host: "/srv" + p, Permissions: perms()})
		}
		if r.Intn(4) == 0 {
			g := Grant{Path: p, Permissions: perms()}
			if r.Intn(2) == 0 || g.Permissions == nil {
				g.Names.Deny, g.Hide = []string{"*.exe"}, r.Intn(2) == 0
			}
			rule.Access = append(rule.Access, g)
		}
	}
	if r.Intn(4) == 0 {
		rule.Services = some(r, []string{}, []string{"sftp"}, []string{"scp", "passwd"})
	}
	if r.Intn(5) == 0 {
		rule.Require = Require{{some(r, methods...)}}
	}
	if r.Intn(3) == 0 {
		rule.Limits.Sessions = &Amount[int]{Value: new(r.Intn(3))}
	}
	if r.Intn(3) == 0 {
		rule.Limits.Quota = &Amount[int64]{Attribute: some(r, "", "q", "none"), Value: new(int64(r.Intn(3)))}
	}
	return rule
}

func randomUser(r *rand.Rand) *directory.User {
	u := &directory.User{Name: some(r, "alice", "bob", "anna"), Identity: directory.Identity{ID: "1", Source: "corp"}, Attrs: map[string][]string{"q": {some(r, "5", "0", "x", "7GiB")}}}
	u.Groups = append(u.Groups, directory.Group{SID: "S-1-5-21-7-513", Name: "Domain Users", DN: directory.DNOf("cn=domain users,dc=corp"), Via: "primary"})
	for _, g := range []directory.Group{
		{Name: "staff", DN: directory.DNOf("cn=staff,dc=corp"), Via: "direct"},
		{Name: "finance", DN: directory.DNOf("cn=finance,dc=corp"), Via: "direct"},
		{SID: "S-1-5-21-7-99", Via: "nested"},
		{SID: "S-1-5-21-7-98", Via: "nested"},
	} {
		if r.Intn(4) == 0 {
			u.Groups = append(u.Groups, g)
		}
	}
	return u
}

func outcomeOf(p *Policy, err error) string {
	var d *Denied
	if errors.As(err, &d) {
		return fmt.Sprint(d.Reason, d.Rule)
	}
	return fmt.Sprint(p.Rules)
}

// TestProperties holds Explain, ValidUntil and Circumstances to Resolve, with random rules.
func TestProperties(t *testing.T) {
	for seed := range 2000 {
		r := rand.New(rand.NewSource(int64(seed)))
		var rules []Rule
		for i := range 1 + r.Intn(5) {
			rules = append(rules, randomRule(r, i))
		}
		set, err := Compile(rules, "corp")
		if err != nil {
			t.Fatal(err)
		}
		req := Request{User: randomUser(r), Method: some(r, methods...), Remote: some(r, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:10.2.2.3"), netip.MustParseAddr("2001:db8::1")), Time: time.Unix(1774000000+int64(r.Intn(365*86400)), 0)}
		p, err := set.Resolve(req)
		e := set.Explain(req)
		if e.Allowed != (err == nil) {
			t.Fatalf("%d: Resolve %v, Explain %+v", seed, err, e)
		}
		if err != nil {
			continue
		}
		var matched []string
		for _, x := range e.Rules {
			if x.Matched {
				matched = append(matched, x.Name)
			}
		}
		if !slices.Equal(matched, p.Rules) {
			t.Fatalf("%d: %v %v", seed, matched, p.Rules)
		}
		for _, name := range []string{"/", "/x", "/a", "/a/x", "/a/b", "/a/b/x.exe", "/a/b/c/d", "/a-b/x", "/d/y.exe/z"} {
			var best ExplainedAccess
			for _, a := range e.Rights {
				if Below(a.Path, name) && len(a.Path) > len(best.Path) {
					best = a
				}
			}
			want := Access{Path: best.Path, Ops: ops(best.Permissions), Names: Names{Allow: best.Allow, Deny: best.Deny}, Hide: best.Hide}
			for _, op := range []Op{List, Read, Create, Overwrite, Mkdir, Rename, Delete, Rmdir, SetAttr, Symlink} {
				if got, w := p.Check(op, name) == nil, want.Ops&op != 0 && want.names(op, name); got != w {
					t.Fatalf("%d: %s %s: %t, explained %t: %+v", seed, op, name, got, w, e.Rights)
				}
			}
		}
		// Until ValidUntil nothing changes.
		at := req
		for _, step := range []time.Duration{time.Minute, 7 * time.Minute, 31 * time.Minute, time.Hour, 3 * time.Hour, 11 * time.Hour, 26 * time.Hour, 50 * time.Hour, 121 * time.Hour} {
			at.Time = req.Time.Add(step)
			if !p.ValidUntil.IsZero() && !at.Time.Before(p.ValidUntil) {
				break
			}
			if got := outcomeOf(set.Resolve(at)); got != outcomeOf(p, nil) {
				t.Errorf("%d: %v at %s, valid until %s, but at %s %v; rules %+v", seed, p.Rules, req.Time, p.ValidUntil, at.Time, got, rules)
				break
			}
		}
		// A review has this login.
		if c := set.Circumstances(req.Time); seed%10 == 0 {
			found := false
			for _, q := range c.Of(req.User) {
				found = found || outcomeOf(set.Resolve(q)) == outcomeOf(p, nil)
			}
			if !found {
				t.Errorf("%d: no circumstances with %v", seed, p.Rules)
			}
		}
	}
}
