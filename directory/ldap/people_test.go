package ldap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/test/peers"
)

func groupNames(u *directory.User) string {
	var names []string
	for _, g := range u.Groups {
		names = append(names, fmt.Sprintf("%s (%s)", g.Name, g.Via))
	}
	return strings.Join(names, ", ")
}

// TestPrimaryGroup puts somebody into a group by its number, and that group into
// another one.
func TestPrimaryGroup(t *testing.T) {
	p := peers.OpenLDAP(t)
	replace(t, p, "uid=carol,"+people, "gidNumber", "10003")
	manage(t, p, "dn: cn=outer,ou=groups,dc=example,dc=test\nchangetype: modify\nadd: member\nmember: cn=posix,ou=groups,dc=example,dc=test")
	for _, walk := range []string{"walk", "member_of"} {
		s := settings(p)
		s.GroupWalk = walk
		c := open(t, s)
		if got := groupNames(find(t, c, "carol")); got != "middle (nested), outer (nested), posix (primary)" {
			t.Errorf("%s: groups of carol: %s", walk, got)
		}
		if got := groupNames(find(t, c, "jörg")); got != "" { // no number
			t.Errorf("%s: groups of jörg: %s", walk, got)
		}
	}
}

// TestRenamedGroups renames a group and makes a new one with the old name.
func TestRenamedGroups(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *peers.Peer{"openldap": peers.OpenLDAP, "samba": peers.Samba} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			s := settings(p)
			s.Cache = time.Millisecond
			c := open(t, s)
			before := groupNames(find(t, c, "alice"))
			base := map[string]string{"openldap": "ou=groups,dc=example,dc=test", "samba": "CN=Users," + p.Base}[name]
			manage(t, p, "dn: cn=outer,"+base+"\nchangetype: modrdn\nnewrdn: cn=former\ndeleteoldrdn: 1")
			if name == "samba" {
				replace(t, p, "cn=former,"+base, "sAMAccountName", "former")
			}
			manage(t, p, "dn: cn=outer,"+base+"\nobjectClass: "+map[string]string{"openldap": "groupOfNames\nmember: uid=bob," + people, "samba": "group\nsAMAccountName: outer"}[name])
			want := strings.Replace(before, "outer", "former", 1)
			deadline := time.Now().Add(time.Minute)
			for {
				parts := strings.Split(groupNames(find(t, c, "alice")), ", ")
				wanted := strings.Split(want, ", ")
				slices.Sort(parts)
				slices.Sort(wanted)
				if slices.Equal(parts, wanted) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("groups %v, want %v", parts, wanted)
				}
			}
		})
	}
}

// TestMovedPerson moves somebody whom a cache remembers. The cache looks up a
// person again who was read more than a second ago. Until then the password
// is sent with a DN that nobody has.
func TestMovedPerson(t *testing.T) {
	p := peers.OpenLDAP(t)
	d := directory.NewCache(open(t, settings(p)), time.Hour, 0)
	moved, gone := find(t, d, "carol"), find(t, d, "guessed")
	manage(t, p, "dn: ou=left,dc=example,dc=test\nobjectClass: organizationalUnit\nou: left")
	manage(t, p, "dn: uid=carol,"+people+"\nchangetype: modrdn\nnewrdn: uid=carol\ndeleteoldrdn: 0\nnewsuperior: ou=left,dc=example,dc=test")
	manage(t, p, "dn: uid=guessed,"+people+"\nchangetype: delete")
	deadline := time.Now().Add(time.Minute)
	for {
		err := d.Authenticate(t.Context(), moved, peers.Password("carol"))
		if err == nil {
			break
		}
		if !errors.Is(err, directory.ErrBadPassword) || time.Now().After(deadline) {
			t.Fatalf("Authenticate after a move = %v, want nil", err)
		}
	}
	if err := d.ChangePassword(t.Context(), moved, peers.Password("carol"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword after a move = %v, want nil", err)
	}
	if err := d.Authenticate(t.Context(), gone, peers.Password("guessed")); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate of somebody removed = %v, want ErrBadPassword", err)
	}
}

// TestBindAsSomebodyElse has a name that is one person's for the bind and
// another's for the search.
func TestBindAsSomebodyElse(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "none", "uid=%u,ou=people,dc=example,dc=test"
	s.LoginAttributes, s.UserFilter = []string{"title"}, "(objectClass=inetOrgPerson)"
	c := open(t, s)
	u := find(t, c, "bob") // carol's title
	if err := c.Authenticate(t.Context(), u, peers.Password("bob")); !errors.Is(err, directory.ErrAmbiguous) {
		t.Errorf("Authenticate = %v, want ErrAmbiguous", err)
	}
	if u := find(t, c, "bob"); u.ID != "" || len(u.Groups) > 0 {
		t.Errorf("Lookup afterwards = %+v, want nothing of an entry", u)
	}
}

// TestManyClaimALoginName gives many people a mail address that is the login name of
// somebody else, whom the server returns last.
func TestManyClaimALoginName(t *testing.T) {
	p := peers.OpenLDAP(t)
	claim := func(i int, name string) {
		manage(t, p, fmt.Sprintf("dn: cn=c%d,%s\nobjectClass: inetOrgPerson\ncn: c%d\nsn: x\nuid: c%d\nmail: %s", i, people, i, i, name))
	}
	for i := range 6 {
		claim(i, "last")
		claim(10+i, "nobody")
	}
	manage(t, p, "dn: uid=last,"+people+"\nobjectClass: inetOrgPerson\nuid: last\ncn: last\nsn: x")
	s := settings(p)
	s.LoginAttributes = []string{"uid", "mail"}
	c := open(t, s)
	if u := find(t, c, "last"); u.DN != "uid=last,"+people {
		t.Errorf("last is %s", u.DN)
	}
	if u, err := c.Lookup(t.Context(), "nobody"); !errors.Is(err, directory.ErrAmbiguous) {
		t.Errorf("Lookup of the address of many people = %v, %v, want ErrAmbiguous", u, err)
	}
}

// TestNoStableID: people without an id cannot be distinguished.
func TestNoStableID(t *testing.T) {
	p := peers.OpenLDAP(t)
	replace(t, p, "uid=alice,"+people, "employeeNumber", "7")
	s := settings(p)
	s.IDAttribute = "employeeNumber"
	c := open(t, s)
	if u := find(t, c, "alice"); u.ID != "7" {
		t.Errorf("the id of alice is %q", u.ID)
	}
	for _, name := range []string{"bob", "carol"} {
		u, err := c.Lookup(t.Context(), name)
		if !errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), "employeeNumber") {
			t.Errorf("Lookup(%q) without an id = %v, %v, want ErrStateUnknown", name, u, err)
		}
	}
	for u, err := range c.Users(t.Context()) {
		if err != nil || u.ID == "" && u.State.Err() == nil {
			t.Errorf("Users: %v, %v", u, err)
		}
	}
}
