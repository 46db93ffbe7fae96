package ldap_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestNumbersOfSSSD has SSSD and Berth make the numbers of 50 people of Active Directory,
// and of their groups, from SIDs.
func TestNumbersOfSSSD(t *testing.T) {
	p := peers.Samba(t)
	const people = 50
	var ldif strings.Builder
	for i := range people {
		fmt.Fprintf(&ldif, "dn: CN=num%d,CN=Users,%s\nobjectClass: user\nsAMAccountName: num%[1]d\n\n", i, p.Base)
	}
	for g := range 5 {
		fmt.Fprintf(&ldif, "dn: CN=sids%d,CN=Users,%s\nobjectClass: group\nsAMAccountName: sids%[1]d\n", g, p.Base)
		for i := range people {
			if i%5 == g || i%4 == g {
				fmt.Fprintf(&ldif, "member: CN=num%d,CN=Users,%s\n", i, p.Base)
			}
		}
		ldif.WriteString("\n")
	}
	fmt.Fprintf(&ldif, "dn: CN=sids0,CN=Users,%s\nchangetype: modify\nadd: member\nmember: CN=sids4,CN=Users,%[1]s\n", p.Base)
	manage(t, p, ldif.String())
	sssd := peers.OpenSSHWithSSSD(t, p)
	s := settings(p)
	s.IDMapping = "sid"
	c := open(t, s)
	seen := map[uint32]bool{}
	for i := range people {
		name := fmt.Sprint("num", i)
		u := find(t, c, name)
		if err := u.POSIX.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, g := range append(u.POSIX.Groups, u.POSIX.GID) {
			got = append(got, fmt.Sprint(g))
		}
		want := strings.Fields(sssd.Run(t, "id", "-G", name))
		slices.Sort(got)
		slices.Sort(want)
		uid, gid := strings.TrimSpace(sssd.Run(t, "id", "-u", name)), strings.TrimSpace(sssd.Run(t, "id", "-g", name))
		if uid != strconv.Itoa(int(u.POSIX.UID)) || gid != strconv.Itoa(int(u.POSIX.GID)) || !slices.Equal(got, want) || len(want) < 2 {
			t.Errorf("%s is %d:%d with the groups %q, SSSD says %s:%s with %q", name, u.POSIX.UID, u.POSIX.GID, got, uid, gid, want)
		}
		seen[u.POSIX.UID] = true
	}
	if len(seen) != people {
		t.Errorf("%d people have %d numbers", people, len(seen))
	}
}
