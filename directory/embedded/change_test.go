package embedded

import (
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

func TestPasswordModify(t *testing.T) {
	s := openStates(t)
	const right, fresh = "right-password", "another-password"
	service := asService(t, s)
	asActive := bound(t, s, person("active"), right)
	tests := []struct {
		name           string
		c              *ldap.Conn
		dn, old, fresh string
		want           outcome
	}{
		{"anonymous", dial(t, s), person("active"), right, fresh, outcome{ldap.LDAPResultStrongAuthRequired, -1}},
		{"no old", asActive, "", "", fresh, outcome{ldap.LDAPResultInsufficientAccessRights, 4}},
		{"no new", asActive, "", right, "", outcome{ldap.LDAPResultUnwillingToPerform, 5}},
		{"wrong old", asActive, "", "wrong", fresh, outcome{ldap.LDAPResultUnwillingToPerform, -1}},
		{"too short", asActive, "", right, "short", outcome{ldap.LDAPResultConstraintViolation, 6}},
		{"same", asActive, "", right, right, outcome{ldap.LDAPResultConstraintViolation, 8}},
		{"edge", asActive, "", right, " padded-password", outcome{ldap.LDAPResultConstraintViolation, 5}},
		{"another's", asActive, person("mustchange"), right, fresh, outcome{ldap.LDAPResultInsufficientAccessRights, 3}},
		{"not a DN", asActive, "active", right, fresh, outcome{ldap.LDAPResultInvalidAttributeSyntax, -1}},
		{"own", asActive, "", right, fresh, fine},
		{"own, named", asActive, "dn:" + person("active"), fresh, "third-password", fine},
		{"service's own", service, "", s.password, fresh, outcome{ldap.LDAPResultUnwillingToPerform, -1}},
		{"disabled", service, person("disabled"), right, fresh, outcome{ldap.LDAPResultUnwillingToPerform, 1}},
		{"locked", service, person("locked"), right, fresh, outcome{ldap.LDAPResultUnwillingToPerform, 1}},
		{"old, wrong old", service, person("old"), "wrong", fresh, outcome{ldap.LDAPResultUnwillingToPerform, -1}},
		{"by the service", service, person("old"), right, fresh, fine},
		{"must change, by herself", bound(t, s, person("mustchange"), right), "", right, fresh, fine},
		{"no password", service, person("nopassword"), right, fresh, outcome{ldap.LDAPResultUnwillingToPerform, -1}},
		{"nobody", service, person("nobody"), right, fresh, outcome{ldap.LDAPResultUnwillingToPerform, -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tryChange(tt.c, tt.dn, tt.old, tt.fresh); got != tt.want {
				t.Errorf("got %+v want %+v", got, tt.want)
			}
		})
	}
	for uid, password := range map[string]string{"active": "third-password", "old": fresh, "mustchange": fresh} {
		if got, _ := tryBind(dial(t, s), person(uid), password); got != fine {
			t.Errorf("%s with the new password: got %+v want %+v", uid, got, fine)
		}
		if got, _ := tryBind(dial(t, s), person(uid), right); got.Code != ldap.LDAPResultInvalidCredentials {
			t.Errorf("%s with the old password: got %+v want code 49", uid, got)
		}
	}
}

// TestWrongOldCounts checks that wrong old passwords in changes lock the
// account, too.
func TestWrongOldCounts(t *testing.T) {
	s := openStates(t)
	service := asService(t, s)
	for range 3 {
		tryChange(service, person("active"), "wrong", "another-password")
	}
	want := outcome{ldap.LDAPResultUnwillingToPerform, 1}
	if got := tryChange(service, person("active"), "right-password", "another-password"); got != want {
		t.Errorf("change: got %+v want %+v", got, want)
	}
	want = outcome{ldap.LDAPResultInvalidCredentials, 1}
	if got, _ := tryBind(dial(t, s), person("active"), "right-password"); got != want {
		t.Errorf("bind: got %+v want %+v", got, want)
	}
}

// TestMustChange: a user whose password was set by an administrator can do
// nothing before changing it, and everything after that, on the same
// connection.
func TestMustChange(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, erin, "erin-demo-1")
	read := func() error {
		_, err := c.Search(ldap.NewSearchRequest(erin, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
		return err
	}
	if err := read(); codeOf(err) != ldap.LDAPResultInsufficientAccessRights {
		t.Errorf("search before: got %v want code 50", err)
	}
	if got := tryChange(c, erin, "erin-demo-1", "erin-demo-2"); got != fine {
		t.Fatalf("change: got %+v want %+v", got, fine)
	}
	if err := read(); err != nil {
		t.Errorf("search after: got %v want no error", err)
	}
	if got := attribute(t, asService(t, s), erin, "pwdReset"); got != nil {
		t.Errorf("pwdReset: got %q want none", got)
	}
}

// TestKeys changes SSH keys in every way, and checks that a refused request
// changes nothing.
func TestKeys(t *testing.T) {
	s := open(t, Settings{})
	asBob, service := bound(t, s, bob, "bob-demo-1"), asService(t, s)
	tests := []struct {
		name string
		c    *ldap.Conn
		fill func(*ldap.ModifyRequest)
		code uint16
		want []string // afterwards
	}{
		{"add", service, func(r *ldap.ModifyRequest) { r.Add("sshPublicKey", []string{"k1", "k2"}) }, 0, []string{"k1", "k2"}},
		{"add again", service, func(r *ldap.ModifyRequest) {
			r.Add("sshPublicKey", []string{"k3"})
			r.Add("SSHPublicKey", []string{"k1"})
		}, ldap.LDAPResultAttributeOrValueExists, []string{"k1", "k2"}},
		{"delete one", service, func(r *ldap.ModifyRequest) { r.Delete("sshPublicKey", []string{"k1"}) }, 0, []string{"k2"}},
		{"delete what is gone", service, func(r *ldap.ModifyRequest) { r.Delete("sshPublicKey", []string{"k1"}) }, ldap.LDAPResultNoSuchAttribute, []string{"k2"}},
		{"empty value", service, func(r *ldap.ModifyRequest) { r.Add("sshPublicKey", []string{""}) }, ldap.LDAPResultInvalidAttributeSyntax, []string{"k2"}},
		{"replace", service, func(r *ldap.ModifyRequest) { r.Replace("sshPublicKey", []string{"k4", "k5"}) }, ldap.LDAPResultInsufficientAccessRights, []string{"k2"}},
		{"increment", service, func(r *ldap.ModifyRequest) { r.Increment("sshPublicKey", "1") }, ldap.LDAPResultInsufficientAccessRights, []string{"k2"}},
		{"delete all", service, func(r *ldap.ModifyRequest) { r.Delete("sshPublicKey", nil) }, ldap.LDAPResultInsufficientAccessRights, []string{"k2"}},
		{"delete the last", service, func(r *ldap.ModifyRequest) { r.Delete("sshPublicKey", []string{"k2"}) }, 0, nil},
		{"password", service, func(r *ldap.ModifyRequest) { r.Replace("userPassword", []string{"x"}) }, ldap.LDAPResultInsufficientAccessRights, nil},
		{"mail and a key", service, func(r *ldap.ModifyRequest) {
			r.Add("sshPublicKey", []string{"k1"})
			r.Replace("mail", []string{"x"})
		}, ldap.LDAPResultInsufficientAccessRights, nil},
		{"by bob himself", asBob, func(r *ldap.ModifyRequest) { r.Add("sshPublicKey", []string{"k1"}) }, ldap.LDAPResultInsufficientAccessRights, nil},
		{"mail", service, func(r *ldap.ModifyRequest) { r.Replace("mail", []string{"x"}) }, ldap.LDAPResultInsufficientAccessRights, nil},
		{"by another", bound(t, s, alice, "alice-demo-1"), func(r *ldap.ModifyRequest) { r.Add("sshPublicKey", []string{"k1"}) }, ldap.LDAPResultInsufficientAccessRights, nil},
		{"anonymous", dial(t, s), func(r *ldap.ModifyRequest) { r.Add("sshPublicKey", []string{"k1"}) }, ldap.LDAPResultInsufficientAccessRights, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := ldap.NewModifyRequest(bob, nil)
			tt.fill(req)
			if err := tt.c.Modify(req); codeOf(err) != tt.code {
				t.Errorf("got %v want code %d", err, tt.code)
			}
			if diff := cmp.Diff(tt.want, attribute(t, service, bob, "sshPublicKey")); diff != "" {
				t.Errorf("sshPublicKey: want - got +\n%s", diff)
			}
		})
	}
	req := ldap.NewModifyRequest("uid=nobody,"+people, nil)
	req.Add("sshPublicKey", []string{"k1"})
	if err := service.Modify(req); codeOf(err) != ldap.LDAPResultNoSuchObject {
		t.Errorf("nobody: got %v want code 32", err)
	}
}

// TestJudge looks at each rule for new passwords.
func TestJudge(t *testing.T) {
	e := &entry{fields: []field{{name: "uid", value: "bartholomew"}}}
	tests := []struct {
		policy   Policy
		password string
		want     int64
	}{
		{Policy{}, "x", noPolicyError},
		{Policy{MinLength: 8}, "1234567", ldap.BeheraPasswordTooShort},
		{Policy{MinLength: 8}, "äöüßäöüß", noPolicyError},
		{Policy{MinLength: 8}, "äöüß", ldap.BeheraPasswordTooShort}, // bytes do not count
		{Policy{}, "Bartholomew", ldap.BeheraInsufficientPasswordQuality},
		{Policy{}, "tab\there", ldap.BeheraInsufficientPasswordQuality},
		{Policy{}, "not utf-8 \xff", ldap.BeheraInsufficientPasswordQuality},
		{Policy{}, "space after ", ldap.BeheraInsufficientPasswordQuality},
	}
	for _, tt := range tests {
		if got := tt.policy.judge(e, tt.password); got.policy != tt.want || (got.code == ldap.LDAPResultSuccess) != (tt.want == noPolicyError) {
			t.Errorf("%+v, %q: got %+v want policy error %d", tt.policy, tt.password, got, tt.want)
		}
	}
}

// TestBadPasswordModify checks that malformed requests are refused.
func TestBadPasswordModify(t *testing.T) {
	c := bound(t, open(t, Settings{}), bob, "bob-demo-1")
	for _, text := range []string{"x", "\x30\x05\x80", "\x04\x01a"} {
		value := ber.NewString(ber.ClassContext, ber.TypePrimitive, 1, text, "")
		if _, err := c.Extended(&ldap.ExtendedRequest{Name: oidPasswordModify, Value: value}); codeOf(err) != ldap.LDAPResultProtocolError {
			t.Errorf("%q: got %v want code 2", text, err)
		}
	}
}

// TestSet checks that an attribute keeps its place and its spelling.
func TestSet(t *testing.T) {
	e := &entry{fields: []field{{name: "UserPassword", value: "a"}, {name: "cn", value: "b"}}}
	e.set("userPassword", "c")
	e.set("sn", "d")
	want := []field{{name: "UserPassword", value: "c"}, {name: "cn", value: "b"}, {name: "sn", value: "d"}}
	if diff := cmp.Diff(want, e.fields, cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}
