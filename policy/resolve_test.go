package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/directory"
)

var alice = &directory.User{
	Identity: directory.Identity{Source: "corp", ID: "0b1c"},
	Name:     "Alice",
	DN:       "CN=Alice,OU=People,DC=corp,DC=example",
	Groups: []directory.Group{
		{DN: directory.DNOf("CN=Finance, OU=Groups, DC=corp, DC=example"), Name: "Finance", SID: "S-1-5-21-1-2-3-1105", Via: "direct"},
		{DN: directory.DNOf(`CN=FT-Read\, all,OU=FT,OU=Groups,DC=corp,DC=example`), Name: "FT-Read, all", Via: "nested"},
		{Name: "staff", Via: "memberUid"},
	},
	Attrs: map[string][]string{"department": {"Sales"}, "l": {"Bonn", "Berlin"}, "bad": {".."}, "slash": {"a/b"}, "empty": {""}},
}

// monday is a Monday, 09:00 in Berlin.
var monday = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func aliceFrom(remote string) Request {
	return Request{User: alice, Remote: netip.MustParseAddr(remote), Method: "publickey", Time: monday}
}

func TestConditions(t *testing.T) {
	tests := []struct {
		when When
		want bool
	}{
		{When{}, true},
		{When{Groups: []string{"cn=finance,ou=groups,dc=CORP,dc=example"}}, true},
		{When{Groups: []string{`cn=ft-read\2c all,ou=ft,ou=groups,dc=corp,dc=example`}}, true},
		{When{Groups: []string{"cn=finance,dc=corp,dc=example"}}, false},
		{When{Groups: []string{"FINANCE"}}, true},
		{When{Groups: []string{"Staff"}}, true},
		{When{Groups: []string{"fin"}}, false},
		{When{Groups: []string{" CN = F* , OU=Groups ,DC=corp, DC = example "}}, true},
		{When{Groups: []string{"other", "finance"}}, true}, // any
		{When{Groups: []string{"s-1-5-21-1-2-3-1105"}}, true},
		{When{Groups: []string{"S-1-5-21-1-2-3-1106"}}, false},
		{When{Groups: []string{"ft-*"}}, true},
		{When{Groups: []string{"xt-*"}}, false},
		{When{Groups: []string{"CN=F*,OU=Groups,DC=corp,DC=example"}}, true},
		{When{Groups: []string{"CN=FT*,OU=Groups,DC=corp,DC=example"}}, false},              // "*" stays within a part
		{When{Groups: []string{`CN=FT-Read\, *,OU=FT,OU=Groups,DC=corp,DC=example`}}, true}, // an escaped comma does not divide
		{When{Groups: []string{"**,OU=FT,OU=Groups,DC=corp,DC=example"}}, true},
		{When{Groups: []string{"**,OU=Groups,DC=*,DC=example"}}, true},
		{When{Groups: []string{"**,CN=Finance,OU=Groups,DC=corp,DC=example"}}, false}, // below it, not itself
		{When{Users: []string{"alice"}}, true},
		{When{Users: []string{"bob", "ALI*"}}, true},
		{When{Users: []string{"al"}}, false},
		{When{From: []string{"10.0.0.0/8"}}, true},
		{When{From: []string{"::ffff:10.0.0.0/104"}}, true},
		{When{From: []string{"10.1.2.3"}}, true},
		{When{From: []string{"192.168.0.0/16", "2001:db8::/32"}}, false},
		{When{Hours: "Mon-Fri 06:00-20:00 Europe/Berlin"}, true},
		{When{Hours: "Mon-Fri 06:00-08:30 UTC"}, true},
		{When{Hours: "Mon-Fri 06:00-08:30 Europe/Berlin"}, false},
		{When{Method: []string{"password", "publickey"}}, true},
		{When{Method: []string{"password"}}, false},
		{When{Groups: []string{"finance"}, Users: []string{"bob"}}, false}, // all
		{When{Groups: []string{"finance"}, Users: []string{"alice"}, From: []string{"10.0.0.0/8"}}, true},
	}
	for _, tt := range tests {
		set := compile(t, Rule{Name: "r", When: tt.when})
		for _, remote := range []string{"10.1.2.3", "::ffff:10.1.2.3"} {
			p, err := set.Resolve(aliceFrom(remote))
			if (err == nil) != tt.want {
				t.Errorf("%+v from %s: %v, %v, want a match: %t", tt.when, remote, p, err, tt.want)
			}
			if e := set.Explain(aliceFrom(remote)); e.Allowed != tt.want {
				t.Errorf("Explain of %+v from %s: allowed %t, want %t", tt.when, remote, e.Allowed, tt.want)
			}
		}
	}
}

// TestComposedNames: directories take a letter with an accent for the same whether it is
// one character or two, so a rule must not miss the other spelling.
func TestComposedNames(t *testing.T) {
	const one, two = "J\u00dcrgen", "ju\u0308rgen"
	for _, has := range []string{one, two} {
		u := &directory.User{
			Identity: directory.Identity{Source: "corp", ID: "1"}, Name: has,
			Groups: []directory.Group{{DN: directory.DNOf("cn=" + has + ",dc=x"), Name: has}},
		}
		for _, named := range []string{one, two} {
			for _, w := range []When{
				{Users: []string{named}},
				{Users: []string{named + "*"}},
				{Groups: []string{named}},
				{Groups: []string{`corp\` + named}},
				{Groups: []string{named[:1] + "?" + named[len(named)-4:]}},
				{Groups: []string{"cn=" + named + ",dc=x"}},
				{Groups: []string{"cn=" + named + "*,dc=x"}},
			} {
				set := compile(t, Rule{Name: "all"}, Rule{Name: "out", Deny: true, When: w})
				if _, err := set.Resolve(Request{User: u, Time: monday}); !errors.Is(err, ErrDenied) {
					t.Errorf("%+q is not denied by %+q", has, fmt.Sprint(w.Users, w.Groups))
				}
			}
		}
	}
}

func TestUnknownRemote(t *testing.T) {
	set := compile(t, Rule{Name: "r", When: When{From: []string{"0.0.0.0/0", "::/0"}}})
	if p, err := set.Resolve(Request{User: alice}); err == nil {
		t.Errorf("without an address Resolve = %v, want a refusal", p)
	}
}

func TestDenied(t *testing.T) {
	home := func(host string) *Home { return &Home{Host: host} }
	tests := []struct {
		rules  []Rule
		reason Reason
		rule   string
		detail string
	}{
		{nil, NoRule, "", "no rule matches Alice"},
		{[]Rule{{Name: "a", When: When{Users: []string{"bob"}}}}, NoRule, "", "no rule matches Alice"},
		{[]Rule{{Name: "a"}, {Name: "out", Deny: true, When: When{Groups: []string{"staff"}}}}, DenyRule, "out", `rule "out" denies Alice`},
		{[]Rule{{Name: "a", Home: home("/srv/%{nothing}")}}, Placeholder, "a", "%{nothing} in /srv/%{nothing}: it has no value"},
		{[]Rule{{Name: "a", Home: home("/srv/%{empty}")}}, Placeholder, "a", "%{empty} in /srv/%{empty}: it has no value"},
		{[]Rule{{Name: "a", Home: home("/srv/%{bad}")}}, Placeholder, "a", `%{bad} in /srv/%{bad}: ".." is not the name of a folder`},
		{[]Rule{{Name: "a", Home: home("/srv/%{slash}")}}, Placeholder, "a", `%{slash} in /srv/%{slash}: "a/b" holds a slash or a NUL`},
		{[]Rule{{Name: "a", Home: home("/srv/%{l}")}}, Placeholder, "a", "%{l} in /srv/%{l}: the attribute has 2 values: one is needed"},
		{[]Rule{{Name: "a", Home: &Home{Host: "/srv", Owner: Person}}}, NoUID, "a", "folder / has owner: person: the directory has no uid and gid for this user"},
		{[]Rule{{Name: "a", Home: home("/srv")}, {Name: "b", Owner: Person}}, NoUID, "a", "folder / has owner: person: the directory has no uid and gid for this user"},
	}
	for _, tt := range tests {
		set := compile(t, tt.rules...)
		_, err := set.Resolve(aliceFrom("10.1.2.3"))
		var d *Denied
		if !errors.Is(err, ErrDenied) || !errors.As(err, &d) {
			t.Errorf("Resolve = %v, want a *Denied that wraps ErrDenied", err)
			continue
		}
		want := Denied{Reason: tt.reason, User: "Alice", Rule: tt.rule, Detail: tt.detail}
		if *d != want {
			t.Errorf("Resolve = %+v, want %+v", *d, want)
		}
		if e := set.Explain(aliceFrom("10.1.2.3")); e.Allowed || e.Reason != tt.reason || e.Detail != tt.detail {
			t.Errorf("Explain = %t %s %s, want %+v", e.Allowed, e.Reason, e.Detail, want)
		}
	}
}

// financeRules is the example of the design, and a rule for everybody after it.
func financeRules() []Rule {
	return []Rule{
		{
			Name: "finance",
			When: When{Groups: []string{"CN=Finance,OU=Groups,DC=corp,DC=example"}, From: []string{"10.0.0.0/8"}, Hours: "Mon-Fri 06:00-20:00 Europe/Berlin"},
			Home: &Home{Host: "/srv/berth/home/%u", Create: true, Skeleton: []string{"inbox", "outbox"}},
			Folders: []Mount{
				{Path: "/shared", Host: "/srv/berth/finance", Permissions: []string{"list", "read", "write"}},
				{Path: "/shared/archive", Host: "/srv/berth/finance/archive", Permissions: []string{"list", "read"}},
			},
			Access:   []Grant{{Path: "/inbox", Permissions: []string{"create"}, Names: Names{Deny: []string{"*.exe"}}}},
			Services: []string{"sftp", "scp", "change-password"},
			Require:  Require{{"publickey"}},
			Limits:   Quantity{Sessions: &Amount[int]{Value: new(5)}, Quota: &Amount[int64]{Value: new(int64(10 << 30))}, Idle: &Amount[time.Duration]{Value: new(15 * time.Minute)}},
			Uploads:  Atomic,
		},
		{
			Name:    "staff",
			When:    When{Groups: []string{"staff"}},
			Home:    &Home{Host: "/srv/berth/staff/%i", Umask: "077"},
			Folders: []Mount{{Path: "/shared", Host: "/srv/other"}, {Path: "/dept/%u/doc", Host: "/srv/%d/%{Department}/100%%", Umask: "007", Quota: new(int64(7))}},
			Access:  []Grant{{Path: "/inbox", Permissions: []string{"full"}}, {Path: "/shared/archive/old", Names: Names{Allow: []string{"*.pdf"}}, Hide: true}},
			Limits:  Quantity{Sessions: &Amount[int]{Value: new(9)}, SessionTime: &Amount[time.Duration]{Value: new(8 * time.Hour)}, Idle: &Amount[time.Duration]{Value: new(time.Duration(0))}},
			Uploads: Direct,
			SetAttr: Ignore,
		},
	}
}

// TestAboveFolders has folders below others. What is on the way to a folder can be listed
// only where it is in no folder.
func TestAboveFolders(t *testing.T) {
	team := []Mount{{Path: "/in/new/team", Host: "/srv/team"}}
	for _, tt := range []struct {
		rule Rule
		path string
		want Op
	}{
		{Rule{Home: &Home{Host: "/srv/drop", Permissions: []string{"drop_box"}}, Folders: team}, "/in/bob.txt", DropBox},
		{Rule{Home: &Home{Host: "/srv/home"}, Folders: team}, "/in/new/x", Full},
		{Rule{Folders: append(team, Mount{Path: "/in", Host: "/srv/in", Permissions: []string{"create"}})}, "/in/new", Create},
		{Rule{Folders: team}, "/in/new", List},
		{Rule{}, "/", List},
	} {
		tt.rule.Name = "r"
		p, err := compile(t, tt.rule).Resolve(aliceFrom("10.1.2.3"))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Rights(tt.path).Ops; got != tt.want {
			t.Errorf("%+v: rights at %s: %s, want %s", tt.rule, tt.path, got, tt.want)
		}
	}
}

func TestMerge(t *testing.T) {
	set := compile(t, financeRules()...)
	got, err := set.Resolve(aliceFrom("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{
		User:  alice,
		Rules: []string{"finance", "staff"},
		Folders: []Folder{
			{Path: "/", Host: "/srv/berth/home/Alice", Create: true, Skeleton: []string{"inbox", "outbox"}, Umask: 0o027, Quota: 10 << 30, Belongs: Service, Rule: "finance"},
			{Path: "/dept/%u/doc", Host: "/srv/corp/Sales/100%", Umask: 0o007, Quota: 7, Belongs: Service, Rule: "staff"},
			{Path: "/shared", Host: "/srv/berth/finance", Umask: 0o027, Belongs: Service, Rule: "finance"},
			{Path: "/shared/archive", Host: "/srv/berth/finance/archive", Umask: 0o027, Belongs: Service, Rule: "finance"},
		},
		Access: []Access{
			{Path: "/", Ops: Full, Rule: "finance"},
			{Path: "/dept/%u/doc", Ops: ReadOnly, Rule: "staff"},
			{Path: "/inbox", Ops: Create, Names: Names{Deny: []string{"*.exe"}}, Rule: "finance"},
			{Path: "/shared", Ops: List | Read | Write, Rule: "finance"},
			{Path: "/shared/archive", Ops: ReadOnly, Rule: "finance"},
			{Path: "/shared/archive/old", Ops: ReadOnly, Names: Names{Allow: []string{"*.pdf"}}, Hide: true, Rule: "finance"},
		},
		Services:      []string{"sftp", "scp", "passwd"},
		Require:       [][]string{{"publickey"}},
		Limits:        Limits{Sessions: 5, Quota: 10 << 30, Idle: 15 * time.Minute, SessionTime: 8 * time.Hour},
		Uploads:       Atomic,
		Owner:         Service,
		IgnoreSetAttr: true,
		ValidUntil:    time.Date(2026, 3, 2, 19, 0, 0, 0, time.UTC),
	}
	got.ValidUntil = got.ValidUntil.UTC()
	want.index()
	compareFields(t, "Policy", got, want)
}

func TestOwner(t *testing.T) {
	home := &Home{Host: "/srv"}
	folder := func(o Owner) []Mount { return []Mount{{Path: "/x", Host: "/x", Owner: o}} }
	tests := []struct {
		rules    []Rule
		home, at Owner // of the home and of /x
	}{
		{[]Rule{{Home: home, Folders: folder("")}}, Service, Service},
		{[]Rule{{Home: home, Folders: folder(Person)}}, Service, Person},
		{[]Rule{{Home: home, Folders: folder(""), Owner: Person}}, Person, Person},
		{[]Rule{{Home: home, Folders: folder(Service), Owner: Person}}, Person, Service},
		{[]Rule{{Home: home}, {Owner: Person}, {Folders: folder(""), Owner: Service}}, Person, Person}, // the first rule that says it
	}
	u := *alice
	u.POSIX = directory.NewPOSIX(1001, 2000, []directory.Group{{GID: 2002}, {GID: 2000}, {}, {GID: 2001}, {GID: 2002}})
	for _, tt := range tests {
		for i := range tt.rules {
			tt.rules[i].Name = fmt.Sprint("r", i)
		}
		req := aliceFrom("10.1.2.3")
		req.User = &u
		set := compile(t, tt.rules...)
		p, err := set.Resolve(req)
		if err != nil {
			t.Fatal(err)
		}
		e := set.Explain(req)
		for i, want := range []Owner{tt.home, tt.at} {
			got := p.Folders[i].Owner
			if e.Folders[i].Owner != want || (got != nil) != (want == Person) {
				t.Errorf("%+v: folder %d belongs to %v, explained %s; want %s", tt.rules, i, got, e.Folders[i].Owner, want)
			}
			if got != nil && !reflect.DeepEqual(*got, directory.POSIX{UID: 1001, GID: 2000, Groups: []uint32{2001, 2002}}) {
				t.Errorf("owner %+v", *got)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	set := compile(t, Rule{Name: "r", Home: &Home{Host: "/srv"}, Folders: []Mount{{Path: "/x", Host: "/x"}}})
	p, err := set.Resolve(aliceFrom("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(p.Services, " "), "sftp scp whoami quota help"; got != want {
		t.Errorf("services %s, want %s", got, want)
	}
	if p.Uploads != Direct || p.Rights("/").Ops != Full || p.Rights("/x").Ops != ReadOnly || !p.ValidUntil.IsZero() {
		t.Errorf("policy %+v, want direct uploads, a full home, a read-only folder, no end", p)
	}
}

// TestDefaultsAreNotShadowed checks that an access entry is not reported to take
// precedence over default rights, because nobody wrote those.
func TestDefaultsAreNotShadowed(t *testing.T) {
	set := compile(t, Rule{Name: "r", Home: &Home{Host: "/srv"}, Access: []Grant{{Path: "/", Permissions: []string{"list"}}}})
	e := set.Explain(aliceFrom("10.1.2.3"))
	if len(e.Rights) != 1 || e.Rights[0].Rule != "r" || len(e.Rights[0].Shadowed) > 0 {
		t.Errorf("rights %+v, want one entry of rule r before no other", e.Rights)
	}
}

// TestFirstWins shows what the first rule is worth: a folder in its place keeps
// its default rights against those of one it hides, but an access entry counts
// before a default.
func TestFirstWins(t *testing.T) {
	tests := []struct {
		name  string
		rules []Rule
		host  string
		ops   Op
	}{
		{"folder", []Rule{
			{Name: "a", Folders: []Mount{{Path: "/x", Host: "/a"}}},
			{Name: "b", Folders: []Mount{{Path: "/x", Host: "/b", Permissions: []string{"full"}}}},
		}, "/a", ReadOnly},
		{"access before a default", []Rule{
			{Name: "a", Folders: []Mount{{Path: "/x", Host: "/a"}}},
			{Name: "b", Access: []Grant{{Path: "/x", Permissions: []string{"full"}}}},
		}, "/a", Full},
		{"access after permissions", []Rule{
			{Name: "a", Folders: []Mount{{Path: "/x", Host: "/a", Permissions: []string{"list"}}}},
			{Name: "b", Access: []Grant{{Path: "/x", Permissions: []string{"full"}}}},
		}, "/a", List},
		{"no rights at all", []Rule{
			{Name: "a", Access: []Grant{{Path: "/x", Permissions: []string{}}}},
			{Name: "b", Folders: []Mount{{Path: "/x", Host: "/b", Permissions: []string{"full"}}}},
		}, "/b", 0},
	}
	for _, tt := range tests {
		p, err := compile(t, tt.rules...).Resolve(aliceFrom("10.1.2.3"))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := p.Folders[0].Host; got != tt.host {
			t.Errorf("%s: host %s, want %s", tt.name, got, tt.host)
		}
		if got := p.Rights("/x/y").Ops; got != tt.ops {
			t.Errorf("%s: rights %s, want %s", tt.name, got, tt.ops)
		}
	}
}

func TestRootQuota(t *testing.T) {
	set := compile(
		t,
		Rule{Name: "r", Folders: []Mount{{Path: "/", Host: "/srv", Quota: new(int64(7)), QuotaFiles: new(int64(8))}}, Limits: Quantity{QuotaFiles: &Amount[int64]{Value: new(int64(9))}}},
	)
	p, err := set.Resolve(aliceFrom("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	got := []int64{p.Limits.Quota, p.Folders[0].Quota, p.Limits.QuotaFiles, p.Folders[0].QuotaFiles}
	if want := []int64{7, 7, 9, 9}; !reflect.DeepEqual(got, want) {
		t.Errorf("quotas %v, want %v", got, want)
	}
}

func TestDropBoxHome(t *testing.T) {
	set := compile(t, Rule{Name: "partners", Home: &Home{Host: "/srv/drop", Permissions: []string{"drop_box"}}})
	p, err := set.Resolve(aliceFrom("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	for op, want := range map[Op]bool{Create: true, List: false, Read: false, Overwrite: false, Delete: false, SetAttr: false} {
		if err := p.Check(op, "/a"); (err == nil) != want {
			t.Errorf("Check(%s) = %v, want allowed: %t", op, err, want)
		}
	}
}

func TestValidUntil(t *testing.T) {
	evening := Rule{Name: "late", When: When{Hours: "18:00-20:00 UTC"}}
	tests := []struct {
		name  string
		rules []Rule
		want  string // of the Monday; empty: never
	}{
		{"no hours", []Rule{{Name: "a"}}, ""},
		{"hours end", []Rule{{Name: "a", When: When{Hours: "07:00-17:00 UTC"}}}, "17:00"},
		{"other hours begin", []Rule{{Name: "a"}, evening}, "18:00"},
		{"a denial begins", []Rule{{Name: "a"}, {Name: "d", Deny: true, When: When{Hours: "12:00-13:00 UTC"}}}, "12:00"},
		{"of another address", []Rule{{Name: "a"}, {Name: "b", When: When{From: []string{"192.0.2.0/24"}, Hours: "12:00-13:00 UTC"}}}, ""},
		{"of another method", []Rule{{Name: "a"}, {Name: "b", When: When{Method: []string{"password"}, Hours: "12:00-13:00 UTC"}}}, ""},
		{"of somebody else", []Rule{{Name: "a"}, {Name: "b", When: When{Users: []string{"bob"}, Hours: "12:00-13:00 UTC"}}}, ""},
	}
	for _, tt := range tests {
		p, err := compile(t, tt.rules...).Resolve(aliceFrom("10.1.2.3"))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := ""
		if !p.ValidUntil.IsZero() {
			got = p.ValidUntil.UTC().Format("15:04")
		}
		if got != tt.want {
			t.Errorf("%s: valid until %q, want %q", tt.name, got, tt.want)
		}
	}
}

// compareFields reports the fields of two structs that are not the same.
func compareFields[T any](t *testing.T, what string, got, want *T) {
	t.Helper()
	g, w := reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		if text, wanted := fmt.Sprintf("%+v", g.Field(i)), fmt.Sprintf("%+v", w.Field(i)); text != wanted {
			t.Errorf("%s.%s = %s\nwant %s", what, name, text, wanted)
		}
	}
}

// TestCandidates holds the quick walk of the rules to the plain one: the same
// rules match, and rights change at the same time.
func TestCandidates(t *testing.T) {
	whens := []When{
		{},
		{Groups: []string{"finance"}},
		{Groups: []string{"other"}},
		{Users: []string{"alice"}},
		{Users: []string{"bob"}},
		{Hours: "Sat UTC"},
		{From: []string{"10.0.0.0/8"}},
		{Groups: []string{"finance"}, Users: []string{"a*"}, Hours: "Mon 10:00-11:00 UTC"},
		{Groups: []string{"other"}, Hours: "Mon 08:30-09:00 UTC"},
		{Groups: []string{"finance"}, Users: []string{"bob"}, Hours: "Mon 08:15-09:00 UTC"},
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		rules := make([]Rule, 1+rnd.IntN(150))
		for i := range rules {
			rules[i] = Rule{Name: fmt.Sprint(i), When: whens[rnd.IntN(len(whens))]}
		}
		set := compile(t, rules...)
		f := set.facts(aliceFrom("10.1.2.3"))
		var want []*compiledRule
		var wantUntil time.Time
		for i := range set.rules {
			r := &set.rules[i]
			failed := r.fails(f, i, 0)
			if failed < 0 {
				want = append(want, r)
			}
			if failed < 0 || r.conditions[failed].key == "hours" {
				wantUntil = directory.Earlier(wantUntil, r.hours.next(f.Time))
			}
		}
		got, until, err := set.match(f)
		if (err == nil) != (len(want) > 0) || !slices.Equal(got, want) || !until.Equal(wantUntil) {
			t.Fatalf("seed %d: %d rules match until %v, %v, want %d until %v", seed, len(got), until, err, len(want), wantUntil)
		}
	}
}
