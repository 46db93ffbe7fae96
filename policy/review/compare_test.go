package review

import (
	"fmt"
	"testing"

	"berth/policy"
)

// TestCompareRules: a change for only one address, method or hour is found. The same
// rights by another rule are no change.
func TestCompareRules(t *testing.T) {
	old := compile(
		t,
		policy.Rule{Name: "money", When: groups("finance"), Folders: folder("/finance", "/srv/f", "read_only")},
		policy.Rule{Name: "office", When: policy.When{Groups: []string{"team"}, From: []string{"10.0.0.0/8"}}, Folders: folder("/team", "/srv/t", "full")},
	)
	next := compile(
		t,
		policy.Rule{Name: "other name", When: groups("finance"), Folders: folder("/finance", "/srv/f", "list", "read")},
		policy.Rule{Name: "office", When: policy.When{Groups: []string{"team"}, From: []string{"10.1.0.0/16"}}, Folders: folder("/team", "/srv/t", "full")},
		policy.Rule{Name: "new", When: policy.When{Users: []string{"eve"}}, Folders: folder("/new", "/srv/n", "full")},
	)
	c, err := CompareRules(old, next, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct{ name, group string }{{"alice", "finance"}, {"bob", "team"}, {"eve", "none"}, {"mallory", "none"}} {
		c.Add(person(u.name, u.group))
	}
	got := []string{}
	for _, a := range c.Affected {
		got = append(got, fmt.Sprintf("%s (%s): %s %s, %d changes", a.User, a.Only, a.Changes[0].Old, a.Changes[0].New, len(a.Changes)))
	}
	equal(t, "affected", got, []string{
		"bob (from 10.0.0.0, by password, at Tue 12:00): allowed denied: no rule matches bob, 1 changes",
		"eve (): denied: no rule matches eve allowed, 9 changes",
	})
	if c.People != 4 || c.Full {
		t.Errorf("%+v", c)
	}
	few, err := CompareRules(old, next, now)
	if err != nil {
		t.Fatal(err)
	}
	few.Most = 1
	few.Add(person("bob", "team"))
	few.Add(person("eve"))
	if len(few.Affected) != 1 || !few.Full || few.People != 2 {
		t.Errorf("with a limit: %+v", few)
	}
}

// TestMost: a report that is full says that others are missing.
func TestMost(t *testing.T) {
	set := compile(t, policy.Rule{Name: "all", Folders: folder("/a", "/srv/a", "full")})
	r, err := New(set, "/a", Settings{}, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	const most = 10_000
	r.Most = most
	for i := range most {
		r.Add(person(fmt.Sprintf("p%05d", i)))
	}
	if r.Full() {
		t.Error("a report is full that has everybody")
	}
	r.Add(person("late"))
	r.Add(person("later"))
	got := r.Report()
	if !r.Full() || got.Complete || len(got.Rows) != most || len(got.Problems) != 1 || got.Problems[0] != "there are more than 10000 results: the others are missing" {
		t.Errorf("full: %t, complete: %t, %d rows, problems %q", r.Full(), got.Complete, len(got.Rows), got.Problems)
	}
}
