package policy

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"berth/directory"
)

// TestDirectories has people of two directories with groups of one name.
func TestDirectories(t *testing.T) {
	of := func(source string) Request {
		return Request{User: &directory.User{
			Identity: directory.Identity{Source: source, ID: "1"}, Name: "bob",
			Groups: []directory.Group{{Name: "Finance", DN: directory.DNOf("cn=finance,dc=" + source), Via: "direct"}},
		}, Remote: netip.MustParseAddr("10.1.2.3"), Time: monday}
	}
	tests := []struct {
		when          When
		corp, partner bool
	}{
		{When{Directory: []string{"corp"}}, true, false},
		{When{Directory: []string{"PARTNER"}}, false, true},
		{When{Directory: []string{"corp", "partner"}}, true, true},
		{When{Groups: []string{`corp\finance`}}, true, false},
		{When{Groups: []string{`Partner\FINANCE`}}, false, true},
		{When{Groups: []string{`partner\fin*`}}, false, true},
		{When{Groups: []string{`corp\sales`, `partner\[f]inance`}}, false, true},
		{When{Groups: []string{"cn=finance,dc=partner"}}, false, true},
		{When{Groups: []string{"cn=fin*,dc=corp"}}, true, false},
		{When{Groups: []string{"finance"}, Directory: []string{"partner"}}, false, true},
		{When{Groups: []string{"f*"}, Directory: []string{"corp", "partner"}}, true, true},
		{When{Groups: []string{`corp\finance`}, Directory: []string{"partner"}}, false, false},
	}
	for _, tt := range tests {
		set, err := Compile([]Rule{{Name: "r", When: tt.when}}, "corp", "partner")
		if err != nil {
			t.Errorf("%+v: %v", tt.when, err)
			continue
		}
		for source, want := range map[string]bool{"corp": tt.corp, "partner": tt.partner} {
			_, err := set.Resolve(of(source))
			e := set.Explain(of(source))
			if (err == nil) != want || e.Allowed != want || e.User.Directory != source {
				t.Errorf("%+v and finance of %s: %v, Explain: %t, want a match: %t", tt.when, source, err, e.Allowed, want)
			}
			for _, c := range e.Rules[0].Conditions {
				if c.Held == strings.Contains(c.Why, "none of") {
					t.Errorf("%+v and finance of %s: %s held: %t because %s", tt.when, source, c.Key, c.Held, c.Why)
				}
			}
		}
	}
}

func TestGroupOfWhichDirectory(t *testing.T) {
	tests := []struct {
		directories string
		when        When
		want        string
	}{
		{"corp partner", When{Groups: []string{"finance"}}, `rules[0].when.groups[0]: "finance": several directories may have such a group: write corp\finance, a DN, or add when.directory (rule "r")`},
		{"corp partner", When{Groups: []string{"fin*"}}, `rules[0].when.groups[0]: "fin*": several directories may have such a group: write corp\fin*, a DN, or add when.directory (rule "r")`},
		{"corp partner", When{Groups: []string{`other\finance`}}, `rules[0].when.groups[0]: "other\\finance": there is no directory "other": use one of corp, partner (rule "r")`},
		{"corp", When{Groups: []string{`other\fin*`}}, `rules[0].when.groups[0]: "other\\fin*": there is no directory "other": use one of corp (rule "r")`},
		{"corp", When{Groups: []string{`corp\ `}}, `rules[0].when.groups[0]: "corp\\ ": the name of the group is missing (rule "r")`},
		{"corp", When{Groups: []string{"S-1-5-21-*"}}, `rules[0].when.groups[0]: "S-1-5-21-*": must be a whole SID, such as S-1-5-21-1004336348-1177238915-682003330-512: there are no patterns of SIDs (rule "r")`},
		{"corp", When{Groups: []string{" finance"}}, `rules[0].when.groups[0]: " finance": has spaces before or after it: write it without them (rule "r")`},
		{"corp", When{Users: []string{"eve "}}, `rules[0].when.users[0]: "eve ": has spaces before or after it: write it without them (rule "r")`},
		{"corp", When{Directory: []string{"crop"}}, `rules[0].when.directory[0]: "crop": there is no directory "crop": use one of corp (rule "r")`},
		{"corp", When{Groups: []string{"finance", "fin*", `corp\finance`}}, ""},
		{"corp partner", When{Groups: []string{"S-1-5-21-1", "cn=finance,dc=x", "cn=*,dc=x", "**,dc=x"}}, ""},
		{"", When{Groups: []string{"finance", `any\finance`}, Directory: []string{"any"}}, ""},
	}
	for _, tt := range tests {
		_, err := Compile([]Rule{{Name: "r", When: tt.when}}, strings.Fields(tt.directories)...)
		if got := ""; err != nil {
			if got = err.Error(); got != tt.want {
				t.Errorf("%+v with directories %s: %s\nwant: %s", tt.when, tt.directories, got, tt.want)
			}
		} else if tt.want != "" {
			t.Errorf("%+v with directories %s is accepted, want: %s", tt.when, tt.directories, tt.want)
		}
	}
}

// TestEmptyConditions gives every condition every empty value: none may turn
// into a rule for everybody.
func TestEmptyConditions(t *testing.T) {
	for field := range reflect.TypeFor[When]().Fields() {
		key := "rules[0].when." + field.Tag.Get("mapstructure")
		values := []any{[]string{}, []string{""}, []string{" "}, []string{"\t", ""}}
		if field.Type.Kind() == reflect.String {
			values = []any{" ", "\t"} // the zero value is no condition
		}
		for _, value := range values {
			var w When
			reflect.ValueOf(&w).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
			_, err := Compile([]Rule{{Name: "r", When: w}})
			var m *Mistake
			if !errors.As(err, &m) || !strings.HasPrefix(m.Key, key) {
				t.Errorf("%s: %#v: %v, want a mistake", key, value, err)
			}
		}
	}
}

// TestHiddenGroup has somebody with a group of which the directory shows the SID
// alone. Nobody knows whether a rule means it.
func TestHiddenGroup(t *testing.T) {
	u := &directory.User{Name: "bob", Groups: []directory.Group{
		{SID: "S-1-5-21-7-513", Name: "Domain Users", DN: directory.DNOf("cn=domain users,dc=corp"), Via: "primary"},
		{SID: "S-1-5-21-9-77", Via: "nested"}, // of another domain
	}}
	hidden := directory.Group{SID: "S-1-5-21-7-99", Via: "nested"}
	password := Require{{"password"}}
	staff := Rule{Name: "staff", When: When{Groups: []string{"Domain Users"}}}
	tests := []struct {
		rule   Rule
		refuse bool // those with the hidden group
	}{
		{Rule{Deny: true, When: When{Groups: []string{"Leavers"}}}, true},
		{Rule{Deny: true, When: When{Groups: []string{"L*"}}}, true},
		{Rule{Deny: true, When: When{Groups: []string{"cn=leavers,dc=corp"}}}, true},
		{Rule{Deny: true, When: When{Groups: []string{"S-1-5-21-7-1", "leavers"}, Method: []string{"password"}}}, true},
		{Rule{Require: password, When: When{Groups: []string{"admins"}}}, true},
		{Rule{Deny: true, When: When{Groups: []string{"S-1-5-21-7-98"}}}, false},
		{Rule{Deny: true, When: When{Groups: []string{"leavers"}, Method: []string{"publickey"}}}, false},
		{Rule{Deny: true, When: When{Groups: []string{"leavers"}, Users: []string{"alice"}}}, false},
		{Rule{Deny: true, When: When{Users: []string{"alice"}}}, false},
		{Rule{When: When{Groups: []string{"admins"}}}, false}, // grants, so not to have it is safe
	}
	for _, tt := range tests {
		tt.rule.Name = "r"
		set := compile(t, staff, tt.rule)
		for _, has := range []bool{false, true} {
			who := *u
			if has {
				who.Groups = append(who.Groups[:2:2], hidden)
			}
			req := Request{User: &who, Method: "password"}
			_, err := set.Resolve(req)
			var d *Denied
			if got := errors.As(err, &d) && d.Reason == GroupsUnknown && d.Rule == "r"; got != (has && tt.refuse) || got != (err != nil) {
				t.Errorf("%+v, hidden group: %t: %v, want a refusal: %t", tt.rule, has, err, has && tt.refuse)
			}
			if e := set.Explain(req); e.Allowed != (err == nil) {
				t.Errorf("%+v, hidden group: %t: Resolve: %v, Explain: allowed %t", tt.rule, has, err, e.Allowed)
			}
		}
	}
}

// TestHiddenGroupWithoutPrimary refuses as well: without a primary group, the
// domain of the user is not known, so the group may be of this domain.
func TestHiddenGroupWithoutPrimary(t *testing.T) {
	set := compile(t, Rule{Name: "all"}, Rule{Name: "out", Deny: true, When: When{Groups: []string{"leavers"}}})
	u := &directory.User{Name: "bob", Groups: []directory.Group{{SID: "S-1-5-21-9-77"}}}
	if p, err := set.Resolve(Request{User: u}); err == nil {
		t.Errorf("Resolve = %+v, want a refusal", p)
	}
}

func TestParseNetwork(t *testing.T) {
	for s, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
		"::ffff:0.0.0.0/96": "0.0.0.0/0", "2001:db8::/32": "2001:db8::/32", "::/0": "::/0", "::1": "::1/128",
	} {
		if p, err := ParseNetwork(s); err != nil || p.String() != want {
			t.Errorf("ParseNetwork(%q) = %v, %v, want %s", s, p, err, want)
		}
	}
	for _, s := range []string{"", "home", "10.0.0.0/33", "10.1.0.0/8", "::ffff:10.1.0.0/104", "::ffff:0:0/95", "fe80::1%eth0", "fe80::%eth0/64", "010.0.0.0/8", "10.0.0.0/08"} {
		if p, err := ParseNetwork(s); err == nil {
			t.Errorf("ParseNetwork(%q) = %v, want an error", s, p)
		}
	}
}

// TestIDOfDirectory checks that people of two directories with the same id, as
// copied entries have, get separate folders.
func TestIDOfDirectory(t *testing.T) {
	set := compile(t, Rule{Name: "all", Home: &Home{Host: "/srv/%i"}})
	for id, want := range map[directory.Identity]string{
		{Source: "corp", ID: "7"}: "/srv/7@corp", {Source: "partner", ID: "7"}: "/srv/7@partner", {Source: "corp"}: "",
	} {
		p, err := set.Resolve(Request{User: &directory.User{Name: "bob", Identity: id}})
		if want == "" && err == nil || want != "" && (err != nil || p.Folders[0].Host != want) {
			t.Errorf("%+v: %+v, %v, want %q", id, p, err, want)
		}
	}
}

// TestNamesBeyondASCII sees that case is ignored in every alphabet.
func TestNamesBeyondASCII(t *testing.T) {
	u := &directory.User{Name: "Jörg", Groups: []directory.Group{{Name: "Sales"}, {Name: "Büro Köln", DN: directory.DNOf("cn=Büro Köln,dc=corp")}}}
	for _, w := range []When{
		{Groups: []string{"BÜRO KÖLN"}},
		{Groups: []string{"bÜro*"}},
		{Groups: []string{"CN=BÜRO köln,DC=CORP"}},
		{Groups: []string{"cn=B?ro*,dc=corp"}},
		{Users: []string{"JÖRG"}},
		{Users: []string{"jÖ*"}},
	} {
		if _, err := compile(t, Rule{Name: "r", When: w}).Resolve(Request{User: u}); err != nil {
			t.Errorf("%+v: %v, want a match", w, err)
		}
	}
}
