package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/directory"
)

// manyRules is n rules with conditions of every cheap kind; the user of
// manyGroups matches four of them.
func manyRules(t testing.TB, n int) *Set {
	var rules []Rule
	for i := range n {
		r := Rule{
			Name:    fmt.Sprintf("rule %d", i),
			Home:    &Home{Host: "/srv/home/%u"},
			Folders: []Mount{{Path: fmt.Sprintf("/shared%d", i), Host: fmt.Sprintf("/srv/shared/%d", i)}},
			Access:  []Grant{{Path: "/inbox", Permissions: []string{"create"}}},
			Limits:  Quantity{Sessions: &Amount[int]{Value: new(5)}},
		}
		switch i % 4 {
		case 0:
			r.When.Groups = []string{fmt.Sprintf("CN=Group %d,OU=Groups,DC=corp,DC=example", i*1000+777)}
		case 1:
			r.When.Groups = []string{fmt.Sprintf("group %d", i*1000+777)}
		case 2:
			r.When.Groups = []string{fmt.Sprintf("S-1-5-21-1-2-3-%d", i*1000+777)}
		case 3:
			r.When = When{Users: []string{fmt.Sprintf("user%d", i)}, From: []string{"10.0.0.0/8"}}
		}
		rules = append(rules, r)
	}
	rules[n/2].When = When{Groups: []string{"cn=group 250,ou=groups,dc=corp,dc=example"}, From: []string{"10.0.0.0/8"}}
	rules[n/2+1].When = When{Groups: []string{"Group 499"}, Hours: "Mon-Fri 06:00-20:00 Europe/Berlin"}
	rules[n/2+2].When = When{Groups: []string{"S-1-5-21-1-2-3-100"}}
	rules[n-1].When = When{}
	return compile(t, rules...)
}

func manyGroups(n int) *directory.User {
	u := &directory.User{Name: "Alice", Identity: directory.Identity{ID: "1"}}
	for i := range n {
		u.Groups = append(u.Groups, directory.Group{
			DN:   directory.DNOf(fmt.Sprintf("CN=Group %d,OU=Groups,DC=corp,DC=example", i)),
			Name: fmt.Sprintf("Group %d", i),
			SID:  fmt.Sprintf("S-1-5-21-1-2-3-%d", i),
		})
	}
	return u
}

func manyRequest() Request {
	return Request{
		User: manyGroups(500), Remote: netip.MustParseAddr("10.1.2.3"), Method: "password",
		Time: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC),
	}
}

func TestManyRules(t *testing.T) {
	p, err := manyRules(t, 1000).Resolve(manyRequest())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(p.Rules), "[rule 500 rule 501 rule 502 rule 999]"; got != want {
		t.Errorf("matching rules %s, want %s", got, want)
	}
}

// TestResolveAllocations checks that the memory for a login depends on what the
// login gets, and not on the number of rules or groups.
func TestResolveAllocations(t *testing.T) {
	allocs := func(rules, groups int) float64 {
		set := manyRules(t, rules)
		req := manyRequest()
		req.User = manyGroups(groups)
		return testing.AllocsPerRun(50, func() {
			if _, err := set.Resolve(req); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocs(100, 500), allocs(1000, 700)
	if many > few {
		t.Errorf("Resolve makes %v allocations with 1000 rules and 700 groups, want no more than the %v with 100 and 500", many, few)
	}
}

func BenchmarkResolve(b *testing.B) {
	set, req := manyRules(b, 1000), manyRequest()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Resolve(req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, entries := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			rule := Rule{
				Name:   "all",
				Home:   &Home{Host: "/srv/home/%u"},
				Access: []Grant{{Path: "/", Names: Names{Deny: []string{"*.exe", "~$*"}}}},
			}
			for i := range entries - 1 {
				rule.Access = append(rule.Access, Grant{Path: fmt.Sprintf("/department/folder%d", i), Permissions: []string{"full"}})
			}
			p, err := compile(b, rule).Resolve(manyRequest())
			if err != nil || len(p.Access) != entries {
				b.Fatal(p, err)
			}
			name := "/department/folder" + strings.Repeat("/sub", 6) + "/file.txt"
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Check(Read, name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
