package embedded

import (
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

// names are the first RDNs of entries.
func names(entries []*ldap.Entry) []string {
	var n []string
	for _, e := range entries {
		rdn, _, _ := strings.Cut(e.DN, ",")
		n = append(n, rdn)
	}
	return n
}

func TestSearch(t *testing.T) {
	s := open(t, Settings{})
	c := asService(t, s)
	groups := "ou=groups," + base
	tests := []struct {
		name   string
		base   string
		scope  int
		filter string
		want   []string
	}{
		{"by name, any case", base, ldap.ScopeWholeSubtree, "(UID=Alice)", []string{"uid=alice"}},
		{"base object", strings.ToUpper(alice), ldap.ScopeBaseObject, "(objectClass=*)", []string{"uid=alice"}},
		{"base object without match", alice, ldap.ScopeBaseObject, "(uid=bob)", nil},
		{"one level", base, ldap.ScopeSingleLevel, "(objectClass=organizationalUnit)", []string{"ou=people", "ou=groups"}},
		{"one level is not two", base, ldap.ScopeSingleLevel, "(uid=*)", nil},
		{"subtree holds its base", people, ldap.ScopeWholeSubtree, "(ou=people)", []string{"ou=people"}},
		{"groups of a member", groups, ldap.ScopeWholeSubtree, "(member=" + alice + ")", []string{"cn=staff", "cn=finance"}},
		{"groups of a group", groups, ldap.ScopeWholeSubtree, "(member=CN=Staff,ou=Groups," + base + ")", []string{"cn=everyone"}},
		{"by memberUid", groups, ldap.ScopeWholeSubtree, "(&(objectClass=posixGroup)(memberUid=bob))", []string{"cn=printing"}},
		{"by memberOf", people, ldap.ScopeWholeSubtree, "(memberOf=cn=staff," + groups + ")", []string{"uid=alice", "uid=bob"}},
		{"disabled", base, ldap.ScopeWholeSubtree, "(nsAccountLock=TRUE)", []string{"uid=dave"}},
		{"hostile name", base, ldap.ScopeWholeSubtree, "(uid=" + ldap.EscapeFilter("*)(uid=*") + ")", nil},
		{"password policy", base, ldap.ScopeWholeSubtree, "(objectClass=pwdPolicy)", []string{"cn=password policy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := c.Search(ldap.NewSearchRequest(tt.base, tt.scope, 0, 0, 0, false, tt.filter, []string{"1.1"}, nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(res.Entries)); diff != "" {
				t.Errorf("entries: want - got +\n%s", diff)
			}
		})
	}
}

func TestSearchRefused(t *testing.T) {
	s := open(t, Settings{})
	tests := []struct {
		name string
		c    *ldap.Conn
		base string
		want uint16
	}{
		{"anonymous", dial(t, s), base, ldap.LDAPResultInsufficientAccessRights},
		{"must change", bound(t, s, erin, "erin-demo-1"), erin, ldap.LDAPResultInsufficientAccessRights},
		{"no such base", asService(t, s), "ou=nowhere," + base, ldap.LDAPResultNoSuchObject},
		{"other tree", asService(t, s), "dc=com", ldap.LDAPResultNoSuchObject},
		{"bad base", asService(t, s), "nowhere", ldap.LDAPResultInvalidDNSyntax},
	}
	for _, tt := range tests {
		_, err := tt.c.Search(ldap.NewSearchRequest(tt.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=*)", nil, nil))
		if got := codeOf(err); got != tt.want {
			t.Errorf("%s: got code %d (%v) want %d", tt.name, got, err, tt.want)
		}
	}
}

func TestAttributes(t *testing.T) {
	s := open(t, Settings{})
	service, asBob := asService(t, s), bound(t, s, bob, "bob-demo-1")
	tests := []struct {
		name       string
		c          *ldap.Conn
		attributes []string
		want       []string
	}{
		{"all", service, nil, []string{"objectClass", "uid", "cn", "sn", "mail", "uidNumber", "gidNumber", "homeDirectory", "sshPublicKey", "entryUUID", "pwdChangedTime", "entryDN", "pwdPolicySubentry", "memberOf"}},
		{"named", service, []string{"MAIL", "memberof", "nothing", "userPassword", "pwdHistory"}, []string{"mail", "memberOf"}},
		{"none", service, []string{"1.1"}, nil},
		{"another user's", asBob, []string{"*", "+"}, []string{"objectClass", "uid", "cn", "sn", "mail", "uidNumber", "gidNumber", "homeDirectory", "entryUUID", "entryDN", "pwdPolicySubentry", "memberOf"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := tt.c.Search(ldap.NewSearchRequest(alice, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", tt.attributes, nil))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range res.Entries[0].Attributes {
				got = append(got, a.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("attributes: want - got +\n%s", diff)
			}
		})
	}
}

// TestPaging checks that clients that ask for pages get all entries at once.
func TestPaging(t *testing.T) {
	c := asService(t, open(t, Settings{}))
	req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=inetOrgPerson)", []string{"uid"}, nil)
	if res, err := c.SearchWithPaging(req, 2); err != nil || len(res.Entries) != 6 {
		t.Errorf("got %v, %v want 6 entries", res, err)
	}
}

// TestEditInstead checks that clients cannot add and remove entries: this is
// done in the file only.
func TestEditInstead(t *testing.T) {
	c := asService(t, open(t, Settings{}))
	add := ldap.NewAddRequest("uid=zoe,"+people, nil)
	add.Attribute("objectClass", []string{"person"})
	for name, err := range map[string]error{
		"add":    c.Add(add),
		"delete": c.Del(ldap.NewDelRequest(alice, nil)),
		"rename": c.ModifyDN(ldap.NewModifyDNRequest(alice, "uid=anna", true, "")),
	} {
		if codeOf(err) != ldap.LDAPResultUnwillingToPerform {
			t.Errorf("%s: got %v want code 53", name, err)
		}
	}
}

// TestOtherRequests checks that requests that this server does not support get
// an answer.
func TestOtherRequests(t *testing.T) {
	s := open(t, Settings{})
	if err := dial(t, s).ExternalBind(); codeOf(err) != ldap.LDAPResultAuthMethodNotSupported {
		t.Errorf("SASL: got %v want code 7", err)
	}
	for _, scope := range []int{-1, 4, 99} {
		_, err := asService(t, s).Search(ldap.NewSearchRequest(base, scope, 0, 0, 0, false, "(uid=*)", nil, nil))
		if codeOf(err) != ldap.LDAPResultProtocolError {
			t.Errorf("scope %d: got %v want code 2", scope, err)
		}
	}
	if _, err := asService(t, s).Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, -1, 0, false, "(uid=*)", nil, nil)); codeOf(err) != ldap.LDAPResultProtocolError {
		t.Errorf("negative limit: got %v want code 2", err)
	}
}
