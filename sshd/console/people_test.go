package console

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/admin"
)

// TestPeople: the page says why, with the decision of a login, and what would be under
// other circumstances.
func TestPeople(t *testing.T) {
	f := newFixture(t)
	set, err := policy.Compile([]policy.Rule{
		{Name: "readers", When: policy.When{Users: []string{"rita"}}, Services: []string{"console_read"}},
		{Name: "finance <b>", When: policy.When{Groups: []string{"finance"}}, Folders: []policy.Mount{{Path: "/finance", Host: "/srv/<finance>", Permissions: []string{"list", "read"}}}},
		{Name: "inside", When: policy.When{From: []string{"10.0.0.0/8"}}, Deny: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate.Rules, f.Rules = set, &rulesFile{set: set}
	f.operators.open = []admin.Session{{ID: "s-1", User: "alice"}, {ID: "s-2", User: "bob"}}
	rita, _ := f.in(t, "rita", "192.0.2.1")
	for _, tt := range []struct {
		query  url.Values
		status int
		has    []string
		hasNot string
	}{
		{url.Values{}, 200, []string{`name="user"`}, "<svg"},
		{url.Values{"user": {"alice"}}, 200, []string{"the rules refuse the login (no_rule", "finance &lt;b&gt; does not match", "<svg", "Account: active"}, "<b>"},
		{url.Values{"user": {"alice"}, "group": {"finance"}}, 200, []string{"the rules allow the login", "finance &lt;b&gt; matches", "<td>/finance</td><td>list, read</td>", "supposed"}, "/srv/"},
		{url.Values{"user": {"alice"}, "group": {"finance"}, "from": {"10.1.2.3"}}, 200, []string{"the rules refuse the login (deny_rule", "inside matches and refuses"}, "s-2"},
		{url.Values{"user": {"nobody"}}, 404, []string{"nobody is called"}, "<svg"},
		{url.Values{"user": {"alice"}, "from": {"here"}}, 400, []string{"must be an IP address"}, "<svg"},
		{url.Values{"user": {"alice"}, "at": {"noon"}}, 400, []string{"in UTC"}, "<svg"},
		{url.Values{"user": {"alice"}, "method": {"guess"}}, 400, []string{"must be one of password"}, "<svg"},
		{url.Values{"user": {"alice"}, "group": {"cn=x,"}}, 400, []string{"must be a name, or a whole DN"}, "<svg"},
	} {
		res := rita.do("/people?"+tt.query.Encode(), nil)
		status, page := res.StatusCode, text(t, res)
		for _, want := range tt.has {
			if status != tt.status || !strings.Contains(page, want) {
				t.Errorf("%v: %d, %q is missing in\n%s", tt.query, status, want, page)
			}
		}
		if strings.Contains(page, tt.hasNot) {
			t.Errorf("%v: has %q", tt.query, tt.hasNot)
		}
	}
}

// TestFindPeople: a name that nobody has is the beginning of names. Many come in pages.
func TestFindPeople(t *testing.T) {
	f := newFixture(t)
	for i := range mostFound + 1 {
		f.people.states[fmt.Sprintf("p%04d", i)] = directory.StatusActive
	}
	rita, _ := f.in(t, "rita", "10.0.0.1")
	for _, tt := range []struct {
		query  string
		status int
		has    []string
		hasNot string
	}{
		{"user=ri", 200, []string{`<a href="/people?user=rita">rita</a>`, "&lt;i&gt;rita"}, "<svg"},
		{"user=rita", 200, []string{"<svg", `href="/people?begin=rita"`}, "<h2>People"},
		{"begin=rita", 200, []string{`<a href="/people?user=rita">rita</a>`}, "<svg"},
		{"user=zz", 404, []string{"nobody is called &#34;zz&#34;, and no name begins with that"}, "<svg"},
		{"user=p", 200, []string{"Page 1 of 10", "type more letters", ">p0000<", "/people?begin=p&amp;page=2"}, ">p0100<"},
		{"begin=p&page=10", 200, []string{"Page 10 of 10", ">p0999<"}, ">p1000<"},
		{"begin=p&page=11", 200, []string{"Page 10 of 10"}, ">p0899<"},
		{"begin=p099", 200, []string{">p0990<", ">p0999<"}, "type more letters"},
	} {
		res := rita.do("/people?"+tt.query, nil)
		page := text(t, res)
		for _, want := range tt.has {
			if res.StatusCode != tt.status || !strings.Contains(page, want) {
				t.Errorf("%s: %s, %q is missing in\n%.3000s", tt.query, res.Status, want, page)
			}
		}
		if strings.Contains(page, tt.hasNot) {
			t.Errorf("%s: has %q", tt.query, tt.hasNot)
		}
	}
	f.people.listErr = errors.New("the server <is> down")
	if res := rita.do("/people?begin=ri", nil); res.StatusCode != 502 || !strings.Contains(text(t, res), "the server &lt;is&gt; down") {
		t.Errorf("a directory that cannot be asked: %s", res.Status)
	}
}

// TestGroupsKeysAndEvents: the drawing has the groups that rules name, with the chain to
// them. Keys have an age, and the last events are of this person only.
func TestGroupsKeysAndEvents(t *testing.T) {
	f := newFixture(t)
	set, err := policy.Compile([]policy.Rule{
		{Name: "readers", When: policy.When{Users: []string{"rita"}}, Services: []string{"console_read"}},
		{Name: "money", When: policy.When{Groups: []string{"finance"}}, Folders: []policy.Mount{{Path: "/finance", Host: "/srv/f", Permissions: []string{"full"}}}},
		{Name: "others", When: policy.When{Groups: []string{"finance", "none"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate.Rules, f.Rules = set, &rulesFile{set: set}
	dn := func(name string) directory.DN { return directory.DNOf("cn=" + name) }
	f.people.groups = []directory.Nested{{Source: "corp", DN: dn("team"), In: []directory.DN{dn("finance")}}}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjrlL3uIWRmdZlKnQ8FWuJVdmLK2p8dpXl/nZcHAwEm x"))
	if err != nil {
		t.Fatal(err)
	}
	f.people.user = directory.User{
		Groups: []directory.Group{{DN: dn("team"), Name: "team", Via: "direct"}, {DN: dn("finance"), Name: "finance", Via: "nested"}, {DN: dn("unused"), Name: "unused", Via: "direct"}},
		Keys:   []directory.Key{{PublicKey: key}},
	}
	f.File = filepath.Join(t.TempDir(), "events.jsonl")
	print := ssh.FingerprintSHA256(key)
	line := `{"time":"2026-11-%02dT09:00:00.000Z","type":"%s","session":"s","user":"alice","user_id":"%s","path":"/p%d","outcome":"success","fields":{"fingerprint":"` + print + `"}}` + "\n"
	events := fmt.Sprintf(line, 1, "key_added", "id-alice", 1) + fmt.Sprintf(line, 2, "login_accepted", "id-alice", 2) + fmt.Sprintf(line, 3, "login_accepted", "another alice", 3) +
		fmt.Sprintf(line, 3, "login_accepted", `id-alice","user_directory":"another`, 4)
	for i := range mostNews {
		events += fmt.Sprintf(line, 4, "removed", "id-alice", 100+i)
	}
	if err := os.WriteFile(f.File, []byte(events), 0o600); err != nil {
		t.Fatal(err)
	}
	rita, _ := f.in(t, "rita", "10.0.0.1")
	page := text(t, rita.do("/people?user=alice", nil))
	svg, _, _ := strings.Cut(page[strings.Index(page, "<svg"):], "</svg>")
	for _, want := range []string{">finance</text>", ">contains cn=team</text>", ">money matches</text>", ">/finance</text>"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the drawing lacks %q:\n%s", want, svg)
		}
	}
	if n := strings.Count(svg, "<line"); n != 4 || strings.Contains(svg, "unused") { // alice, finance, two rules, one folder
		t.Errorf("%d lines in the drawing:\n%s", n, svg)
	}
	for _, want := range []string{"<td><time>2026-11-01 09:00:00</time></td><td><time>2026-11-02 09:00:00</time></td><td>never</td>", "<td>/p109</td>", "<td>/p100</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	// Whoever is in a group is in those that contain it, too.
	f.people.user.Groups = nil
	f.people.groups = append(f.people.groups, directory.Nested{Source: "corp", DN: dn("finance"), Name: "finance"})
	f.people.groups[0].Name, f.nesting.read = "team", time.Time{}
	for group, want := range map[string]string{"team": "money matches", "TEAM": "money matches", "cn=team": "money matches", "cn=finance": "money matches", "cn=other": "money does not match", "other": "money does not match"} {
		if page := text(t, rita.do("/people?user=alice&group="+url.QueryEscape(group), nil)); !strings.Contains(page, want) {
			t.Errorf("what if also in %s: the page lacks %q", group, want)
		}
	}
	f.people.groupsErr, f.nesting.read = errors.New("no right to read groups"), time.Time{}
	if page := text(t, rita.do("/people?user=alice&group=team", nil)); !strings.Contains(page, "could not be read: no right to read groups") || !strings.Contains(page, "<svg") {
		t.Errorf("groups that cannot be read:\n%s", page)
	}
	if strings.Contains(page, "/p3<") || strings.Contains(page, "/p2<") || strings.Index(page, "/p109<") > strings.Index(page, "/p100<") {
		t.Errorf("events of somebody else, too many, or in the wrong order:\n%s", page)
	}
}

// TestOddNames: no page has a character that turns the direction of text, whoever chose it.
func TestOddNames(t *testing.T) {
	const odd = "\u202egpj"
	f := newFixture(t)
	set, err := policy.Compile([]policy.Rule{
		{Name: "readers", When: policy.When{Users: []string{"rita"}}, Services: []string{"console_read"}},
		{Name: "money", When: policy.When{Groups: []string{"fin*"}}, Folders: []policy.Mount{{Path: "/finance", Host: "/srv/f", Permissions: []string{"full"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate.Rules, f.Rules = set, &rulesFile{set: set}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjrlL3uIWRmdZlKnQ8FWuJVdmLK2p8dpXl/nZcHAwEm"))
	if err != nil {
		t.Fatal(err)
	}
	f.people.user = directory.User{
		DN: "cn=" + odd, Groups: []directory.Group{{DN: directory.DNOf("cn=fin" + odd), Name: "fin" + odd, Via: "direct"}},
		Keys: []directory.Key{{PublicKey: key, Comment: odd}},
	}
	f.people.states["a"+odd] = directory.StatusActive
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	page := rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/finance"}})
	job, _, _ := strings.Cut(page[strings.Index(page, "/folders/report?job="):], "&amp;")
	result := strings.Replace(job, "/report", "", 1)
	for _, path := range []string{"/people?user=alice", "/people?user=" + url.QueryEscape("a"+odd), result, job + "&format=html"} {
		res := rita.do(path, nil)
		if page := text(t, res); res.StatusCode != 200 || !strings.Contains(page, `\u202egpj`) || strings.Contains(strings.ReplaceAll(page, `value="a`+odd, ""), odd) {
			i := max(0, strings.Index(page, odd)-200)
			t.Errorf("%s: %s, around the character: %.500s", path, res.Status, page[min(i, len(page)):])
		}
	}
}
