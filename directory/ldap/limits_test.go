package ldap_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/directory"
	"berth/test/peers"
)

const people = "ou=people,dc=example,dc=test"

// find looks somebody up.
func find(t *testing.T, d directory.Directory, name string) *directory.User {
	t.Helper()
	u, err := d.Lookup(t.Context(), name)
	if err != nil {
		t.Fatalf("Lookup(%q) = %v, want the user", name, err)
	}
	return u
}

// TestManyGroups is in more groups than slapd returns at once by default.
func TestManyGroups(t *testing.T) {
	p := peers.OpenLDAP(t)
	configure(t, p, "sizelimit size.soft=500 size.hard=1000 size.prtotal=unlimited", "sizelimit 500")
	var ldif strings.Builder
	for i := range 700 {
		fmt.Fprintf(&ldif, "dn: cn=many%d,ou=groups,dc=example,dc=test\nobjectClass: groupOfNames\ncn: many%d\nmember: uid=carol,%s\n\n", i, i, people)
	}
	manage(t, p, ldif.String())
	c := open(t, settings(p))
	u := find(t, c, "carol")
	names := map[string]bool{}
	for _, g := range u.Groups {
		if g.Via == "direct" {
			names[g.Name] = true
		}
	}
	if len(u.Groups) != 700 || len(names) != 700 {
		t.Errorf("%d groups, %d of them direct; want 700", len(u.Groups), len(names))
	}
}

// TestPatternsOnSamba asks for more groups than wanted: Samba returns them all.
func TestPatternsOnSamba(t *testing.T) {
	p := peers.Samba(t)
	for i := range 4 {
		manage(t, p, fmt.Sprintf("dn: CN=pat%d,CN=Users,%s\nobjectClass: group\nsAMAccountName: pat%d", i, p.Base, i))
	}
	c := open(t, settings(p))
	report := printed(c.Report(t.Context(), []string{"pat*", "inner", "outer"}))
	if strings.Contains(report, "bad: ") || strings.Contains(report, "group ") {
		t.Errorf("the report complains of groups that exist:\n%s", report)
	}
	found := printed(c.Rights(t.Context(), find(t, c, "alice"), peers.Password("alice"), []string{"pat*", "open"}))
	if !strings.Contains(found, "may write member of group CN=open,") {
		t.Errorf("the hole behind a pattern is not found:\n%s", found)
	}
}
