package embedded

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"
)

// BenchmarkOpen is a start with six passwords in the clear.
func BenchmarkOpen(b *testing.B) {
	example, err := os.ReadFile("testdata/people.ldif")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(Settings{LDIF: writeLDIF(b, string(example))}, hclog.NewNullLogger())
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkBind is one login with a password of the usual cost.
func BenchmarkBind(b *testing.B) {
	s := open(b, Settings{hashMemory: argonMemory})
	c := dial(b, s)
	for b.Loop() {
		if err := c.Bind(alice, "alice-demo-1"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSearch looks one of 5,000 people up, and the groups of one among 500
// groups of 50 members.
func BenchmarkSearch(b *testing.B) {
	var text strings.Builder
	text.WriteString(org)
	for i := range 5000 {
		fmt.Fprintf(&text, "dn: uid=u%d,dc=org\nobjectClass: inetOrgPerson\nuid: u%d\ncn: User %d\nsn: User\nmail: u%d@example.org\n\n", i, i, i, i)
	}
	for i := range 500 {
		fmt.Fprintf(&text, "dn: cn=g%d,dc=org\nobjectClass: groupOfNames\ncn: g%d\n", i, i)
		for j := range 50 {
			fmt.Fprintf(&text, "member: uid=u%d,dc=org\n", i*10+j)
		}
		text.WriteString("\n")
	}
	c := asService(b, open(b, Settings{LDIF: writeLDIF(b, text.String())}))
	for name, filter := range map[string]string{
		"user":   "(&(|(objectClass=person)(objectClass=posixAccount))(|(uid=u4000)))",
		"groups": "(|(member=uid=u4000,dc=org)(uniqueMember=uid=u4000,dc=org)(memberUid=u4000))",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Search(ldap.NewSearchRequest("dc=org", ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"uid"}, nil)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
