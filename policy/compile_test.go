package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompileReportsEveryMistake(t *testing.T) {
	tests := []struct {
		name string
		rule Rule
		want []string // each is the beginning of one mistake
	}{
		{"no name", Rule{}, []string{`rules[0].name: missing`}},
		{"groups", Rule{Name: "r", When: When{Groups: []string{"", "cn=", "[a", "CN=*,=x", "ok"}}}, []string{
			`rules[0].when.groups[0]: a DN`,
			`rules[0].when.groups[1]: "cn=": `,
			`rules[0].when.groups[2]: "[a": syntax error in pattern`,
			`rules[0].when.groups[3]: "CN=*,=x": "=x" is not`,
		}},
		{"users", Rule{Name: "r", When: When{Users: []string{"", "a[", "ok", "x*"}}}, []string{
			`rules[0].when.users[0]`, `rules[0].when.users[1]`,
		}},
		{"from", Rule{Name: "r", When: When{From: []string{"10.0.0.0/8", "10.1.0.0/8", "::1", "home", "fe80::1%eth0", "10.0.0.0/33"}}}, []string{
			`rules[0].when.from[1]: "10.1.0.0/8": has an address within the network: write 10.0.0.0/8`,
			`rules[0].when.from[3]: "home": must be an address or a network`,
			`rules[0].when.from[4]`, `rules[0].when.from[5]`,
		}},
		{"method and hours", Rule{Name: "r", When: When{Method: []string{"passwort"}, Hours: "Mon-Fri 6-20"}}, []string{
			`rules[0].when.method[0]: "passwort": is not known: use one of password, publickey`,
			`rules[0].when.hours: "Mon-Fri 6-20": `,
		}},
		{"deny", Rule{Name: "r", Deny: true, Services: []string{"sftp"}}, []string{`rules[0].deny: "true": a rule with deny`}},
		{"home", Rule{Name: "r", Home: &Home{Host: "home/%u", Skeleton: []string{"in", "../x", "/y"}, Umask: "89", Permissions: []string{"raed"}}}, []string{
			`rules[0].home.host: "home/%u": must be an absolute path`,
			`rules[0].home.skeleton[1]`, `rules[0].home.skeleton[2]`,
			`rules[0].home.skeleton: "in, ../x, /y": is created only`,
			`rules[0].home.umask`, `rules[0].home.permissions[0]: "raed": is not a permission`,
		}},
		{"placeholders", Rule{Name: "r", Folders: []Mount{
			{Path: "/a", Host: "/srv/%x"},
			{Path: "/b", Host: "/srv/%"},
			{Path: "/c", Host: "/srv/%{a b}"},
			{Path: "/d", Host: "/srv/../x"},
			{Path: "/e", Host: ""},
			{Path: "/f", Host: "/srv/%{department}/100%%"},
		}}, []string{
			`rules[0].folders[0].host`, `rules[0].folders[1].host`, `rules[0].folders[2].host`,
			`rules[0].folders[3].host: "/srv/../x": write it as /x`, `rules[0].folders[4].host: must be`,
		}},
		{"folders", Rule{Name: "r", Folders: []Mount{
			{Path: "shared", Host: "/a"},
			{Path: "/b/", Host: "/a", Quota: new(int64(-1))},
			{Path: "/c", Host: "/a"},
			{Path: "/c", Host: "/b"},
		}}, []string{
			`rules[0].folders[0].path: "shared": must be a path of the view`,
			`rules[0].folders[1].path: "/b/": write it as /b`, `rules[0].folders[1].quota: "-1"`,
			`rules[0].folders: "/c": occurs twice`,
		}},
		{"access", Rule{Name: "r", Access: []Grant{
			{Path: "in"},
			{Path: "/in", Names: Names{Deny: []string{"[", "a/b", ""}}},
			{Path: "/x", Permissions: []string{}, Hide: true},
		}}, []string{
			`rules[0].access[0].path`, `rules[0].access[0]: "in": changes nothing`,
			`rules[0].access[1].names.deny[0]`, `rules[0].access[1].names.deny[1]`, `rules[0].access[1].names.deny[2]`,
			`rules[0].access[2].hide`,
		}},
		{"one-time codes", Rule{Name: "r", Require: Require{{"totp"}, {"totp", "password"}, {"password", "totp"}}}, []string{
			`rules[0].require[0][0]: "totp": must come last, after another method`, `rules[0].require[1][0]: "totp": must come last`,
		}},
		{"the rest", Rule{
			Name: "r", Services: []string{"sftp", "shell"}, Require: Require{{"publickey", "publickey"}, {}, {"pin"}},
			Uploads: "atomik", SetAttr: "no", Limits: Quantity{
				Sessions: &Amount[int]{Value: new(-1)}, Quota: &Amount[int64]{Value: new(int64(-2))}, QuotaFiles: &Amount[int64]{Value: new(int64(-3))}, MaxFile: &Amount[int64]{Value: new(int64(-4))}, UploadRate: &Amount[int64]{Value: new(int64(-5))}, DownloadRate: &Amount[int64]{Value: new(int64(-6))},
				Idle: &Amount[time.Duration]{Value: new(-time.Second)}, SessionTime: &Amount[time.Duration]{Value: new(-time.Minute)},
			},
		}, []string{
			`rules[0].services[1]: "shell": is not a service: use some of sftp, scp, passwd`,
			`rules[0].require[0][1]`, `rules[0].require[1]: empty`, `rules[0].require[2][0]`,
			`rules[0].limits.sessions: "-1"`, `rules[0].limits.quota: "-2"`, `rules[0].limits.quota_files: "-3"`, `rules[0].limits.max_file: "-4"`,
			`rules[0].limits.upload_rate: "-5"`, `rules[0].limits.download_rate: "-6"`, `rules[0].limits.idle: "-1s"`, `rules[0].limits.session_time: "-1m0s"`,
			`rules[0].uploads: "atomik": is not known: use one of direct, atomic`, `rules[0].setattr`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := Compile([]Rule{tt.rule})
			if err == nil || set != nil {
				t.Fatalf("Compile = %v, %v, want mistakes", set, err)
			}
			got := strings.Split(err.Error(), "\n")
			for i := range max(len(got), len(tt.want)) {
				if i >= len(got) || i >= len(tt.want) || !strings.HasPrefix(got[i], tt.want[i]) {
					t.Fatalf("mistakes:\n%s\nwant:\n%s", err, strings.Join(tt.want, "\n"))
				}
			}
			var m *Mistake
			if !errors.As(err, &m) || m.Index != 0 || m.Want == "" {
				t.Errorf("first mistake %#v, want a *Mistake with the index and what would be right", m)
			}
		})
	}
}

func TestCompileAllRules(t *testing.T) {
	_, err := Compile([]Rule{{Name: "a"}, {Name: "a"}, {Name: "b", Uploads: "x"}})
	want := `rules[1].name: "a": rules[0] has this name already: each rule needs its own (rule "a")` + "\n" +
		`rules[2].uploads: "x": is not known: use one of direct, atomic (rule "b")`
	if err == nil || err.Error() != want {
		t.Errorf("Compile: %v\nwant: %s", err, want)
	}
}

func TestClashes(t *testing.T) {
	set := compile(
		t,
		Rule{Name: "a", Home: &Home{Host: "/a"}, Folders: []Mount{{Path: "/x", Host: "/x"}}},
		Rule{Name: "b", Home: &Home{Host: "/b"}, Folders: []Mount{{Path: "/x", Host: "/x"}}},
		Rule{Name: "c", Folders: []Mount{{Path: "/x", Host: "/x", Permissions: []string{"full"}}, {Path: "/", Host: "/c"}}},
		Rule{Name: "d", Access: []Grant{{Path: "/in", Permissions: []string{"list"}, Names: Names{Deny: []string{"*.exe"}}}}},
		Rule{Name: "e", Access: []Grant{{Path: "/in", Permissions: []string{"read"}}}},
		Rule{Name: "f", Access: []Grant{{Path: "/in", Names: Names{Deny: []string{"*.com"}}}}},
	)
	want := []string{
		`rules[0].folders[0], rules[2].folders[0]: /x: the folder of rule "c" is not used for people whom rule "a" also matches: that rule comes first`,
		`rules[0].home, rules[2].folders[1]: /: the folder of rule "c" is not used for people whom rule "a" also matches: that rule comes first`,
		`rules[3].access[0], rules[4].access[0]: /in: the permissions of rule "e" are not used for people whom rule "d" also matches: that rule comes first`,
		`rules[3].access[0], rules[5].access[0]: /in: the names of rule "f" are not used for people whom rule "d" also matches: that rule comes first`,
	}
	var got []string
	for _, c := range set.Clashes() {
		got = append(got, c.First.Key+", "+c.Second.Key+": "+c.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("clashes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUmask(t *testing.T) {
	for umask, want := range map[string]uint32{"": 0o027, "0": 0, "007": 0o007, "777": 0o777} {
		p, err := compile(t, Rule{Name: "r", Home: &Home{Host: "/srv", Umask: umask}}).Resolve(aliceFrom("10.1.2.3"))
		if err != nil || p.Folders[0].Umask != want {
			t.Errorf("umask %q: %+v, %v, want %o", umask, p, err, want)
		}
	}
	for _, umask := range []string{"1000", "778", "-1", "0x7", "rwx"} {
		if _, err := Compile([]Rule{{Name: "r", Home: &Home{Host: "/srv", Umask: umask}}}); err == nil {
			t.Errorf("umask %q is accepted", umask)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	for host, good := range map[string]bool{
		"/%{azAZ09}": true, "/%{a;binary}": true, "/%{1.2.840-x_y}": true, "/%u%i%d%%": true,
		"/%{}": false, "/%{a b}": false, "/%{ä}": false, "/%{a": false, "/%U": false, "/%": false, "/%{a:b}": false, "/%{a/b}": false, "/%{a@b}": false, "/%{a[b}": false, "/%{a`b}": false, "/%{a{b}": false,
	} {
		if _, err := parseTemplate(host, ""); (err == nil) != good {
			t.Errorf("parseTemplate(%q) = %v, want accepted: %t", host, err, good)
		}
	}
}

func TestGroupsAndAttributes(t *testing.T) {
	set := compile(
		t,
		Rule{Name: "a", When: When{Groups: []string{"Staff", "FT-*"}}, Home: &Home{Host: "/srv/%{departmentNumber}/%u"}},
		Rule{Name: "b", When: When{Groups: []string{"Staff"}}, Folders: []Mount{{Path: "/x", Host: "/srv/%{l}/%{DepartmentNumber}"}}},
	)
	if got, want := fmt.Sprint(set.Groups()), "[Staff FT-*]"; got != want {
		t.Errorf("Groups = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(set.Attributes()), "[departmentnumber l]"; got != want {
		t.Errorf("Attributes = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(set.Hosts()), "[/srv/*/*]"; got != want {
		t.Errorf("Hosts = %s, want %s", got, want)
	}
}

// compile compiles rules that have no mistakes.
func compile(t testing.TB, rules ...Rule) *Set {
	t.Helper()
	set, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
