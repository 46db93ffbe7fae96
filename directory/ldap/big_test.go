package ldap_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"berth/directory"
	"berth/test/peers"
)

// ldifPerson is the LDIF of somebody who has more than others.
func ldifPerson(name string, more ...string) string {
	return fmt.Sprintf("dn: uid=%[1]s,ou=people,dc=example,dc=test\nobjectClass: inetOrgPerson\nobjectClass: ldapPublicKey\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nuserPassword: %[2]s\n",
		name, peers.Password(name)) + strings.Join(more, "\n")
}

// TestTooMuch asks slapd for people who have too much of something: 10,000
// groups and one more, keys of 1 MiB, a thousand keys.
func TestTooMuch(t *testing.T) {
	peers.Need(t, "openldap")
	const groups = 10_001
	ldif := []string{
		ldifPerson("many"), ldifPerson("toomany"),
		ldifPerson("bigkey", "sshPublicKey: ssh-ed25519 "+strings.Repeat("A", 1<<20), "description: "+strings.Repeat("d", 1<<20)),
		ldifPerson("manykeys", func() (lines []string) {
			for i := range 1000 {
				lines = append(lines, fmt.Sprintf("sshPublicKey: ssh-ed25519 broken%d", i))
			}
			return lines
		}()...),
	}
	for i := range groups {
		g := fmt.Sprintf("dn: cn=many%[1]d,ou=groups,dc=example,dc=test\nobjectClass: groupOfNames\ncn: many%[1]d\nmember: uid=toomany,ou=people,dc=example,dc=test", i)
		if i > 0 {
			g += "\nmember: uid=many,ou=people,dc=example,dc=test"
		}
		ldif = append(ldif, g)
	}
	p, err := peers.StartOpenLDAP(t.TempDir(), ldif...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	s := settings(p)
	s.Attributes = []string{"description"}
	c := open(t, s)
	look := func(name string) (*directory.User, error) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		u, err := c.Lookup(t.Context(), name)
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 200<<20 {
			t.Errorf("%s: the heap grew by %d MiB, want less than 200", name, grown>>20)
		}
		if err == nil {
			if err := c.Authenticate(t.Context(), u, peers.Password(name)); err != nil {
				t.Errorf("%s: Authenticate = %v, want nil", name, err)
			}
		}
		return u, err
	}
	if u, err := look("many"); err != nil || len(u.Groups) != groups-1 {
		t.Errorf("many: got %v, want %d groups", err, groups-1)
	}
	if _, err := look("toomany"); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), "more than 10000 groups") {
		t.Errorf("toomany: got %v, want an error that tells how many groups", err)
	}
	if u, err := look("bigkey"); err != nil || len(u.Keys) != 0 || len(u.Notes) != 1 || len(u.Attrs["description"][0]) != 1<<20 {
		t.Errorf("bigkey: got %v, want no key and one note", err)
	}
	if u, err := look("manykeys"); err != nil || len(u.Keys) != 0 || len(u.Notes) != 100 {
		t.Errorf("manykeys: got %v, want no key and a hundred notes", err)
	}
}
