package ldap_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// rights returns what Rights finds of name, one finding a line.
func rights(t *testing.T, c *ldap.Client, name string, groups ...string) string {
	t.Helper()
	u, err := c.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return printed(c.Rights(t.Context(), u, peers.Password(name), groups))
}

func printed(findings []ldap.Finding) string {
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%v: %s: %s\n", f.Level, f.What, f.Detail)
	}
	return text.String()
}

// wantLines expects each line of want to be part of got, and nothing else that
// is bad or could not be checked.
func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no line %q in\n%s", w, got)
		}
	}
	for line := range strings.Lines(got) {
		told := slices.ContainsFunc(want, func(w string) bool { return strings.Contains(line, w) })
		if (strings.HasPrefix(line, "bad") || strings.HasPrefix(line, "note")) && !told {
			t.Errorf("not wanted: %s", line)
		}
	}
}

// snapshot is all of a directory, as its administrator sees it.
func snapshot(t *testing.T, p *peers.Peer, admin, secret string) string {
	t.Helper()
	cmd := exec.Command("ldapsearch", "-x", "-LLL", "-o", "ldif_wrap=no", "-H", p.LDAPS, "-D", admin, "-w", secret, "-b", p.Base, "(|(cn=*)(uid=*))", "*", "modifyTimestamp", "memberOf")
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ldapsearch: %v: %s", err, out)
	}
	return string(out)
}

func TestRights(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.Attributes = []string{"employeeType", "departmentNumber", "uidNumber", "manager"}
	groups := []string{"inner", "unique", "posix", "mid*", "gone"}
	before := snapshot(t, p, "cn=admin,dc=example,dc=test", peers.Password("admin"))
	c := open(t, s)
	wantLines(t, rights(t, c, "alice", groups...),
		"ok: rights of alice: may not write employeeType, departmentNumber, uidNumber, manager, uid, entryUUID, memberOf, ",
		"ok: rights of alice: may write sshPublicKey of their own entry: users manage",
		"bad: rights of alice: may write uniqueMember of group cn=unique,ou=groups,dc=example,dc=test",
		"ok: rights of alice: may not write the members of 3 of")
	wantLines(t, rights(t, c, "bob", groups...),
		"bad: rights of bob: may write employeeType of their own entry, but rules use it",
		"ok: rights of bob: may not write departmentNumber, uidNumber, manager, uid, ",
		"ok: rights of bob: may not write the members of 4 of")
	if after := snapshot(t, p, "cn=admin,dc=example,dc=test", peers.Password("admin")); after != before {
		t.Errorf("the directory changed:\n%s\nwas\n%s", after, before)
	}

	t.Run("bind_as", func(t *testing.T) {
		s := s
		s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "", "uid=%u,ou=people,dc=example,dc=test"
		wantLines(t, rights(t, open(t, s), "bob", "unique"), "bad: rights of bob: may write employeeType")
	})
	t.Run("wrong password", func(t *testing.T) {
		u := &directory.User{Name: "bob", DN: "uid=bob,ou=people,dc=example,dc=test"}
		wantLines(t, printed(c.Rights(t.Context(), u, "wrong", nil)), "bad: rights of bob: could not be checked: wrong password")
	})
	t.Run("must change", func(t *testing.T) {
		wantLines(t, rights(t, c, "mustchange"), "bad: rights of mustchange: could not be checked: password must be changed")
	})
}

func TestRightsSamba(t *testing.T) {
	p := peers.Samba(t)
	s := settings(p)
	s.Attributes = []string{"telephoneNumber", "department"}
	wantLines(t, rights(t, open(t, s), "alice", "inner", "open", "S-1-5-32-545"),
		// Active Directory gives everybody their own telephone number.
		"bad: rights of alice: may write telephoneNumber of their own entry, but rules use it",
		"ok: rights of alice: may not write department, sAMAccountName, objectGUID, primaryGroupID, ",
		"bad: rights of alice: may write member of group CN=open,CN=Users,DC=ad,DC=example,DC=test",
		"ok: rights of alice: may not write the members of 2 of")
}

func TestRightsDS389(t *testing.T) {
	p := peers.DS389(t)
	s := settings(p)
	s.Attributes = []string{"employeeType", "departmentNumber"}
	c := open(t, s)
	wantLines(t, rights(t, c, "alice", "inner", "open"),
		"ok: rights of alice: may not write employeeType, departmentNumber, uid, nsUniqueId, memberOf, gidNumber, uidNumber, nsAccountLock, ",
		"bad: rights of alice: may write member of group cn=open,ou=groups,dc=example,dc=test",
		"ok: rights of alice: may not write the members of 1 of")
	wantLines(t, rights(t, c, "bob", "inner", "open"),
		"bad: rights of bob: may write employeeType of their own entry",
		"ok: rights of bob: may not write the members of 2 of")
	wantLines(t, printed(c.Report(t.Context(), nil)),
		"ok: account state: nsAccountLock, passwordExpirationTime, accountUnlockTime, pwdUpdateTime, pwdPolicySubentry, acctPolicySubentry, lastLoginTime, createTimestamp can be read",
		"ok: clock of "+p.LDAPS+": differs by ",
		"warning: lock-out: lock-out policy for ", "until then the shield assumes 3")
}

// TestRightsOfServersThatDoNotTell proves that nothing is asked to be changed
// where it might be.
func TestRightsOfServersThatDoNotTell(t *testing.T) {
	const modify, compare = 6, 14
	for name, code := range map[string]int{"takes any control": 0, "refuses any control": 12} {
		t.Run(name, func(t *testing.T) {
			var changes atomic.Int64
			url := fakeServer(t, func(r *ber.Packet) []byte {
				switch r.Children[1].Tag {
				case 0:
					return result(r, bindResponse, 0, "")
				case compare:
					return result(r, compare+1, 16, "")
				case modify:
					changes.Add(1)
					return result(r, modify+1, code, "")
				}
				return append(item(r, "uid=alice,dc=example,dc=test", "memberUid", "x", 1), result(r, searchDone, 0, "")...)
			})
			c := open(t, fakeSettings(url))
			u := &directory.User{Name: "alice", DN: "uid=alice,dc=example,dc=test"}
			got := printed(c.Rights(t.Context(), u, "pw", []string{"inner"}))
			if !strings.HasPrefix(got, "note: rights of alice: could not be checked: this server cannot report") {
				t.Errorf("got %s, want that it could not be checked", got)
			}
			if n := changes.Load(); n > 2 {
				t.Errorf("asked for %d changes, want only to write the login name as it is", n)
			}
		})
	}
}

// TestReportOfAnotherKind says so when a server is not of the kind that the
// settings say: users would be found, but not that they are disabled.
func TestReportOfAnotherKind(t *testing.T) {
	for make, start := range map[string]func(testing.TB) *peers.Peer{"openldap": peers.OpenLDAP, "active_directory": peers.Samba, "389ds": peers.DS389} {
		t.Run(make, func(t *testing.T) {
			p := start(t)
			fits := map[string]bool{make: true, "generic": make != "active_directory", "freeipa": make == "389ds"}
			for _, kind := range ldap.Kinds() {
				if kind == "embedded" {
					continue
				}
				s := settings(p)
				s.Kind = kind
				got := printed(open(t, s).Report(t.Context(), nil))
				want := "is " + make + ", but kind is " + kind
				if strings.Contains(got, want) == fits[kind] {
					t.Errorf("kind %s: the report tells of another kind: %t\n%s", kind, !fits[kind], got)
				}
			}
		})
	}
}

// TestReportWithoutServer says once what is wrong.
func TestReportWithoutServer(t *testing.T) {
	s := fakeSettings("ldap://127.0.0.1:1")
	if got := open(t, s).Report(t.Context(), []string{"inner"}); len(got) != 1 || got[0].Level != ldap.Bad {
		t.Errorf("got %v, want that the server refuses connections, and nothing else", got)
	}
	p := peers.OpenLDAP(t)
	s = settings(p)
	s.BindPassword = "wrong"
	got := printed(open(t, s).Report(t.Context(), nil))
	if strings.Count(got, "bad: ") != 1 || !strings.Contains(got, "bind_dn or its password is wrong") {
		t.Errorf("got %s, want one bad line about the service account", got)
	}
}
