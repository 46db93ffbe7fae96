package peers

import (
	"fmt"
	"strings"
)

// The people of Company.
const (
	CompanyUsers  = 5000
	CompanyGroups = 500

	firstUID = 200_000
)

// Company is CompanyOf of 5,000 people in 500 groups.
func Company(key string) string { return CompanyOf(CompanyUsers, CompanyGroups, key) }

// CompanyOf is people, u0 and so on, in groups that are nested ten
// deep: each person is in one group, which leads to up to ten. They all have
// the same SSH key, or none if it is empty. It is for StartOpenLDAP. SSSD knows them, too.
func CompanyOf(users, groups int, key string) string {
	var b strings.Builder
	for i := range users {
		name := fmt.Sprint("u", i)
		fmt.Fprintf(&b, "dn: uid=%[1]s,ou=people,dc=example,dc=test\nobjectClass: inetOrgPerson\nobjectClass: ldapPublicKey\nobjectClass: posixAccount\n"+
			"uid: %[1]s\ncn: %[1]s\nsn: u\nuserPassword: %[2]s\nuidNumber: %[3]d\ngidNumber: 65534\nhomeDirectory: /\n", name, Password(name), firstUID+i)
		if key != "" {
			fmt.Fprintf(&b, "sshPublicKey: %s\n", key)
		}
		b.WriteString("\n")
	}
	for g := range groups {
		fmt.Fprintf(&b, "dn: cn=bench%[1]d,ou=groups,dc=example,dc=test\nobjectClass: groupOfNames\ncn: bench%[1]d\n", g)
		if g%10 != 0 {
			fmt.Fprintf(&b, "member: cn=bench%d,ou=groups,dc=example,dc=test\n", g-1)
		}
		for i := g; i < users; i += groups {
			fmt.Fprintf(&b, "member: uid=u%d,ou=people,dc=example,dc=test\n", i)
		}
		b.WriteString("\n")
	}
	return b.String()
}
