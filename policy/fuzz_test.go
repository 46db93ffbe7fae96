package policy

import (
	"path"
	"strings"
	"testing"

	"berth/directory"
)

// FuzzCheck checks that rights below one path are permitted nowhere else.
func FuzzCheck(f *testing.F) {
	f.Add("/in", "/inner/a")
	f.Add("/in", "/in/../secret")
	f.Add("/", "")
	f.Add("/a/b", "/a/b\x00/c")
	f.Fuzz(func(t *testing.T, prefix, name string) {
		prefix, name = path.Clean("/"+prefix), path.Clean("/"+name)
		p := &Policy{Access: []Access{{Path: prefix, Ops: Full, Names: Names{Deny: []string{"*.exe"}}}}}
		inside := name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/")
		err := p.Check(Read, name)
		if err == nil && !inside {
			t.Errorf("Check(%q) is permitted by rights on %q", name, prefix)
		}
		if err != nil && inside && !strings.Contains(strings.ToLower(name), ".exe") {
			t.Errorf("Check(%q) = %v, want permitted by rights on %q", name, err, prefix)
		}
	})
}

// FuzzTemplate sees that no name, id or attribute leads a host path elsewhere,
// or makes two people share one by accident.
func FuzzTemplate(f *testing.F) {
	f.Add("/srv/%u/%{a}", "alice", "x")
	f.Add("/srv/%{a}%u", "..", "../..")
	f.Add("/%i.%{A}", "", ".")
	f.Add("/%%u/.%u", ".", "/")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		tmpl, err := parseTemplate(text, "")
		if err != nil {
			return
		}
		host, err := tmpl.fill(&directory.User{Name: name, Identity: directory.Identity{ID: name, Source: name}, Attrs: map[string][]string{"a": {value}}})
		if err != nil {
			return
		}
		if path.Clean(host) != host || !path.IsAbs(host) || strings.Count(host, "/") != strings.Count(text, "/") {
			t.Errorf("%q with %q and %q is %q, want a clean path as deep as it is written", text, name, value, host)
		}
	})
}

// FuzzGroup sees that no value of a group condition makes the index and the
// explanation differ.
func FuzzGroup(f *testing.F) {
	f.Add("CN=F*,DC=x", "cn=finance,dc=x", "finance")
	f.Add("**,dc=x", "cn=a,dc=x", "a")
	f.Add("S-1-5-32", "", "S-1-5-32")
	f.Add("[^a]?", "cn=b", "bc")
	f.Fuzz(func(t *testing.T, value, dn, name string) {
		set, err := Compile([]Rule{{Name: "r", When: When{Groups: []string{value}}}})
		if err != nil {
			return
		}
		g := directory.Group{DN: directory.DNOf(dn), Name: name, SID: strings.ToUpper(name), Via: "direct"}
		req := Request{User: &directory.User{Name: "u", Groups: []directory.Group{g}}}
		_, err = set.Resolve(req)
		e := set.Explain(req)
		if e.Allowed != (err == nil) {
			t.Fatalf("groups: [%q] and %q, %q: Resolve: %v, Explain: allowed %t", value, dn, name, err, e.Allowed)
		}
		if why := e.Rules[0].Conditions[0].Why; e.Allowed == strings.HasPrefix(why, "in none of ") {
			t.Errorf("groups: [%q] and %q, %q: allowed %t because %s", value, dn, name, e.Allowed, why)
		}
	})
}
