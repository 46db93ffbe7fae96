package ldap_test

import (
	"net"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

const svc = "cn=svc,ou=services,dc=example,dc=test"

// reported expects lines of a report, and that nothing else is bad.
func reported(t *testing.T, s ldap.Settings, want ...string) {
	t.Helper()
	wantLines(t, printed(open(t, s).Report(t.Context(), nil)), want...)
}

// TestReportOfMistakes makes common mistakes. Each must be reported, with what
// would be right.
func TestReportOfMistakes(t *testing.T) {
	p := peers.OpenLDAP(t)
	plain := "ldaps://" + strings.TrimPrefix(p.LDAP, "ldap://")
	tests := []struct {
		name string
		edit func(*ldap.Settings)
		want []string
	}{
		{"none", func(*ldap.Settings) {}, []string{
			"ok: key change: " + svc + " may write sshPublicKey: whoever has",
			"ok: expired passwords: " + svc + " may change them for",
			"ok: look-up of ",
		}},
		{"misspelt key attribute", func(s *ldap.Settings) { s.KeyAttribute = "sshPublikKey" }, []string{
			"bad: key_attribute: the server has no attribute sshPublikKey: do you mean sshPublicKey?", "bad: key change: ",
		}},
		{"misspelt attribute of a rule", func(s *ldap.Settings) { s.Attributes = []string{"departmentnumbr"} }, []string{
			"bad: attributes, or %{…} in rules: the server has no attribute departmentnumbr: do you mean departmentNumber?",
		}},
		{"an attribute of nothing", func(s *ldap.Settings) { s.LoginAttributes = []string{"uid", "sAMAccountName"} }, []string{
			"bad: login_attributes: the server has no attribute sAMAccountName\n",
		}},
		{"wrong base", func(s *ldap.Settings) { s.Base = "dc=example,dc=org" }, []string{
			`bad: base dc=example,dc=org: base "dc=example,dc=org" does not exist, or the service account may not see it; the server has dc=example,dc=test`,
		}},
		{"TLS to a plain port", func(s *ldap.Settings) { s.URLs = []string{plain} }, []string{
			"bad: server " + plain + ": ", "the port does not speak TLS: write ldap:// and start_tls: true, or the port for ldaps, which is 636",
		}},
		{"no TLS to a port for TLS", func(s *ldap.Settings) {
			s.URLs, s.Insecure = []string{strings.Replace(p.LDAPS, "ldaps", "ldap", 1)}, true
		}, []string{"bad: server ", "if the port is one for TLS, write ldaps://"}},
		{"StartTLS to a port for TLS", func(s *ldap.Settings) {
			s.URLs, s.StartTLS = []string{strings.Replace(p.LDAPS, "ldaps", "ldap", 1)}, true
		}, []string{"bad: server ", "if the port is one for TLS, write ldaps://"}},
		{"no authority", func(s *ldap.Settings) { s.CAFile = "" }, []string{"bad: server ", "ca_file must hold the certificate of the authority"}},
		{"another name", func(s *ldap.Settings) { s.ServerName = "dc1.corp.example" }, []string{"bad: server ", "the certificate is for localhost", "or set server_name"}},
		{"wrong password", func(s *ldap.Settings) { s.BindPassword = "wrong " }, []string{
			"bad: server ", "wrong password", "bind_dn or its password is wrong, or the account is locked",
			"warning: service account: its password begins or ends with a blank",
		}},
		{"name is no login attribute", func(s *ldap.Settings) { s.NameAttribute = "mail" }, []string{
			"bad: look-up of ", "login_attributes do not find it: add mail to login_attributes",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := settings(p)
			tt.edit(&s)
			got := printed(open(t, s).Report(t.Context(), nil))
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if tt.name == "none" {
				wantLines(t, got)
			}
		})
	}
	t.Run("groups", func(t *testing.T) {
		got := printed(open(t, settings(p)).Report(t.Context(), []string{"blocked", "typo", "inner", "no*"}, "blocked", "inner", "no*"))
		for _, want := range []string{"bad: group blocked: a rule denies or requires something", "warning: group typo: is named in a rule, but there is no such group", "warning: group no*: "} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	})
}

// TestReportOfTheServiceAccount takes rights away from the service account, then
// locks it.
func TestReportOfTheServiceAccount(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindDN, s.BindPassword = "cn=reader,ou=services,dc=example,dc=test", peers.Password("reader")
	reported(t, s,
		"bad: key change: "+s.BindDN+" may not write sshPublicKey", `but key_change is service: give it that right, or set key_change: none`,
		"warning: expired passwords: users cannot change them here", `it needs the access "=xw" to userPassword`)
	s.KeyChange = "none"
	reported(t, s, "warning: expired passwords: users cannot")
	for _, state := range []struct{ change, want string }{
		{"pwdAccountLockedTime: 000001010000Z", "account locked"},
		{"pwdReset: TRUE", "password must be changed"},
	} {
		attribute, value, _ := strings.Cut(state.change, ": ")
		replace(t, p, s.BindDN, attribute, value, "-e", "relax")
		got := printed(open(t, s).Report(t.Context(), nil))
		if !strings.Contains(got, state.want) || strings.Contains(got, "wrong password") || !strings.Contains(got, "bad: server ") {
			t.Errorf("%s: want %q:\n%s", state.change, state.want, got)
		}
		replace(t, p, s.BindDN, attribute, "", "-e", "relax")
	}
}

// TestReportOfLimits has a server that ends searches because an index is
// missing.
func TestReportOfLimits(t *testing.T) {
	p := peers.OpenLDAP(t)
	configure(t, p, "database monitor", "limits dn.exact=\""+svc+"\" size.unchecked=5\ndatabase monitor")
	configure(t, p, "index objectClass,uid,cn", "index objectClass,cn")
	got := printed(open(t, settings(p)).Report(t.Context(), nil))
	for _, want := range []string{"bad: base ", "have the server index uid", `add limits dn.exact="` + svc + `" size=unlimited time=unlimited`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReportOfLimitsDS389(t *testing.T) {
	p := peers.DS389(t)
	manage(t, p, "dn: uid=svc,ou=people,dc=example,dc=test\nchangetype: modify\nreplace: nsLookThroughLimit\nnsLookThroughLimit: 2\n")
	s := settings(p)
	s.LoginAttributes = []string{"uid", "description"}
	got := printed(open(t, s).Report(t.Context(), nil))
	for _, want := range []string{"bad: look-up of nobody-", "have the server index uid, description", "set nsLookThroughLimit, nsSizeLimit and nsTimeLimit in the entry of uid=svc,ou=people,dc=example,dc=test"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestReportOfRightsDS389 and the next test ask those servers what the service
// account may write.
func TestReportOfRightsDS389(t *testing.T) {
	p := peers.DS389(t)
	s := settings(p)
	got := printed(open(t, s).Report(t.Context(), nil))
	for _, want := range []string{"ok: key change: " + s.BindDN + " may write nsSshPublicKey", "ok: expired passwords: ", "ok: look-up of "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReportOfRightsSamba(t *testing.T) {
	p := peers.Samba(t)
	for attribute, want := range map[string]string{"altSecurityIdentities": "ok: key change: ", "description": "bad: key change: "} {
		s := settings(p)
		s.KeyAttribute = attribute
		got := printed(open(t, s).Report(t.Context(), nil))
		if !strings.Contains(got, want+s.BindDN+" may") || !strings.Contains(got, "ok: look-up of ") {
			t.Errorf("%s: no %q in\n%s", attribute, want, got)
		}
	}
}

// TestReportOfNoTLS talks to a server that wants TLS.
func TestReportOfNoTLS(t *testing.T) {
	url := fakeServer(t, func(r *ber.Packet) []byte { return result(r, bindResponse, 13, "confidentiality required") })
	got := printed(open(t, fakeSettings(url)).Report(t.Context(), nil))
	if !strings.Contains(got, "the server wants TLS: write ldaps://, or start_tls: true") {
		t.Errorf("got %s", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := printed(open(t, fakeSettings("ldap://"+l.Addr().String())).Report(t.Context(), nil)); !strings.Contains(got, "connection refused") || strings.Contains(got, "write ldaps://") {
		t.Errorf("got %s", got)
	}
}

// TestReportOfABareServer asks one that shows nothing of itself.
func TestReportOfABareServer(t *testing.T) {
	url := fakeServer(t, func(r *ber.Packet) []byte {
		switch {
		case r.Children[1].Tag == 0:
			return result(r, bindResponse, 0, "")
		case strings.Contains(string(r.Bytes()), "subschemaSubentry"):
			return append(item(r, "", "subschemaSubentry", "cn=schema", 1), result(r, searchDone, 0, "")...)
		}
		return append(item(r, "uid=alice,dc=example,dc=test", "cn", "x", 1), result(r, searchDone, 0, "")...)
	})
	got := printed(open(t, fakeSettings(url)).Report(t.Context(), nil))
	for _, want := range []string{
		"warning: server " + url + ": connection is not encrypted",
		"bad: password change on " + url + ": password_change is rfc3062, but the server does not list",
		"note: schema: cannot be read",
		"note: clock of " + url + ": the server does not show the time",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestRightsOnLoginNames finds who may write the login names in a group.
func TestRightsOnLoginNames(t *testing.T) {
	p := peers.OpenLDAP(t)
	configure(t, p, "access to dn.base=\"\" by * read", "access to dn.base=\"cn=posix,ou=groups,dc=example,dc=test\" attrs=memberUid val=\"alice\"\n  by dn.exact=\"uid=alice,ou=people,dc=example,dc=test\" write\n  by users read\naccess to dn.base=\"\" by * read")
	c := open(t, settings(p))
	if got := rights(t, c, "alice", "posix"); !strings.Contains(got, "bad: rights of alice: may write memberUid of group cn=posix,") {
		t.Errorf("got %s", got)
	}
	wantLines(t, rights(t, c, "bob", "posix"), "may not write the members of 1 of")
}

// TestRightsOfTheUnseen checks the rights of a person who cannot read their
// own entry.
func TestRightsOfTheUnseen(t *testing.T) {
	p := peers.OpenLDAP(t)
	configure(t, p, "access to dn.base=\"\" by * read", "access to dn.base=\"uid=carol,ou=people,dc=example,dc=test\"\n  by dn.exact=\""+svc+"\" read\n  by * none\naccess to dn.base=\"\" by * read")
	if got := rights(t, open(t, settings(p)), "carol"); !strings.Contains(got, "ok: rights of carol: may not write uid, ") {
		t.Errorf("got %s", got)
	}
}

// TestRightsThatCannotBeRead has a server of the kind of Active Directory refuse
// to say what a user may write.
func TestRightsThatCannotBeRead(t *testing.T) {
	url := fakeServer(t, func(r *ber.Packet) []byte {
		switch text := string(r.Bytes()); {
		case r.Children[1].Tag == 0:
			return result(r, bindResponse, 0, "")
		case strings.Contains(text, "allowedAttributesEffective"):
			return result(r, searchDone, 50, "not for you")
		case strings.Contains(text, "supportedCapabilities"):
			return append(item(r, "", "supportedCapabilities", "1.2.840.113556.1.4.800", 1), result(r, searchDone, 0, "")...)
		}
		return append(item(r, "uid=alice,dc=example,dc=test", "cn", "x", 1), result(r, searchDone, 0, "")...)
	})
	u := &directory.User{Name: "alice", DN: "uid=alice,dc=example,dc=test", State: directory.State{Status: directory.StatusActive}}
	got := printed(open(t, fakeSettings(url)).Rights(t.Context(), u, "pw", nil))
	if !strings.Contains(got, "note: rights of alice: could not be checked for ") || !strings.Contains(got, "not for you") || strings.Contains(got, "may not write") {
		t.Errorf("got %s", got)
	}
}

// TestReportWithoutGroups says that there are none.
func TestReportWithoutGroups(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.GroupBase = "ou=policies,dc=example,dc=test"
	reported(t, s, `warning: groups: none with members below "ou=policies,dc=example,dc=test"`)
}
