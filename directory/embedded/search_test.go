package embedded

import (
	"slices"
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
		{"children do not", people, ldap.ScopeChildren, "(ou=people)", nil},
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
		{"all of users", service, nil, []string{"objectClass", "uid", "cn", "sn", "mail", "uidNumber", "gidNumber", "homeDirectory", "sshPublicKey"}},
		{"operational", service, []string{"+"}, []string{"entryUUID", "pwdChangedTime", "entryDN", "pwdPolicySubentry", "memberOf"}},
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

func TestTypesOnly(t *testing.T) {
	c := asService(t, open(t, Settings{}))
	res, err := c.Search(ldap.NewSearchRequest(alice, ldap.ScopeBaseObject, 0, 0, 0, true, "(objectClass=*)", []string{"cn"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if a := res.Entries[0].Attributes; len(a) != 1 || a[0].Name != "cn" || len(a[0].Values) != 0 {
		t.Errorf("got %+v want cn without values", a)
	}
}

// TestPaging wants every entry once, however large the pages are.
func TestPaging(t *testing.T) {
	s := open(t, Settings{})
	c := asService(t, s)
	req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=inetOrgPerson)", []string{"uid"}, nil)
	want := []string{"uid=alice", "uid=bob", "uid=carol", "uid=dave", "uid=erin", "uid=mallory"}
	for _, size := range []uint32{1, 2, 4, 6, 100} {
		req.Controls = nil
		res, err := c.SearchWithPaging(req, size)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names(res.Entries)); diff != "" {
			t.Errorf("pages of %d: want - got +\n%s", size, diff)
		}
	}
}

// TestPagingAcrossReload wants a search to end when its cookie has lost its
// meaning, and bad cookies refused.
func TestPagingAcrossReload(t *testing.T) {
	s := open(t, Settings{})
	c := asService(t, s)
	page := func(from string) ([]byte, error) {
		ctl := ldap.NewControlPaging(2)
		ctl.SetCookie([]byte(from))
		res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=*)", nil, []ldap.Control{ctl}))
		if err != nil {
			return nil, err
		}
		return ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging).Cookie, nil
	}
	from, err := page("")
	if err != nil || len(from) == 0 {
		t.Fatalf("first page: got cookie %q, %v want one", from, err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{string(from), "x", "1", "1 -1", "1 99999999999999999999", "1 1000"} {
		if _, err := page(bad); codeOf(err) != ldap.LDAPResultUnwillingToPerform {
			t.Errorf("cookie %q: got %v want code 53", bad, err)
		}
	}
}

func TestSizeLimit(t *testing.T) {
	c := asService(t, open(t, Settings{}))
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 2, 0, false, "(uid=*)", nil, nil))
	if codeOf(err) != ldap.LDAPResultSizeLimitExceeded || res == nil || len(res.Entries) != 2 {
		t.Errorf("got %+v, %v want 2 entries and code 4", res, err)
	}
	if _, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 6, 0, false, "(uid=*)", nil, nil)); err != nil {
		t.Errorf("as many as there are: got %v want no error", err)
	}
}

func TestRootDSE(t *testing.T) {
	c := dial(t, open(t, Settings{}))
	if got := attribute(t, c, "", "namingContexts"); !slices.Equal(got, []string{base}) {
		t.Errorf("namingContexts: got %q want %q", got, base)
	}
	for _, want := range supportedControls {
		if got := attribute(t, c, "", "supportedControl"); !slices.Contains(got, want) {
			t.Errorf("supportedControl: got %q want %s in it", got, want)
		}
	}
}

func TestUnknownControl(t *testing.T) {
	c := asService(t, open(t, Settings{}))
	search := func(critical bool) error {
		ctl := ldap.NewControlString("1.2.3.4", critical, "")
		_, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=*)", nil, []ldap.Control{ctl}))
		return err
	}
	if err := search(false); err != nil {
		t.Errorf("not critical: got %v want no error", err)
	}
	if err := search(true); codeOf(err) != ldap.LDAPResultUnavailableCriticalExtension {
		t.Errorf("critical: got %v want code 12", err)
	}
}

// TestEditInstead wants entries to be added and removed in the file only.
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

// TestOtherRequests wants an answer to what clients may ask and this server does
// not do.
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
