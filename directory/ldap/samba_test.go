package ldap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/test/peers"
)

// TestSambaDetails is what Active Directory alone has.
func TestSambaDetails(t *testing.T) {
	p := peers.Samba(t)
	s := settings(p)
	s.KeyAttribute = "" // altSecurityIdentities, which needs no schema
	c := open(t, s)

	t.Run("keys in altSecurityIdentities", func(t *testing.T) {
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		// The certificate's value is not a key, and none of a key's business.
		if len(u.Keys) != 1 || len(u.Notes) != 0 {
			t.Errorf("got %d keys and the notes %v, want 1 key", len(u.Keys), u.Notes)
		}
		for _, g := range u.Groups {
			if !strings.HasPrefix(g.SID, "S-1-5-") {
				t.Errorf("group %q has the SID %q, want one", g.Name, g.SID)
			}
		}
		if len(u.ID) != 36 {
			t.Errorf("id %q, want a GUID", u.ID)
		}
		if left := u.State.PasswordExpires; left.IsZero() {
			t.Error("the day on which the password expires is not known")
		}
	})

	t.Run("nesting", func(t *testing.T) {
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		tree, err := c.Nesting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		in := map[string][]string{} // which groups of alice's a group contains
		for _, g := range tree {
			for _, above := range g.In {
				if slices.ContainsFunc(u.Groups, func(own directory.Group) bool { return own.DN.Key() == g.DN.Key() }) {
					in[above.Key()] = append(in[above.Key()], g.Name)
				}
			}
		}
		nested := 0
		for _, g := range u.Groups {
			if g.Via == "nested" && !g.DN.IsZero() {
				if nested++; len(in[g.DN.Key()]) == 0 {
					t.Errorf("%s contains none of alice's groups, and she is in it through one", g.DN)
				}
			}
		}
		if nested == 0 {
			t.Error("alice is in no group through another")
		}
	})

	t.Run("fine-grained policy", func(t *testing.T) {
		tests := []struct {
			name      string
			threshold int
			window    time.Duration
		}{
			{"carol", 3, 30 * time.Minute}, // the domain's
			{"strict", 2, 20 * time.Minute},
			{"minage", 0, 0}, // the service account may not read that policy
		}
		for _, tt := range tests {
			u, err := c.Lookup(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			threshold, window, err := c.Lockout(t.Context(), u)
			if threshold != tt.threshold || window != tt.window || (err != nil) != (tt.threshold == 0) {
				t.Errorf("Lockout(%s) = %d in %v, %v; want %d in %v", tt.name, threshold, window, err, tt.threshold, tt.window)
			}
		}
	})

	t.Run("other workstations only", func(t *testing.T) {
		u, err := c.Lookup(t.Context(), "workstation")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Authenticate(t.Context(), u, peers.Password("workstation")); !errors.Is(err, directory.ErrWorkstation) || !directory.Proved(err) {
			t.Errorf("Authenticate = %v, want ErrWorkstation, proved", err)
		}
	})

	t.Run("bind_as", func(t *testing.T) {
		s := s
		s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "none", "%u@ad.example.test"
		c := open(t, s)
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
			t.Fatalf("Authenticate = %v, want nil", err)
		}
		if u, err = c.Lookup(t.Context(), "alice"); err != nil || len(u.Groups) != 5 {
			t.Errorf("Lookup after the login = %v, %v; want alice with 5 groups", u, err)
		}
		u, err = c.Lookup(t.Context(), "mustchange")
		if err != nil {
			t.Fatal(err)
		}
		// Nobody is there to change it: the person is not let in.
		if err := c.ChangePassword(t.Context(), u, peers.Password("mustchange"), "N3w-Passw0rd!"); !errors.Is(err, directory.ErrChangeForbidden) {
			t.Errorf("ChangePassword = %v, want ErrChangeForbidden", err)
		}
	})

	t.Run("change in the clear", func(t *testing.T) {
		s := s
		s.URLs, s.Insecure, s.BindDN, s.BindPassword, s.KeyChange = []string{p.LDAP}, true, "", "", "none"
		u, err := c.Lookup(t.Context(), "carol")
		if err != nil {
			t.Fatal(err)
		}
		// The server refuses a bind without TLS; that says nothing of the password.
		if err := open(t, s).ChangePassword(t.Context(), u, peers.Password("carol"), "N3w-Passw0rd!"); err == nil || directory.Refused(err) {
			t.Errorf("ChangePassword = %v, want an error that is no refusal", err)
		}
	})

	t.Run("StartTLS", func(t *testing.T) {
		s := s
		s.URLs, s.StartTLS = []string{p.LDAP}, true
		if err := open(t, s).Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v, want nil", err)
		}
	})

	t.Run("report", func(t *testing.T) {
		var text strings.Builder
		for _, f := range c.Report(t.Context(), []string{"inner", "Domain Users", "S-1-5-32-545", "S-1-5-32-999", "finance"}) {
			fmt.Fprintf(&text, "%v: %s: %s\n", f.Level, f.What, f.Detail)
		}
		for _, want := range []string{
			"ok: password change on " + p.LDAPS + ": possible by unicode_pwd", "ok: clock of " + p.LDAPS + ": differs by ",
			"ok: account state: userAccountControl of ", "ok: keys: 1 can be used", "ok: key change: " + s.BindDN + " may write altSecurityIdentities", "warning: group S-1-5-32-999: ", "warning: group finance: ",
			"ok: lock-out: 3 wrong passwords in 30m0s lock an account (the default policy)",
			"ok: lock-out: 2 wrong passwords in 20m0s lock an account (CN=strict,",
			`warning: lock-out: lock-out policy for "minage": "CN=minage,CN=Password Settings Container,`,
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the report has no line %q:\n%s", want, text.String())
			}
		}
		for _, not := range []string{"bad", "group inner", "group Domain Users", "group S-1-5-32-545"} {
			if strings.Contains(text.String(), not) {
				t.Errorf("the report complains of %q:\n%s", not, text.String())
			}
		}
	})
}
