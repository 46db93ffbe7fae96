package review

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// person is an active user who is in groups, written as "name" or "name (nested)".
func person(name string, groups ...string) *directory.User {
	u := &directory.User{Name: name, Identity: directory.Identity{Source: "corp", ID: "id-" + name}, State: directory.State{Status: directory.StatusActive}}
	for _, g := range groups {
		g, nested := strings.CutSuffix(g, " (nested)")
		via := "direct"
		if nested {
			via = "nested"
		}
		u.Groups = append(u.Groups, directory.Group{DN: dn(g), Name: g, Via: via})
	}
	return u
}

func dn(name string) directory.DN { return directory.DNOf("cn=" + name) }

// nested says which group is in which, as "a > b".
func nested(pairs ...string) []directory.Nested {
	in := map[string][]directory.DN{}
	for _, p := range pairs {
		a, b, _ := strings.Cut(p, " > ")
		in[a] = append(in[a], dn(b))
		in[b] = append(in[b], nil...)
	}
	var all []directory.Nested
	for name, above := range in {
		all = append(all, directory.Nested{Source: "corp", DN: dn(name), Name: name, Owners: []string{"cn=owner of " + name}, In: above})
	}
	return all
}

func compile(t *testing.T, rules ...policy.Rule) *policy.Set {
	t.Helper()
	set, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func groups(names ...string) policy.When { return policy.When{Groups: names} }

func folder(path, host string, permissions ...string) []policy.Mount {
	return []policy.Mount{{Path: path, Host: host, Permissions: permissions}}
}

// lines are the rows as "path user rights: why".
func lines(r *Report) (all []string) {
	for _, row := range r.Rows {
		all = append(all, fmt.Sprintf("%s %s %s: %s", row.Path, row.User, row.Rights(), row.Why()))
	}
	return all
}

func reviewOf(t *testing.T, set *policy.Set, path string, people ...*directory.User) *Report {
	t.Helper()
	r, err := New(set, path, Settings{}, nested("team > finance", "finance > all", "all > team", "team > all"), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range people {
		r.Add(u)
	}
	return r.Report()
}

func equal(t *testing.T, about string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", about, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestChains spells out how people are in the groups of rules.
func TestChains(t *testing.T) {
	set := compile(
		t,
		policy.Rule{Name: "money", When: groups("finance"), Folders: folder("/finance", "/srv/f", "read_only")},
		policy.Rule{Name: "named", When: policy.When{Users: []string{"eve"}}, Folders: folder("/finance", "/srv/f", "full")},
	)
	dave := person("dave", "finance")
	dave.State.Status = directory.StatusDisabled
	got := reviewOf(
		t, set, "/finance",
		person("alice", "team", "finance (nested)"), person("bob", "finance", "team"), person("carol", "finance (nested)"), dave,
		person("eve"), person("mallory", "all"),
	)
	equal(t, "rows", lines(got), []string{
		"/finance alice list read: rule money: in cn=team > cn=finance",
		"/finance bob list read: rule money: in cn=finance",
		"/finance carol list read: rule money: in … > cn=finance",
		"/finance dave list read: rule money: in cn=finance",
		"/finance eve full: rule named: named there",
	})
	if got.People != 6 || !got.Complete || got.Rows[3].State != "disabled" || got.Rows[0].Owner() != "cn=owner of finance" {
		t.Errorf("report: %+v", got)
	}
}

// TestEveryCircumstance: a right that exists only from some address, at some hour or by
// some method is a right, and so is one that another rule replaces there.
func TestEveryCircumstance(t *testing.T) {
	set := compile(
		t,
		policy.Rule{Name: "outside", When: policy.When{From: []string{"192.0.2.0/24"}}, Folders: folder("/f", "/srv/f", "list")},
		policy.Rule{Name: "night", Deny: true, When: policy.When{Hours: "Mon-Sun 00:00-23:59 UTC", Users: []string{"bob"}}},
		policy.Rule{Name: "staff", When: groups("staff"), Folders: folder("/f", "/srv/f", "full")},
		policy.Rule{Name: "shell only", When: policy.When{Users: []string{"eve"}}, Services: []string{"passwd"}, Folders: folder("/f", "/srv/f", "full")},
	)
	equal(t, "rows", lines(reviewOf(t, set, "", person("alice", "staff"), person("bob", "staff"))), []string{
		"/f alice full: rule staff: in cn=staff",
		"/f alice list: rule outside, only from 192.0.2.0/24: for everybody",
		"/f bob full: rule staff: in cn=staff",
		"/f bob list: rule outside, only from 192.0.2.0/24: for everybody",
	})
	if got := lines(reviewOf(t, set, "", person("eve"))); len(got) > 0 {
		t.Errorf("somebody without a service for files: %q", got)
	}
}

// TestPlaces finds who reaches a place by whatever path.
func TestPlaces(t *testing.T) {
	set := compile(
		t,
		policy.Rule{Name: "finance", When: groups("finance"), Folders: folder("/finance", "/srv/f", "read_only"), Access: []policy.Grant{{Path: "/finance/secret", Permissions: []string{}}, {Path: "/finance/in", Permissions: []string{"create"}}}},
		policy.Rule{Name: "admin", When: groups("admin"), Folders: folder("/disk", "/srv", "full")},
		policy.Rule{Name: "archive", When: groups("archive"), Folders: folder("/old", "/srv/f/archive", "read_only")},
		policy.Rule{Name: "hidden", When: groups("hidden"), Folders: append(folder("/disk", "/srv", "full"), folder("/disk/f", "/elsewhere", "list")...)},
		policy.Rule{Name: "home", When: groups("home"), Home: &policy.Home{Host: "/home/%u"}},
	)
	people := []*directory.User{person("a", "admin"), person("f", "finance"), person("h", "hidden"), person("hm", "home"), person("o", "archive")}
	for path, want := range map[string]string{
		"/finance":          "/disk/f a full, /finance f list read, /finance/in f create, /old o list read",
		"/finance/secret":   "/disk/f/secret a full",
		"/finance/in":       "/disk/f/in a full, /finance/in f create",
		"/finance/in/deep":  "/disk/f/in/deep a full, /finance/in/deep f create",
		"/srv/f/archive":    "/disk/f/archive a full, /finance/archive f list read, /old o list read",
		"/srv/f/archive/..": "/disk/f a full, /finance f list read, /finance/in f create, /old o list read",
		"/srv":              "/disk a full, /disk h full, /disk/f h list, /finance f list read, /finance/in f create, /old o list read",
		"/":                 "/ hm full",
		"/home/hm/letters":  "/letters hm full",
		"/home":             "/ hm full",
	} {
		var got []string
		for _, row := range reviewOf(t, set, path, people...).Rows {
			got = append(got, row.Path+" "+row.User+" "+row.Rights())
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: got  %s\nwant %s", path, text, want)
		}
	}
	for _, path := range []string{"/nowhere", "/financed", "/home2", "relative"} {
		if _, err := New(set, path, Settings{}, nil, nil, now); err == nil || !strings.Contains(err.Error(), "no rule has a folder there") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

// TestDisk asks about each place, and says where the disk permits less.
func TestDisk(t *testing.T) {
	set := compile(t, policy.Rule{Name: "x", Folders: folder("/f", "/srv/f"), Access: []policy.Grant{{Path: "/f/in", Permissions: []string{"create"}}, {Path: "/f/gone", Permissions: []string{"list"}}}})
	r, err := New(set, "", Settings{}, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	r.Disk = func(f policy.Folder, ops policy.Op) *policy.ExplainedDisk {
		switch f.Host {
		case "/srv/f/in":
			return &policy.ExplainedDisk{Differs: "the disk does not permit " + ops.String()}
		case "/srv/f/gone":
			return &policy.ExplainedDisk{Error: "no such directory"}
		}
		return &policy.ExplainedDisk{}
	}
	r.Add(person("a"))
	var got []string
	for _, row := range r.Report().Rows {
		got = append(got, row.Path+" "+row.Rights())
	}
	equal(t, "rights", got, []string{"/f list read", "/f/gone list; the disk could not be asked: no such directory", "/f/in create; but the disk does not permit create"})
}

// TestIncomplete: the report names what could not be decided.
func TestIncomplete(t *testing.T) {
	set := compile(t, policy.Rule{Name: "no", Deny: true, When: groups("bad")}, policy.Rule{Name: "all", Folders: folder("/f", "/srv/f")})
	unknown := &directory.User{Name: "u", State: directory.State{Reason: "may not read memberOf"}}
	hidden := person("h")
	hidden.Groups = []directory.Group{{SID: "S-1-5-21-1", Via: "primary"}}
	for _, u := range []*directory.User{unknown, hidden} {
		got := reviewOf(t, set, "", u)
		if got.Complete || len(got.Problems) != 1 || !strings.HasPrefix(got.Problems[0], u.Name+": ") {
			t.Errorf("%s: %+v", u.Name, got)
		}
	}
	r, _ := New(set, "", Settings{}, nil, nil, now)
	for range 300 {
		r.Add(hidden)
	}
	if got := r.Report().Problems; len(got) != 101 || got[100] != "and 200 more" {
		t.Errorf("%d problems are spelled out, the last is %q", len(got), got[len(got)-1])
	}
}

func TestForbiddenTogether(t *testing.T) {
	s := Settings{ForbidTogether: [][]string{{"create", "approve", "audit"}}}
	r, err := New(compile(t, policy.Rule{Name: "x"}), "", s, nested("team > approve"), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []*directory.User{person("a", "create"), person("b", "create", "team", "approve (nested)"), person("c", "other", "approve")} {
		r.Add(u)
	}
	got := r.Report().Conflicts
	if len(got) != 1 || got[0].User != "b" || got[0].Together() != "approve and create" || got[0].Through() != "cn=team > cn=approve; and in cn=create" {
		t.Errorf("conflicts: %+v", got)
	}
	for _, wrong := range [][]string{{"one"}, {"a", ""}, {"a", "[x"}, {"a", "a"}} {
		errs := (Settings{ForbidTogether: [][]string{wrong}}).Check()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "forbid_together[0]") {
			t.Errorf("%q: errors %v", wrong, errs)
			continue
		}
		if _, ofRules := errors.AsType[*policy.Mistake](errs[0]); ofRules {
			t.Errorf("%q: %v would be shown at a rule", wrong, errs[0])
		}
	}
}

// TestFolderOfAnotherRule: a right ends where the rule of its folder does not match. Another
// rule with the same folder is another way to it.
func TestFolderOfAnotherRule(t *testing.T) {
	set := compile(
		t,
		policy.Rule{Name: "rights", Access: []policy.Grant{{Path: "/f", Permissions: []string{"full"}}}},
		policy.Rule{Name: "office", When: policy.When{From: []string{"10.0.0.0/8"}}, Folders: folder("/f", "/srv/f", "read")},
		policy.Rule{Name: "night", When: policy.When{Hours: "Mon-Fri 22:00-23:00 UTC"}, Folders: folder("/f", "/srv/f", "read")},
	)
	want := []string{
		"/f alice full: rule rights; folder of rule office, only from 10.0.0.0/8: for everybody",
		"/f alice full: rule rights; folder of rule night, only at Mon-Fri 22:00-23:00 UTC: for everybody",
	}
	got := lines(reviewOf(t, set, "", person("alice")))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUses: each right has its own last use, of the entry that gives it.
func TestUses(t *testing.T) {
	rules := policy.Rule{
		Name: "x", Home: &policy.Home{Host: "/home/%u"},
		Folders: folder("/f", "/srv/f", "full"), Access: []policy.Grant{{Path: "/f/in", Permissions: []string{"create"}}},
	}
	set := compile(t, rules)
	uses := NewUses(set, "/f/deep")
	at := func(hour int) time.Time { return now.Add(time.Duration(hour) * time.Hour) }
	for i, r := range []audit.Record{
		{Type: "login_accepted", UserID: "id-a"},
		{Type: "file_read_closed", UserID: "id-a", Path: "/f/deep/x"},
		{Type: "file_write_closed", UserID: "id-a", Path: "/f/in/y"},
		{Type: "file_update_closed", UserID: "id-a", Path: "/letter"},
		{Type: "renamed", UserID: "id-a", Path: "/f/z", Target: "/f/in/z"},
		{Type: "file_read_closed", UserID: "id-a", Path: "/f/deep/x"},
		{Type: "removed", UserID: "id-a", Path: "/f/z", Outcome: event.Failure},
		{Type: "removed", UserID: "id-b", Path: "/f/z"},
		{Type: "login_accepted", UserID: "id-a", Directory: "other"}, // somebody else there
		{Type: "file_read_closed", UserID: "id-a", Directory: "other", Path: "/f/deep/x"},
	} {
		r.Time, r.Directory = at(i), cmp.Or(r.Directory, "corp")
		if r.Outcome == "" {
			r.Outcome = event.Success
		}
		uses.Add(&r)
	}
	for path, want := range map[string]string{
		"":        "/ read 3 write 3, /f read 5 rename 4, /f/in rename 4 write 2",
		"/f/deep": "/f/deep read 5",
	} {
		r, err := New(set, path, Settings{}, nil, uses, now)
		if err != nil {
			t.Fatal(err)
		}
		r.Add(person("a"))
		var got []string
		for _, row := range r.Report().Rows {
			text := row.Path
			for _, kind := range kinds {
				if when, ok := row.LastUse[kind]; ok {
					text += fmt.Sprintf(" %s %v", kind, when.Sub(now).Hours())
				}
			}
			got = append(got, strings.ReplaceAll(text, "write 2 rename 4", "rename 4 write 2"))
			if row.LastLogin == nil || !row.LastLogin.Equal(now) {
				t.Errorf("last login %v", row.LastLogin)
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%q: got %s, want %s", path, text, want)
		}
	}
	if !uses.Since.Equal(now) || !slices.Contains(uses.Types(), "login_accepted") {
		t.Errorf("since %v, types %v", uses.Since, uses.Types())
	}
}

func TestCompare(t *testing.T) {
	before := compile(t, policy.Rule{Name: "old name", When: groups("finance"), Folders: folder("/finance", "/srv/f", "read_only")})
	after := compile(t, policy.Rule{Name: "new name", When: groups("finance", "team"), Folders: folder("/finance", "/srv/f", "read", "write")})
	alice, bob := person("alice", "finance"), person("bob", "finance")
	carol := person("carol", "team")
	old := reviewOf(t, before, "/finance", alice, bob)
	r := reviewOf(t, after, "/finance", alice, carol)
	if err := r.Compare(old, ""); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.User+" "+row.Change)
	}
	equal(t, "changes", got, []string{"alice gained create overwrite, lost list", "carol new", "bob gone"})

	filtered := func(names policy.Names) *Report {
		rule := policy.Rule{Name: "r", Folders: folder("/finance", "/srv/f", "full"), Access: []policy.Grant{{Path: "/finance", Names: names, Permissions: []string{"full"}}}}
		return reviewOf(t, compile(t, rule), "/finance", alice)
	}
	all := filtered(policy.Names{})
	if err := all.Compare(filtered(policy.Names{Allow: []string{"*.pdf"}}), ""); err != nil || all.Rows[0].Change != "names before: only *.pdf" {
		t.Errorf("a filter of names is gone: %v, change %q", err, all.Rows[0].Change)
	}
	same := reviewOf(t, after, "/finance", alice)
	if err := same.Compare(r, ""); err != nil {
		t.Fatal(err)
	}
	if len(same.Rows) != 2 || same.Rows[0].Change != "" || same.Rows[1].User != "carol" {
		t.Errorf("what was gone before is gone again: %+v", same.Rows)
	}
	partial := reviewOf(t, after, "/finance", alice)
	partial.Complete = false
	if err := partial.Compare(old, ""); err != nil || len(partial.Rows) != 1 {
		t.Errorf("somebody is gone of a review that is not complete: %+v, %v", partial.Rows, err)
	}
	for _, wrong := range []*Report{{}, {Made: now, Path: "/other"}} {
		if err := r.Compare(wrong, ""); err == nil {
			t.Errorf("compared with %+v", wrong)
		}
	}
}

// TestFormats writes names that try to be something else.
func TestFormats(t *testing.T) {
	set := compile(t, policy.Rule{Name: "x", Folders: folder("/f", "/srv/f")})
	r := reviewOf(t, set, "", person("=cmd|' /C calc'!A0"), person("<script>alert(1)</script>"), person("\x1b[2Jb"))
	r.Complete, r.Problems = false, []string{"directory corp: cannot be read"}
	r.Conflicts = []Conflict{{User: "+sum", Groups: []string{"a", "b"}}}
	for format, want := range map[string][]string{
		"table": {"Who can reach", "NOT COMPLETE", "directory corp: cannot be read", "FORBIDDEN TOGETHER: +sum", `"\x1b[2Jb"`},
		"csv":   {"owner,path,user", "'=cmd", "'+sum", "WARNING,NOT COMPLETE", "FORBIDDEN TOGETHER,a and b"},
		"json":  {`"complete": false`, `"problems": [`, `"user": "=cmd`},
		"html":  {"&lt;script&gt;", "NOT COMPLETE", "a and b"},
	} {
		var b strings.Builder
		if err := r.Write(&b, format); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", format, w, &b)
			}
		}
		if format == "html" && strings.Contains(b.String(), "<script>") || format == "table" && strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s: a name is more than a text:\n%s", format, &b)
		}
	}
	if err := r.Write(&strings.Builder{}, "pdf"); err == nil {
		t.Error("pdf: no error")
	}
	r = reviewOf(t, compile(t, policy.Rule{Name: "money", When: groups("finance", "team"), Folders: folder("/f", "/srv/f")}), "", person("a", "finance", "team"), person("b", "finance"))
	r.ByOwner()
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.Owner()+": "+row.User)
	}
	equal(t, "by owner", got, []string{"cn=owner of finance: a", "cn=owner of finance: b", "cn=owner of team: a"})
}

// TestNoFormula: no cell is a formula, wherever a spreadsheet begins one. Quotes do not help: in
// a country whose lists have semicolons a quote after a comma is in the middle of a cell.
func TestNoFormula(t *testing.T) {
	for cell, want := range map[string]string{
		"":                 "",
		"=cmd":             "'=cmd",
		"+1":               "'+1",
		"-1":               "'-1",
		"@x":               "'@x",
		"\t=x":             "'\t'=x",
		"\r\n-x":           "'\r'\n'-x",
		"a=b+c-d@e":        "a=b+c-d@e",
		"a;=cmd":           "a;'=cmd",
		"a;;@cmd;b;+c":     "a;;'@cmd;b;'+c",
		"a\t=cmd":          "a\t'=cmd",
		"a\n=cmd":          "a\n'=cmd",
		"a;\r=cmd":         "a;'\r'=cmd",
		"＝cmd;＋1":          "'＝cmd;'＋1",
		`a;"=cmd"`:         `a;"'=cmd"`,
		"a\xff;=\xff":      "a\xff;'=\xff",
		"rule a; and in b": "rule a; and in b",
	} {
		if got := noFormula(cell); got != want {
			t.Errorf("%q: got %q, want %q", cell, got, want)
		}
	}
	var b strings.Builder
	r := &Report{Rows: []Row{{User: "a\";=cmd", Path: "/x,y;@z", Rule: "r"}}}
	if err := r.Write(&b, "csv"); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		for _, cell := range strings.Split(line, ";") {
			if strings.ContainsAny(cell[:1], "=+-@") {
				t.Errorf("a formula where semicolons are between cells: %s", line)
			}
		}
	}
}
