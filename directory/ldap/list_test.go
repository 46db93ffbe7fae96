package ldap_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// TestUsers lists a directory: each user is what a look-up of the name gives.
func TestUsers(t *testing.T) {
	const groups = "dn: cn=%[1]s,ou=groups,dc=example,dc=test\ncn: %[1]s\n"
	p, err := peers.StartOpenLDAP(
		t.TempDir(),
		"dn: uid=Sweep,ou=people,dc=example,dc=test\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: Sweep\ncn: s\nsn: s\nuidNumber: 7\ngidNumber: 7007\nhomeDirectory: /x",
		fmt.Sprintf(groups, "bydn")+"objectClass: groupOfNames\nmember: UID=sweep , OU=People,dc=example,dc=test",
		fmt.Sprintf(groups, "byunique")+"objectClass: groupOfUniqueNames\nuniqueMember: cn=bydn,ou=groups,dc=example,dc=test",
		fmt.Sprintf(groups, "byname")+"objectClass: posixGroup\ngidNumber: 1\nmemberUid: Sweep",
		fmt.Sprintf(groups, "byothercase")+"objectClass: posixGroup\ngidNumber: 2\nmemberUid: sweep",
		fmt.Sprintf(groups, "bynumber")+"objectClass: posixGroup\ngidNumber: 7007",
		fmt.Sprintf(groups, "notposix")+"objectClass: groupOfNames\nmember: cn=byunique,ou=groups,dc=example,dc=test",
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	c, sweep := open(t, settings(p)), 0
	before := c.Searches()
	var all []*directory.User
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
		if u.Name == "Sweep" {
			sweep = len(u.Groups)
		}
	}
	cost := c.Searches() - before
	for _, u := range all {
		same, err := c.Lookup(t.Context(), u.Name)
		if diff := cmp.Diff(same, u, cmp.AllowUnexported(directory.DN{})); err != nil || diff != "" {
			t.Errorf("look-up of %s: %v, differs from the list (-look-up +list):\n%s", u.Name, err, diff)
		}
	}
	if len(all) < 10 || sweep < 5 || cost > int64(len(all)) {
		t.Errorf("listed %d users with %d searches, and one user in %d groups: want all, fewer searches than users, and 5 groups or more", len(all), cost, sweep)
	}
	var nested []string
	tree, err := c.Nesting(t.Context())
	for _, g := range tree {
		for _, above := range g.In {
			nested = append(nested, g.Name+" in "+above.String())
		}
	}
	slices.Sort(nested)
	want := []string{ // middle and outer contain each other
		"bydn in cn=byunique,ou=groups,dc=example,dc=test", "byunique in cn=notposix,ou=groups,dc=example,dc=test",
		"inner in cn=middle,ou=groups,dc=example,dc=test", "middle in cn=outer,ou=groups,dc=example,dc=test", "outer in cn=middle,ou=groups,dc=example,dc=test",
	}
	if !slices.Equal(nested, want) || err != nil || len(tree) < 10 {
		t.Errorf("nested: %q, want %q; %d groups, error %v", nested, want, len(tree), err)
	}
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Errorf("the first user: %v, %v", u, err)
		}
		break
	}
}

// TestListedStates: who is listed has the state that a look-up finds, and a list changes
// nothing for the look-ups after it. OpenLDAP's policies are entries like groups, and a
// list answers searches for groups from memory.
func TestListedStates(t *testing.T) {
	p := peers.OpenLDAP(t)
	c, apart := open(t, settings(p)), open(t, settings(p))
	n := 0
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for when, other := range map[string]*ldap.Client{"a look-up": apart, "a look-up after the list began": c} {
			if want := find(t, other, u.Name); want.State.Status != u.State.Status || !want.State.PasswordExpires.Equal(u.State.PasswordExpires) {
				t.Errorf("%s: listed as %+v, %s says %+v", u.Name, u.State, when, want.State)
			}
		}
		if !u.State.PasswordExpires.IsZero() {
			n++
		}
	}
	if n == 0 {
		t.Error("nobody's password expires")
	}
}
