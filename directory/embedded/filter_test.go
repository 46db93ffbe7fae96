package embedded

import (
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// compile is the filter that an LDAP client would send.
func compile(t testing.TB, text string) filter {
	t.Helper()
	p, err := ldap.CompileFilter(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	f, err := parseFilter(ber.DecodePacket(p.Bytes()))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestFilter(t *testing.T) {
	tr, err := treeOf(`dn: uid=alice,ou=People,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
uid: alice
cn: Alice B. Archer
cn;lang-de: Älis
uidNumber: 10001
homeDirectory: /home/alice
manager: uid=Bob, dc=org
userPassword: {SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr
pwdChangedTime: 20260101120000Z
nsAccountLock: true
`)
	if err != nil {
		t.Fatal(err)
	}
	v := view{tr.entries[0], identity{kind: serviceAccount}}
	tests := []struct {
		filter string
		want   truth
	}{
		{"(uid=ALICE)", yes},
		{"(uid=alic)", no},
		{"(cn=alice  b. archer)", yes},
		{"(cn;lang-de=älis)", yes},
		{"(cn;lang-de=Alice B. Archer)", no},
		{"(sn=x)", no},
		{"(homeDirectory=/HOME/alice)", no},
		{"(manager=UID=bob,DC=org)", yes},
		{"(manager=bob)", undefined},
		{"(uid=*)", yes},
		{"(mail=*)", no},
		{"(cn=al*b.*er)", yes},
		{"(cn=*b.*al*)", no},
		{"(cn=*archer)", yes},
		{"(cn=*arch)", no},
		{"(cn=ali*ice*)", no}, // parts do not overlap
		{"(uidNumber>=9999)", yes},
		{"(uidNumber>=10002)", no},
		{"(uidNumber<=10001)", yes},
		{"(uidNumber=ten)", undefined},
		{"(pwdChangedTime>=20251231235959Z)", yes},
		{"(pwdChangedTime<=202512312359Z)", no},
		{"(nsAccountLock=TRUE)", yes},
		{"(uid~=Alice)", yes},
		{"(&)", yes},
		{"(|)", no},
		{"(&(uid=alice)(objectClass=posixaccount))", yes},
		{"(objectClass=person)", yes}, // what an inetOrgPerson is
		{"(objectClass=top)", yes},
		{"(objectClass=residentialPerson)", no},
		{"(&(uid=alice)(manager=bob))", undefined},
		{"(&(uid=bob)(manager=bob))", no},
		{"(|(uid=bob)(cn=ali*))", yes},
		{"(|(uid=bob)(manager=bob))", undefined},
		{"(!(uid=bob))", yes},
		{"(!(uid=alice))", no},
		{"(!(manager=bob))", undefined},
		{"(userPassword=*)", undefined},
		{"(!(userPassword=x))", undefined},
		{"(cn:caseExactMatch:=Alice B. Archer)", undefined},
		{"(memberOf:1.2.840.113556.1.4.1941:=cn=staff,dc=org)", undefined},
	}
	for _, tt := range tests {
		if got := compile(t, tt.filter)(v); got != tt.want {
			t.Errorf("%s: got %d want %d", tt.filter, got, tt.want)
		}
	}
}

// TestReaders checks that a filter shows a client nothing about attributes
// that it cannot read.
func TestReaders(t *testing.T) {
	tr, err := treeOf(org + "dn: uid=alice,dc=org\nobjectClass: person\nuid: alice\npwdReset: TRUE\nuserPassword: secret\n\n" +
		"dn: uid=bob,dc=org\nobjectClass: person\nuid: bob\n")
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := tr.find("uid=alice,dc=org"), tr.find("uid=bob,dc=org")
	tests := []struct {
		name   string
		by     identity
		filter string
		want   truth
	}{
		{"anonymous", identity{}, "(uid=alice)", undefined},
		{"another user", identity{user, bob}, "(uid=alice)", yes},
		{"another user", identity{user, bob}, "(pwdReset=TRUE)", undefined},
		{"the user", identity{user, alice}, "(pwdReset=TRUE)", yes},
		{"the user", identity{user, alice}, "(userPassword=secret)", undefined},
		{"the service", identity{kind: serviceAccount}, "(pwdReset=TRUE)", yes},
		{"the service", identity{kind: serviceAccount}, "(userPassword=secret)", undefined},
	}
	for _, tt := range tests {
		if got := compile(t, tt.filter)(view{alice, tt.by}); got != tt.want {
			t.Errorf("%s %s: got %d want %d", tt.name, tt.filter, got, tt.want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, text := range []string{"(&(uid=a*b*c)(!(cn~=x))(|(sn>=a)(sn<=b)))", "(ou:dn:2.5.13.5:=People)", "(uid=*)"} {
		p, err := ldap.CompileFilter(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Bytes())
	}
	f.Add([]byte(strings.Repeat("\xa2\x02", 100)))
	tr, err := treeOf(org)
	if err != nil {
		f.Fatal(err)
	}
	v := view{tr.entries[0], identity{kind: serviceAccount}}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodeBER(data)
		if err != nil {
			return
		}
		if match, err := parseFilter(p); err == nil {
			match(v)
		}
	})
}

// TestBeginsLower compares the function with the slower expression that it
// replaces.
func TestBeginsLower(t *testing.T) {
	values := []string{"", "A", "Ab", "Müller", "MÜLLER", "mu", "İstanbul", "\u212aelvin", "kelvin", "ß", "ẞ", "\xff", "\ufffd", "A\xffB", "Σας"}
	for _, value := range values {
		for _, from := range values {
			lower := strings.ToLower(from)
			for end := range lower + "." { // whole characters
				prefix := lower[:end]
				if got, want := beginsLower(value, prefix), strings.HasPrefix(strings.ToLower(value), prefix); got != want {
					t.Errorf("beginsLower(%q, %q) = %t, want %t", value, prefix, got, want)
				}
			}
		}
	}
}
