package policy

import (
	"strings"
	"testing"

	"berth/directory"
)

func TestCompare(t *testing.T) {
	before := []Rule{
		{
			Name: "finance", When: When{Groups: []string{"finance"}},
			Home:     &Home{Host: "/srv/home/%u"},
			Folders:  []Mount{{Path: "/shared", Host: "/srv/shared"}, {Path: "/old", Host: "/srv/old"}},
			Services: []string{"sftp", "scp"},
			Limits:   Quantity{Quota: &Amount[int64]{Value: new(int64(10 << 30))}},
		},
		{Name: "eve", When: When{Users: []string{"eve"}}},
	}
	after := []Rule{
		{Name: "home", When: When{Groups: []string{"finance"}}, Home: &Home{Host: "/srv/home/%u"}},
		{
			Name: "rest", When: When{Groups: []string{"finance"}},
			Folders: []Mount{
				{Path: "/shared", Host: "/srv/shared", Permissions: []string{"full"}, Umask: "007", WindowsNames: "allow"},
				{Path: "/new", Host: "/srv/new", Quota: new(int64(1 << 30)), QuotaFiles: new(int64(1))},
			},
			Access:   []Grant{{Path: "/inbox", Names: Names{Deny: []string{"*.exe"}}}, {Path: "/outbox", Permissions: []string{"full"}}},
			Services: []string{"sftp", "passwd"},
			Limits:   Quantity{Quota: &Amount[int64]{Value: new(int64(5 << 30))}},
			SetAttr:  Ignore,
		},
		{Name: "no eve", Deny: true, When: When{Users: []string{"eve"}}},
		{Name: "zoe", When: When{Users: []string{"zoe"}}, Home: &Home{Host: "/srv/zoe"}, Services: []string{"scp"}},
	}
	zoe, eve := &directory.User{Name: "zoe"}, &directory.User{Name: "eve"}
	tests := []struct {
		user          *directory.User
		before, after []Rule
		want          string
	}{
		{alice, before, before, "Alice\n"},
		{alice, before, after, `Alice
  + folder        /new     /srv/new, quota 1GiB, quota_files 1
  - folder        /old     /srv/old
  ~ folder        /shared  /srv/shared -> /srv/shared, umask 007, windows_names allow
  ~ rights        /inbox   full -> full, not *.exe
  ~ rights        /new     full -> list, read
  ~ rights        /old     list, read -> full
  ~ rights        /shared  list, read -> full
  + service       passwd
  - service       scp
  ~ limits.quota    10GiB -> 5GiB
  ~ setattr         refuse -> ignore
`},
		{eve, before, after, "eve\n  ~ login    allowed -> denied: rule \"no eve\" denies eve\n"},
		{zoe, before, after, `zoe
  ~ login       denied: no rule matches zoe -> allowed
  + folder   /  /srv/zoe
  + rights   /  full
  + service  scp
`},
		{zoe, before, before, "zoe\n"},
	}
	for _, tt := range tests {
		req := aliceFrom("10.1.2.3")
		req.User = tt.user
		changes := compile(t, tt.before...).Compare(compile(t, tt.after...), req)
		var b strings.Builder
		if err := WriteChanges(&b, tt.user.Name, changes); err != nil {
			t.Fatal(err)
		}
		if b.String() != tt.want {
			t.Errorf("got:\n%s\nwant:\n%s", b.String(), tt.want)
		}
	}
}

func TestSummary(t *testing.T) {
	set := compile(t, financeRules()...)
	var b strings.Builder
	table := NewSummaryTable(&b)
	for _, u := range []*directory.User{alice, {Name: "no\x1bbody", State: directory.State{Status: directory.StatusDisabled}}} {
		req := aliceFrom("10.1.2.3")
		req.User = u
		table.Add(set.Summary(req))
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.txt", b.String())
}
