package ldap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// Requests and answers of LDAP, by their tags.
const (
	bindRequest      = 0
	unbindRequest    = 2
	searchRequest    = 3
	searchEntry      = 4
	compareRequest   = 14
	compareResponse  = 15
	extendedRequest  = 23
	extendedResponse = 24
)

// A script answers a request; an entry is sent before the result.
type script func(op int, request *ber.Packet) []byte

// found is a search result with entries of the form "dn|name=value|…".
func found(request *ber.Packet, entries ...string) []byte {
	str := func(s string) *ber.Packet {
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
	}
	var b []byte
	for _, e := range entries {
		parts := strings.Split(e, "|")
		list := ber.NewSequence("")
		for _, p := range parts[1:] {
			name, value, _ := strings.Cut(p, "=")
			a, set := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
			set.AppendChild(str(value))
			a.AppendChild(str(name))
			a.AppendChild(set)
			list.AppendChild(a)
		}
		op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, searchEntry, nil, "")
		op.AppendChild(str(parts[0]))
		op.AppendChild(list)
		b = append(b, message(request, op)...)
	}
	return append(b, result(request, searchDone, 0, "")...)
}

// words are all values of a request, in their order.
func words(p *ber.Packet) []string {
	var list []string
	if len(p.Children) == 0 {
		list = append(list, p.Data.String())
	}
	for _, child := range p.Children {
		list = append(list, words(child)...)
	}
	return list
}

// policyError is the control of a password policy with an error.
func policyError(n int64) *ber.Packet {
	value := ber.NewSequence("")
	value.AppendChild(ber.NewInteger(ber.ClassContext, ber.TypePrimitive, 1, n, ""))
	control := ber.NewSequence("")
	control.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "1.3.6.1.4.1.42.2.27.8.5.1", ""))
	control.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, string(value.Bytes()), ""))
	all := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	all.AppendChild(control)
	return all
}

// baseOf is the base of a search.
func baseOf(r *ber.Packet) string { return fmt.Sprint(r.Children[1].Children[0].Value) }

// boundAs is the name in a bind.
func boundAs(r *ber.Packet) string { return fmt.Sprint(r.Children[1].Children[1].Value) }

// scripted starts a server that plays s, and lets the service account bind.
func scripted(t *testing.T, s script) ldap.Settings {
	t.Helper()
	return fakeSettings(fakeServer(t, func(r *ber.Packet) []byte {
		op := int(r.Children[1].Tag)
		if op == unbindRequest {
			return nil
		}
		if op == bindRequest && boundAs(r) == "cn=svc" {
			return result(r, bindResponse, 0, "")
		}
		return s(op, r)
	}))
}

var alice = &directory.User{Name: "alice", DN: "uid=alice,dc=example,dc=test"}

// TestExpiredIsBelieved says of any password that it has expired. Of a server of
// which nothing is known this is no proof of the password: the service account,
// which may be allowed to set any, does nothing.
func TestExpiredIsBelieved(t *testing.T) {
	for _, tt := range []struct {
		kind, root string
		want       error
	}{
		{"generic", "|objectClass=top", directory.ErrChangeForbidden},
		{"generic", "|objectClass=OpenLDAProotDSE", nil},
		{"generic", "|vendorName=389 Project", nil},
		{"openldap", "|objectClass=top", nil},
		{"freeipa", "", directory.ErrPasswordExpired},
	} {
		var changes []string
		s := scripted(t, func(op int, r *ber.Packet) []byte {
			switch op {
			case bindRequest:
				return result(r, bindResponse, 49, "", policyError(0))
			case extendedRequest:
				changes = append(changes, r.Children[1].Children[1].Data.String())
				return result(r, extendedResponse, 0, "")
			}
			if baseOf(r) == "" {
				return found(r, tt.root)
			}
			return found(r)
		})
		s.Kind = tt.kind
		c := open(t, s)
		err := c.ChangePassword(t.Context(), alice, "old-pw", "new-pw")
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s, %s: ChangePassword = %v, want %v", tt.kind, tt.root, err, tt.want)
		}
		if changed := len(changes) == 1 && strings.Contains(changes[0], "old-pw") && strings.Contains(changes[0], "new-pw"); changed != (tt.want == nil) || len(changes) > 1 {
			t.Errorf("%s, %s: changes %q", tt.kind, tt.root, changes)
		}
	}
}

// TestRefusedChange reads what a server answers to the service account.
func TestRefusedChange(t *testing.T) {
	for _, tt := range []struct {
		code   int
		kind   string
		want   error
		detail string
		proved bool
	}{
		{53, "openldap", directory.ErrChangeForbidden, `cn=svc must change it: it needs the access "=xw"`, true},
		{50, "389ds", directory.ErrChangeForbidden, `cn=svc must change it: it needs the right "write"`, true},
		{19, "openldap", directory.ErrPasswordWeak, "result 19", true},
		{49, "389ds", directory.ErrBadPassword, "result 49", false},
		{51, "openldap", nil, "51", false},
	} {
		s := scripted(t, func(op int, r *ber.Packet) []byte {
			switch op {
			case bindRequest:
				return result(r, bindResponse, 49, "", policyError(0))
			case extendedRequest:
				return result(r, extendedResponse, tt.code, "")
			}
			return found(r)
		})
		s.Kind = tt.kind
		err := open(t, s).ChangePassword(t.Context(), alice, "old", "new")
		if err == nil || directory.Refused(err) != (tt.want != nil) || tt.want != nil && !errors.Is(err, tt.want) || directory.Proved(err) != tt.proved || !strings.Contains(err.Error(), tt.detail) {
			t.Errorf("result %d: %v, want %v with %q, proved: %t", tt.code, err, tt.want, tt.detail, tt.proved)
		}
		if tt.code == 19 && strings.Contains(err.Error(), "must change it") {
			t.Errorf("result %d: %v tells of a right", tt.code, err)
		}
	}
}

// TestEmptyPasswordsAreNotSent changes and checks passwords with nothing for one
// of them.
func TestEmptyPasswordsAreNotSent(t *testing.T) {
	s := scripted(t, func(op int, r *ber.Packet) []byte {
		t.Errorf("request %d was sent", op)
		return nil
	})
	c := open(t, s)
	if err := c.Authenticate(t.Context(), alice, ""); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate = %v, want ErrBadPassword", err)
	}
	if err := c.ChangePassword(t.Context(), alice, "", "new"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("ChangePassword from nothing = %v, want ErrBadPassword", err)
	}
	if err := c.ChangePassword(t.Context(), alice, "old", ""); !errors.Is(err, directory.ErrPasswordTooShort) {
		t.Errorf("ChangePassword to nothing = %v, want ErrPasswordTooShort", err)
	}
}

// TestMoreThanAskedFor gets more entries than it asks for, as from Samba. That is
// an answer, and the server is as good as before.
func TestMoreThanAskedFor(t *testing.T) {
	s := scripted(t, func(_ int, r *ber.Packet) []byte {
		var entries []string
		for i := range 20 {
			entries = append(entries, fmt.Sprintf("uid=u%d|uid=u%d", i, i))
		}
		return found(r, entries...)
	})
	c := open(t, s)
	for range 3 {
		if _, err := c.Lookup(t.Context(), "alice"); !errors.Is(err, directory.ErrAmbiguous) {
			t.Errorf("Lookup = %v, want ErrAmbiguous", err)
		}
	}
}

// TestWhoHasBound logs in without a service account, as one entry, and finds
// another one or the same.
func TestWhoHasBound(t *testing.T) {
	const self, other = "self-sid", "other-sid"
	account := "|sAMAccountName=alice|objectGUID=0123456789abcdef|userAccountControl=512|accountExpires=0|pwdLastSet=132000000000000000" +
		"|msDS-User-Account-Control-Computed=0|logonHours=" + strings.Repeat("\xff", 21) + "|objectSid=" + self
	const person = "uid=alice,dc=example,dc=test"
	tests := []struct {
		name, kind, bindAs string
		answer             string // SID, or who is bound; empty: the server does not say
		code               int
		want               error
	}{
		{"AD, the same", "active_directory", "%u@x", self, 0, nil},
		{"AD, another", "active_directory", "%u@x", other, 0, directory.ErrAmbiguous},
		{"AD, nobody", "active_directory", "%u@x", "", 0, directory.ErrAmbiguous},
		{"the same", "openldap", "%u@x", "dn:UID=alice, dc=example,dc=test", 0, nil},
		{"another", "openldap", "%u@x", "dn:uid=bob,dc=example,dc=test", 0, directory.ErrAmbiguous},
		{"nobody", "openldap", "%u@x", "", 0, directory.ErrAmbiguous},
		{"not said", "openldap", "%u@x", "", 2, directory.ErrAmbiguous},
		{"not said, bound by DN", "openldap", "uid=%u,dc=example,dc=test", "", 2, nil},
		{"not said, another DN", "openldap", "cn=%u,dc=example,dc=test", "", 2, directory.ErrAmbiguous},
		{"busy", "openldap", "uid=%u,dc=example,dc=test", "", 51, errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scripted(t, func(op int, r *ber.Packet) []byte {
				switch {
				case op == bindRequest:
					return result(r, bindResponse, 0, "")
				case op == extendedRequest:
					op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, extendedResponse, nil, "")
					op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, tt.code, ""))
					op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
					op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
					op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 11, tt.answer, ""))
					return message(r, op)
				case baseOf(r) == "":
					return found(r, "|tokenGroups="+tt.answer)
				case tt.kind == "active_directory" && strings.HasPrefix(baseOf(r), "uid="):
					return found(r, person+"|tokenGroups=x")
				case tt.kind == "active_directory":
					return found(r, person+account)
				case slices.Contains(words(r), "alice") && !slices.Contains(words(r), "member"):
					return found(r, person+"|uid=alice|entryUUID=1")
				}
				return found(r)
			})
			s.Kind, s.BindDN, s.BindPassword, s.BindAs, s.PasswordChange = tt.kind, "", "", tt.bindAs, "none"
			err := open(t, s).Authenticate(t.Context(), &directory.User{Name: "alice"}, "pw")
			switch {
			case errors.Is(tt.want, errors.ErrUnsupported):
				if err == nil || directory.Refused(err) {
					t.Errorf("Authenticate = %v, want an error that is no refusal", err)
				}
			case !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil):
				t.Errorf("Authenticate = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestGroupsOfAStrangeName looks for the groups of a login name that a filter
// would understand otherwise.
func TestGroupsOfAStrangeName(t *testing.T) {
	const name, id = "a*)(uid=", "1"
	var filters []string
	s := scripted(t, func(op int, r *ber.Packet) []byte {
		if op == searchRequest {
			text := words(r)
			for i, word := range text {
				if word == "memberUid" || word == "gidNumber" && i+1 < len(text) && strings.Contains(text[i+1], "*") {
					filters = append(filters, word+" "+text[i+1])
				}
			}
			if slices.Contains(text, "posixAccount") {
				return found(r, "uid=x,dc=example,dc=test|uid="+name+"|entryUUID="+id+"|gidNumber=*")
			}
		}
		if op == compareRequest {
			return result(r, compareResponse, 5, "")
		}
		return found(r)
	})
	if u, err := open(t, s).Lookup(t.Context(), "x"); err != nil || u.Name != name {
		t.Fatalf("Lookup = %v, %v", u, err)
	}
	// Each comes as one value. Without escapes it would be a filter of several
	// parts, or one that matches everybody.
	if want := []string{"gidNumber *", "memberUid " + name}; !slices.Equal(filters, want) {
		t.Errorf("filters %q, want %q", filters, want)
	}
}

// TestStateChangedElsewhere looks somebody up, and the password or the account is
// changed before the login.
func TestStateChangedElsewhere(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	u := find(t, c, "shadow")
	if u.State.Status != directory.StatusPasswordExpired {
		t.Fatalf("shadow: %v, want password expired", u.State.Status)
	}
	replace(t, p, u.DN, "shadowLastChange", "20700")
	replace(t, p, u.DN, "shadowMax", "99999")
	if err := c.Authenticate(t.Context(), u, peers.Password("shadow")); err != nil {
		t.Errorf("Authenticate after the password was changed elsewhere = %v, want nil", err)
	}
	replace(t, p, u.DN, "shadowExpire", "1")
	if err := c.Authenticate(t.Context(), u, peers.Password("shadow")); !errors.Is(err, directory.ErrExpired) || !directory.Proved(err) {
		t.Errorf("Authenticate after the account has ended = %v, want ErrExpired, proved", err)
	}
}

// TestUnprovedIsNotChanged gets an answer to a bind that says what the account
// must do, but not that the password is right.
func TestUnprovedIsNotChanged(t *testing.T) {
	for policyCode, want := range map[int64]error{1: directory.ErrLocked, 2: directory.ErrMustChange} {
		s := scripted(t, func(op int, r *ber.Packet) []byte {
			if op != bindRequest {
				t.Errorf("policy error %d: request %d was sent", policyCode, op)
				return nil
			}
			return result(r, bindResponse, 49, "", policyError(policyCode))
		})
		if err := open(t, s).ChangePassword(t.Context(), alice, "old", "new"); !errors.Is(err, want) || directory.Proved(err) {
			t.Errorf("policy error %d: ChangePassword = %v, want %v, not proved", policyCode, err, want)
		}
	}
}

// TestExpiredWithoutServiceAccount has nobody who could change an expired
// password.
func TestExpiredWithoutServiceAccount(t *testing.T) {
	s := scripted(t, func(op int, r *ber.Packet) []byte {
		if op != bindRequest {
			t.Errorf("request %d, want binds only", op)
		}
		return result(r, bindResponse, 49, "", policyError(0))
	})
	s.Kind, s.BindDN, s.BindPassword = "openldap", "", ""
	err := open(t, s).ChangePassword(t.Context(), alice, "old", "new")
	if !errors.Is(err, directory.ErrChangeForbidden) || !directory.Proved(err) {
		t.Errorf("ChangePassword = %v, want ErrChangeForbidden, and that the password is right", err)
	}
}

// TestShadowDay changes a password, and the day of its change where the entry has
// one.
func TestShadowDay(t *testing.T) {
	const modifyRequest, modifyResponse = 6, 7
	today := fmt.Sprint(time.Now().Unix() / 86400)
	for _, tt := range []struct {
		attribute string
		modified  bool
	}{{"shadowLastChange=20000", true}, {"shadowLastChange=" + today, false}, {"", false}} {
		var modified []string
		s := scripted(t, func(op int, r *ber.Packet) []byte {
			switch op {
			case bindRequest:
				return result(r, bindResponse, 0, "")
			case extendedRequest:
				return result(r, extendedResponse, 0, "")
			case modifyRequest:
				modified = append(modified, words(r.Children[1])...)
				return result(r, modifyResponse, 0, "")
			}
			if baseOf(r) != alice.DN || tt.attribute == "" {
				return found(r)
			}
			return found(r, alice.DN+"|"+tt.attribute)
		})
		s.Kind = "openldap"
		active := *alice
		active.State.Status = directory.StatusActive
		if err := open(t, s).ChangePassword(t.Context(), &active, "old", "new"); err != nil {
			t.Fatal(err)
		}
		if has := slices.Contains(modified, "shadowLastChange") && slices.Contains(modified, today); has != tt.modified || !tt.modified && len(modified) > 0 {
			t.Errorf("%q: modified %q, want the day: %t", tt.attribute, modified, tt.modified)
		}
	}
}

// TestBindAsOtherRights logs in somebody who may see less than the next person. What
// the first one may not see must not be missing for the second one.
func TestBindAsOtherRights(t *testing.T) {
	const group = "|objectClass=groupOfNames|cn="
	bound := "" // the connections come one after the other
	s := scripted(t, func(op int, r *ber.Packet) []byte {
		text := strings.Join(words(r), " ")
		switch {
		case op == bindRequest:
			bound = boundAs(r)
			return result(r, bindResponse, 0, "")
		case op == extendedRequest: // nobody can ask who is bound
			return result(r, extendedResponse, 2, "")
		case strings.Contains(text, "pwdAccountLockedTime"): // the person
			name, _, _ := strings.Cut(strings.TrimPrefix(bound, "uid="), ",")
			return found(r, bound+"|uid="+name+"|entryUUID="+name)
		case strings.Contains(text, "member uid="):
			return found(r, "cn=team,dc=example,dc=test"+group+"team")
		case strings.Contains(text, "member cn=team") && strings.HasPrefix(bound, "uid=bob,"):
			return found(r, "cn=leavers,dc=example,dc=test"+group+"leavers")
		}
		return found(r)
	})
	s.Kind, s.BindDN, s.BindPassword, s.BindAs, s.Cache = "openldap", "", "", "uid=%u,dc=example,dc=test", time.Minute
	s.PasswordChange, s.KeyChange = "none", "none"
	c := open(t, s)
	for _, name := range []string{"alice", "bob"} {
		if err := c.Authenticate(t.Context(), &directory.User{Name: name}, "pw"); err != nil {
			t.Fatal(err)
		}
		u, err := c.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"alice": 1, "bob": 2}[name]; len(u.Groups) != want {
			t.Errorf("%s is in %v, want %d groups", name, u.Groups, want)
		}
	}
}

// TestLockoutOfFreeIPA has several policies: the one that locks first counts, and the
// one that remembers longest. An interval of 0 means for ever.
func TestLockoutOfFreeIPA(t *testing.T) {
	for _, tt := range []struct {
		policies [][2]int // failures, interval
		failures int
		window   time.Duration
	}{
		{[][2]int{{6, 60}}, 6, time.Minute},
		{[][2]int{{6, 60}, {3, 120}}, 3, 2 * time.Minute},
		{[][2]int{{6, 60}, {3, 0}}, 3, 0},
		{[][2]int{{3, 0}, {6, 60}}, 3, 0},
		{[][2]int{{0, 0}, {6, 60}, {0, 0}}, 6, time.Minute},
		{[][2]int{{0, 60}}, 0, time.Minute},
	} {
		s := scripted(t, func(op int, r *ber.Packet) []byte {
			var entries []string
			for i, p := range tt.policies {
				entries = append(entries, fmt.Sprintf("cn=%d,dc=example,dc=test|krbPwdMaxFailure=%d|krbPwdFailureCountInterval=%d", i, p[0], p[1]))
			}
			return found(r, entries...)
		})
		s.Kind = "freeipa"
		if n, window, err := open(t, s).Lockout(t.Context(), alice); n != tt.failures || window != tt.window || err != nil {
			t.Errorf("%v: Lockout = %d, %v, %v; want %d, %v", tt.policies, n, window, err, tt.failures, tt.window)
		}
	}
}

// TestUnwillingToBind gets "unwilling to perform" for a bind. Only 389 DS and its relatives
// mean a disabled account by that. OpenLDAP says it where an administrator has switched
// simple binds off, for instance: nothing about the person.
func TestUnwillingToBind(t *testing.T) {
	const unwilling = 53
	for kind, disabled := range map[string]bool{
		"389ds": true, "freeipa": true, "generic": true,
		"openldap": false, "active_directory": false,
	} {
		s := scripted(t, func(_ int, r *ber.Packet) []byte { return result(r, bindResponse, unwilling, "") })
		s.Kind = kind
		err := open(t, s).Authenticate(t.Context(), alice, "pw")
		if err == nil || directory.Refused(err) != disabled || errors.Is(err, directory.ErrDisabled) != disabled {
			t.Errorf("%s: Authenticate = %v, want a disabled account: %t", kind, err, disabled)
		}
	}
}
