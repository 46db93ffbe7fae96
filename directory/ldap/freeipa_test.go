package ldap_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// TestFreeIPA treats OpenLDAP and 389 DS as FreeIPA, because the tests have no
// FreeIPA server. FreeIPA marks a password as expired at once when somebody
// else than its owner set it, so the service account must never be the one who
// does, though it could.
func TestFreeIPA(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *peers.Peer{"openldap": peers.OpenLDAP, "389ds": peers.DS389} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			s := settings(p)
			s.Kind = "freeipa"
			s.UserFilter, s.IDAttribute = "(objectClass=inetOrgPerson)", map[string]string{"openldap": "entryUUID", "389ds": "nsUniqueId"}[name]
			c := open(t, s)
			neverAsService(t, c, p)

			// Who is let in changes it as the own self, and stays let in.
			for _, user := range []string{"mustchange", "carol"} {
				u, err := c.Lookup(t.Context(), user)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.ChangePassword(t.Context(), u, peers.Password(user), "N3w-Passw0rd!"); err != nil {
					t.Errorf("ChangePassword(%s) = %v, want nil", user, err)
				}
				if err := c.Authenticate(t.Context(), u, "N3w-Passw0rd!"); err != nil {
					t.Errorf("Authenticate(%s) with the new password = %v, want nil", user, err)
				}
			}
		})
	}
}

// neverAsService expects a password that has expired, so that its owner is not
// let in, to be left alone.
func neverAsService(t *testing.T, c *ldap.Client, p *peers.Peer) {
	t.Helper()
	u, err := c.Lookup(t.Context(), "pwexpired")
	if err != nil {
		t.Fatal(err)
	}
	err = c.ChangePassword(t.Context(), u, peers.Password("pwexpired"), "N3w-Passw0rd!")
	if !errors.Is(err, directory.ErrPasswordExpired) || !directory.Proved(err) {
		t.Errorf("ChangePassword = %v, want ErrPasswordExpired, proved", err)
	}
	if err := c.Authenticate(t.Context(), u, "N3w-Passw0rd!"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate with the refused password = %v, want ErrBadPassword: nothing was changed", err)
	}
	if err := c.Authenticate(t.Context(), u, peers.Password("pwexpired")); !errors.Is(err, directory.ErrPasswordExpired) {
		t.Errorf("Authenticate with the old password = %v, want ErrPasswordExpired as before", err)
	}

	// The same as another kind does change it, with the same account.
	s := c.Settings()
	s.Kind = p.Kind
	other := open(t, s)
	if err := other.ChangePassword(t.Context(), u, peers.Password("pwexpired"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword as %s = %v, want nil: else this test shows nothing", p.Kind, err)
	}
}

// TestFreeIPAExpired is a FreeIPA server by its attributes: it lets somebody
// with an expired password bind, so krbPasswordExpiration decides.
func TestFreeIPAExpired(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.Kind = "freeipa"
	s.UserFilter, s.IDAttribute, s.KeyAttribute = "(objectClass=krbPrincipalAux)", "entryUUID", "ipaSshPubKey"
	c := open(t, s)
	tests := []struct {
		name   string
		status directory.Status
		right  error
	}{
		{"ipa", directory.StatusActive, nil},
		{"ipaexpired", directory.StatusPasswordExpired, directory.ErrPasswordExpired},
		{"ipaended", directory.StatusExpired, directory.ErrExpired},
		{"ipalocked", directory.StatusDisabled, directory.ErrDisabled},
	}
	for _, tt := range tests {
		u, err := c.Lookup(t.Context(), tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if u.State.Status != tt.status || len(u.Keys) != 1 {
			t.Errorf("%s: got %v and %d keys, want %v and 1", tt.name, u.State.Status, len(u.Keys), tt.status)
		}
		if len(u.Groups) != 2 || u.Groups[0].Name != "inner" || u.Groups[1].Name != "outer" {
			t.Errorf("%s: got the groups %v, want inner and outer by memberOf", tt.name, u.Groups)
		}
		err = c.Authenticate(t.Context(), u, peers.Password(tt.name))
		if !errors.Is(err, tt.right) || (err != nil && !directory.Proved(err)) {
			t.Errorf("%s: Authenticate = %v, want %v, proved", tt.name, err, tt.right)
		}
		if err := c.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, directory.ErrBadPassword) || directory.Proved(err) {
			t.Errorf("%s: Authenticate with a wrong password = %v, want ErrBadPassword, not proved", tt.name, err)
		}
	}
	// The user is let in by the directory, so the user changes it.
	u, err := c.Lookup(t.Context(), "ipaexpired")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(u.State.PasswordExpires); left > 0 {
		t.Errorf("ipaexpired: the password is good for %v", left)
	}
	if err := c.ChangePassword(t.Context(), u, peers.Password("ipaexpired"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword = %v, want nil", err)
	}
	for _, name := range []string{"ipaended", "ipalocked"} {
		u, err := c.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ChangePassword(t.Context(), u, peers.Password(name), "N3w-Passw0rd!"); !directory.Refused(err) {
			t.Errorf("%s: ChangePassword = %v, want a refusal", name, err)
		}
	}
}

// TestFreeIPATree looks at a tree as FreeIPA has it with nothing but the defaults of the
// kind: nested groups, policies, states, and entries that look like people.
func TestFreeIPATree(t *testing.T) {
	p := peers.FreeIPA(t)
	s := settings(p)
	s.KeyAttribute, s.Attributes = "", []string{"homeDirectory"}
	for _, base := range []string{p.Base, strings.TrimPrefix(p.Base, "cn=users,")} { // the second one holds views, too
		s.Base = base
		c := open(t, s)
		for name, want := range map[string]struct {
			status directory.Status
			groups string
		}{
			"alice":     {directory.StatusActive, "inner outer"},
			"bob":       {directory.StatusActive, "outer"},
			"otp":       {directory.StatusActive, ""},
			"disabled":  {directory.StatusDisabled, ""},
			"pwexpired": {directory.StatusPasswordExpired, ""},
			"ended":     {directory.StatusExpired, ""},
		} {
			u, err := c.Lookup(t.Context(), name)
			if err != nil {
				t.Errorf("%s below %s: %v", name, base, err)
				continue
			}
			var groups []string
			for _, g := range u.Groups {
				groups = append(groups, g.Name)
			}
			slices.Sort(groups)
			if got := strings.Join(groups, " "); u.State.Status != want.status || got != want.groups || len(u.ID) != 36 || u.Attrs["homedirectory"][0] != "/home/"+name {
				t.Errorf("%s below %s: %v, groups %q, %v, id %q; want %v, groups %q", name, base, u.State.Status, got, u.Attrs, u.ID, want.status, want.groups)
			}
		}
		if _, err := c.Lookup(t.Context(), "kept"); !errors.Is(err, directory.ErrNoUser) {
			t.Errorf("a deleted person who is kept = %v, want ErrNoUser", err)
		}
	}

	s.Base = p.Base
	c := open(t, s)
	lookup := func(name string) *directory.User {
		t.Helper()
		u, err := c.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	alice := lookup("alice")
	if len(alice.Keys) != 1 || alice.State.PasswordChanged.IsZero() || alice.State.PasswordExpires.Year() != 2070 {
		t.Errorf("alice: %d keys, %+v; want her own key and not that of the view, and the times of her password", len(alice.Keys), alice.State)
	}
	for name, want := range map[string]int{"alice": 14, "bob": 8} { // by the policy of her group, and by that of all
		if rules, err := c.PasswordRules(t.Context(), lookup(name)); err != nil || rules.Length != want {
			t.Errorf("rules for %s: %+v, %v; want the length %d", name, rules, err, want)
		}
		if n, window, err := c.Lockout(t.Context(), lookup(name)); err != nil || n != 4 || window != 0 { // the policy of the group has no interval
			t.Errorf("lock-out of %s: %d in %v, %v; want 4 for ever, the strictest", name, n, window, err)
		}
	}
	if err := c.AddKey(t.Context(), lookup("bob"), string(ssh.MarshalAuthorizedKey(alice.Keys[0].PublicKey))); err != nil {
		t.Errorf("AddKey = %v", err)
	}
	if u := lookup("bob"); len(u.Keys) != 1 {
		t.Errorf("bob has %d keys, want the one that was added", len(u.Keys))
	}
	for name, want := range map[string]error{
		"alice": nil, "otp": nil, "disabled": directory.ErrDisabled, "pwexpired": directory.ErrPasswordExpired, "ended": directory.ErrExpired,
	} {
		if err := c.Authenticate(t.Context(), lookup(name), peers.Password(name)); !errors.Is(err, want) {
			t.Errorf("Authenticate(%s) = %v, want %v", name, err, want)
		}
	}
}
