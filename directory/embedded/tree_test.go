package embedded

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// treeOf reads entries from text.
func treeOf(text string) (*tree, error) {
	d, err := parseLDIF([]byte(text))
	if err != nil {
		return nil, err
	}
	return newTree(d, DefaultPolicy(), hclog.NewNullLogger())
}

const org = "dn: dc=org\nobjectClass: domain\ndc: org\n\n"

func TestBadEntries(t *testing.T) {
	person := func(lines string) string {
		return org + "dn: uid=alice,dc=org\nobjectClass: inetOrgPerson\nuid: alice\n" + lines
	}
	tests := []struct{ name, text, want string }{
		{"empty file", "# nothing\n", "no entries: an entry begins with its dn"},
		{"bad DN", "dn: alice\nobjectClass: person\n", "1: \"alice\" is not a DN"},
		{"empty DN", "dn:\nobjectClass: top\n", "1: the dn is empty"},
		{"twice", org + "dn: DC=Org\nobjectClass: domain\ndc: org\n", "5: DC=Org is already at line 1"},
		{"two trees", org + "dn: dc=com\nobjectClass: domain\ndc: com\n", "5: dc=com has no parent in common with dc=org"},
		{"no class", "dn: dc=org\ndc: org\n", "1: dc=org has no objectClass"},
		{"not its name", "dn: uid=alice,dc=org\nobjectClass: person\nuid: alicia\n", "1: uid=alice,dc=org lacks the attribute it is named by: add the line uid: alice"},
		{"two passwords", person("userPassword: a\nuserPassword: b\n"), "5: uid=alice,dc=org has 2 values of userPassword"},
		{"unknown scheme", person("userPassword: {MD5}abc\n"), "8: userPassword: passwords stored as {MD5} are not read here: want {ARGON2}"},
		{"broken hash", person("userPassword: {SSHA}abc\n"), "8: userPassword: stored password: want the base64"},
		{"broken crypt", person("userPassword: {CRYPT}xyz\n"), "8: userPassword: stored password of scheme {CRYPT}"},
		{"password ends in a space", person("userPassword: secret \n"), "8: userPassword: a password is empty, or begins or ends with a space"},
		{"not a boolean", person("pwdReset: yes\n"), `8: pwdReset: "yes": want TRUE or FALSE`},
		{"not a time", person("pwdAccountLockedTime: yesterday\n"), `8: pwdAccountLockedTime: time "yesterday": want YYYYMMDDHHMMSSZ`},
		{"not a number", person("uidNumber: ten\n"), `8: uidNumber: "ten": want a whole number`},
		{"not a DN", person("manager: bob\n"), `8: manager: "bob" is not a DN`},
		{"same id", person("entryUUID: 1\n\ndn: uid=zoe,dc=org\nobjectClass: person\nuid: zoe\nentryUUID: 1\n"), "10: uid=zoe,dc=org has the entryUUID of the entry at line 5"},
		{"policy's name", org + "dn: cn=Password Policy,dc=org\nobjectClass: device\ncn: password policy\n", "5: cn=password policy,dc=org is where the server shows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := treeOf(tt.text)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v want %s…", err, tt.want)
			}
		})
	}
}

func TestBase(t *testing.T) {
	const people = "dn: uid=a,ou=x,dc=org\nobjectClass: person\nuid: a\n\ndn: uid=b,ou=y,dc=org\nobjectClass: person\nuid: b\n"
	for text, want := range map[string]string{
		org:          "dc=org",
		org + people: "dc=org",
		people:       "dc=org",
		"dn: cn=a\\, b,ou=x\nobjectClass: person\ncn: a, b\n": `cn=a\, b,ou=x`,
	} {
		tr, err := treeOf(text)
		if err != nil || tr.base.String() != want {
			t.Errorf("%q: got base %v, %v want %q", text, tr, err, want)
		}
	}
}

func TestMemberOf(t *testing.T) {
	tr, err := treeOf(org + `dn: uid=alice,dc=org
objectClass: person
uid: alice
memberOf: cn=board,dc=org

dn: cn=staff,dc=org
objectClass: groupOfNames
cn: staff
member: UID=Alice, DC=org
member: uid=gone,dc=org

dn: cn=club,dc=org
objectClass: groupOfUniqueNames
cn: club
uniqueMember: uid=alice,dc=org

dn: cn=all,dc=org
objectClass: groupOfNames
cn: all
member: cn=staff,dc=org
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"uid=alice,dc=org": {"cn=staff,dc=org", "cn=club,dc=org"},
		"cn=staff,dc=org":  {"cn=all,dc=org"},
		"cn=all,dc=org":    nil,
	}
	for key, groups := range want {
		if diff := cmp.Diff(groups, tr.find(key).values("memberOf")); diff != "" {
			t.Errorf("memberOf of %s: want - got +\n%s", key, diff)
		}
	}
}

// TestIDs checks that ids stay the same, and differ even if names are used
// again.
func TestIDs(t *testing.T) {
	const alice = "dn: uid=alice,dc=org\nobjectClass: person\nuid: alice\n"
	id := func(text, key string) string {
		tr, err := treeOf(text)
		if err != nil {
			t.Fatal(err)
		}
		return tr.find(key).first("entryUUID")
	}
	// Homes and one-time codes are kept by the id, so a name has this one for ever.
	const odd = "dn: uid=Archer\\, Alice,dc=org\nobjectClass: person\nuid: Archer, Alice\n"
	if got, want := id(org+odd, `uid=archer\2c alice,dc=org`), "0c1297a7-77bb-514b-b8b5-4c8f6ea2ee04"; got != want {
		t.Errorf("id of a name without one: got %s want %s", got, want)
	}
	first := id(org+alice, "uid=alice,dc=org")
	if got := id(alice+"\n"+org, "uid=alice,dc=org"); got != first {
		t.Errorf("in another place: got %s want %s", got, first)
	}
	renamed := "dn: uid=anna,dc=org\nobjectClass: person\nuid: anna\nentryUUID: " + first + "\n\n"
	if got := id(org+renamed+alice, "uid=alice,dc=org"); got == first {
		t.Errorf("a new alice has the id %s of her who is now anna", got)
	}
}
