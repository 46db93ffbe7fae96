package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/directory"
)

// TestCircumstances: what any login matches, one of the circumstances matches too, and
// there are not more of them than can differ.
func TestCircumstances(t *testing.T) {
	set := compile(
		t,
		Rule{Name: "all"},
		Rule{Name: "office", When: When{From: []string{"10.0.0.0/8", "2001:db8::/32"}}},
		Rule{Name: "room", When: When{From: []string{"10.1.0.0/16", "10.2.3.4", "255.255.255.255"}}},
		Rule{Name: "not the room", Deny: true, When: When{From: []string{"10.1.2.0/24"}}},
		Rule{Name: "key", When: When{Method: []string{"publickey"}}},
		Rule{Name: "day", When: When{Hours: "Mon-Fri 06:00-20:00 Europe/Berlin"}},
		Rule{Name: "night", When: When{Hours: "22:00-07:00 America/New_York"}},
	)
	now := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	alice := &directory.User{Name: "alice"}
	outcome := func(req Request) string {
		req.User = alice
		p, err := set.Resolve(req)
		if err != nil {
			return err.Error()
		}
		return strings.Join(p.Rules, ", ")
	}
	var outcomes []string
	all := set.Circumstances(now).Of(alice)
	for _, req := range all {
		outcomes = append(outcomes, outcome(req))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := [4]byte{[]byte{9, 10, 11, 255}[r.IntN(4)], []byte{0, 1, 2, 255}[r.IntN(4)], []byte{2, 3, 255}[r.IntN(3)], []byte{4, 5, 255}[r.IntN(3)]}
		req := Request{Remote: netip.AddrFrom4(b), Method: methods[r.IntN(len(methods))], Time: now.Add(time.Duration(r.IntN(7*24*60)) * time.Minute)}
		if r.IntN(4) == 0 {
			req.Remote = netip.MustParseAddr([]string{"2001:db8::7", "2001:db7:ffff::", "::1"}[r.IntN(3)])
		}
		if got := outcome(req); !slices.Contains(outcomes, got) {
			t.Fatalf("%v by %s at %v matches %q, and no circumstance does", req.Remote, req.Method, req.Time, got)
		}
	}
	if len(all) > 5*2*4 {
		t.Errorf("%d circumstances, want 5 kinds of addresses by 2 methods at 4 kinds of hours at most", len(all))
	}
	others := compile(t, Rule{Name: "all"}, Rule{Name: "of others", When: When{Users: []string{"bob"}, From: []string{"10.0.0.0/8"}, Hours: "Mon UTC"}})
	if n := len(others.Circumstances(now).Of(alice)); n != 1 {
		t.Errorf("without conditions on rules for her: %d circumstances, want 1", n)
	}
}

func TestThrough(t *testing.T) {
	set := compile(t, Rule{Name: "finance", When: When{Groups: []string{"Fin*", "S-1-5-7"}}}, Rule{Name: "all"})
	u := &directory.User{Name: "alice", Groups: []directory.Group{{Name: "Finance"}, {Name: "staff"}, {SID: "S-1-5-7"}}}
	if got := fmt.Sprint(set.Through("finance", u)); got != fmt.Sprint([]directory.Group{u.Groups[0], u.Groups[2]}) {
		t.Errorf("through %s", got)
	}
	if got := slices.Concat(set.Through("all", u), set.Through("none", u)); len(got) > 0 {
		t.Errorf("rules without groups: through %v", got)
	}
	if set.Rule("finance").When.Groups[0] != "Fin*" || set.Rule("none").Name != "" {
		t.Errorf("rule finance is %+v", set.Rule("finance"))
	}
}

func TestFolderOf(t *testing.T) {
	p := &Policy{Folders: []Folder{{Path: "/", Host: "/srv/home"}, {Path: "/a", Host: "/srv/a"}, {Path: "/a/b", Host: "/"}}}
	for name, want := range map[string]string{"/": "/srv/home", "/x/y": "/srv/home/x/y", "/ab": "/srv/home/ab", "/a": "/srv/a", "/a/c": "/srv/a/c", "/a/b/d": "/d"} {
		if _, host, found := p.FolderOf(name); host != want || !found {
			t.Errorf("%s is %s, want %s", name, host, want)
		}
	}
	if _, _, found := (&Policy{Folders: p.Folders[1:]}).FolderOf("/x"); found {
		t.Error("/x is in a folder, and there is none")
	}
}

// TestTogetherEnds: nobody can keep the server busy by comparing rules. Each rule has a
// network and hours of its own.
func TestTogetherEnds(t *testing.T) {
	some := func(n int) *Set {
		var rules []Rule
		for i := range n {
			hours := fmt.Sprintf("%s %02d:%02d-%02d:30 UTC", []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}[i%7], i/7%24, i/168%30, i/7%24)
			rules = append(rules, Rule{Name: fmt.Sprint(i), When: When{From: []string{fmt.Sprintf("10.0.%d.%d", i/100, 2*(i%100))}, Hours: hours}})
		}
		return compile(t, rules...)
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	if _, err := some(10).Together(some(190), now); err != nil {
		t.Error(err)
	}
	if _, err := some(10).Together(some(400), now); !errors.Is(err, errTooMany) {
		t.Errorf("400 rules: %v, want %v", err, errTooMany)
	}
}
