package ldap_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// TestStartTLS runs the whole suite again over StartTLS.
func TestStartTLS(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.URLs, s.StartTLS = []string{p.LDAP}, true
	openLDAPSuite(p, open(t, s)).Run(t)
}

// TestGeneric runs it as a directory of which nothing is known.
func TestGeneric(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.Kind = ""
	openLDAPSuite(p, open(t, s)).Run(t)
}

// TestThroughTheLayers runs the suite through all layers above a client. The
// suite sends more wrong passwords than a shield passes on by default.
func TestThroughTheLayers(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	j, err := directory.Join(directory.Member{Name: "main", Directory: directory.NewShield(c, 10, 0)})
	if err != nil {
		t.Fatal(err)
	}
	openLDAPSuite(p, directory.NewCache(j, 0, 0)).Run(t)
}

func TestTLSMistakes(t *testing.T) {
	p := peers.OpenLDAP(t)
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, []byte(otherAuthority), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*ldap.Settings)
		want string
	}{
		{"authority not known", func(s *ldap.Settings) { s.CAFile = other }, "unknown authority"},
		{"authorities of the system", func(s *ldap.Settings) { s.CAFile = "" }, "unknown authority"},
		{"other name", func(s *ldap.Settings) { s.ServerName = "elsewhere.example" }, "elsewhere.example"},
		{"StartTLS, other name", func(s *ldap.Settings) {
			s.URLs, s.StartTLS, s.ServerName = []string{p.LDAP}, true, "elsewhere.example"
		}, "elsewhere.example"},
		{"TLS to a port without", func(s *ldap.Settings) { s.URLs = []string{strings.Replace(p.LDAP, "ldap:", "ldaps:", 1)} }, "EOF"},
		{"wrong password of the service account", func(s *ldap.Settings) { s.BindPassword = "x" }, `bind as "cn=svc,`},
		{"nothing listens", func(s *ldap.Settings) { s.URLs = []string{"ldaps://127.0.0.1:1"} }, "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := settings(p)
			tt.edit(&s)
			c := open(t, s)
			for _, err := range []error{c.Ping(t.Context()), c.Authenticate(t.Context(), &directory.User{Name: "alice", DN: "uid=alice"}, "pw")} {
				if strings.Contains(tt.name, "service") && errors.Is(err, directory.ErrBadPassword) {
					continue // users bind without it
				}
				if err == nil || directory.Refused(err) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q that is no refusal", err, tt.want)
				}
			}
		})
	}
}

// otherAuthority vouches for nobody here.
const otherAuthority = `-----BEGIN CERTIFICATE-----
MIIBkDCCATWgAwIBAgIUbb1CkfXdEr95KdDN0LtZnr7bERowCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKRml4dHVyZSBDQTAeFw0yNjExMjIwODMxMjNaFw0yNjEyMjIw
ODMxMjNaMBUxEzARBgNVBAMMCkZpeHR1cmUgQ0EwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATAuUuJI483QQznoHoUJjFzZwWC4SJdhtrzIFWXvel5+Fr8qi0a9lNc
8bGCPB5yNCFKdJi/IOOvba8XzaC2w9iZo2MwYTAdBgNVHQ4EFgQUGEHBodMPr6ae
VNLFxKtsvJQ6dv0wHwYDVR0jBBgwFoAUGEHBodMPr6aeVNLFxKtsvJQ6dv0wDwYD
VR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDSQAwRgIh
AIDYt0uFaW36p+kMY7LrMv7RImJ/8AOu/wwQJHfNG17FAiEArJKzfKrJnOmG/h/H
vpAEbOjSCOdQIoDstnAkdpqWF2s=
-----END CERTIFICATE-----
`

// TestServiceAccountIsNotHammered proves that a service account with a wrong
// password is not locked by every look-up.
func TestServiceAccountIsNotHammered(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindPassword = "wrong"
	c := open(t, s)
	for range 20 {
		if _, err := c.Lookup(t.Context(), "alice"); err == nil || directory.Refused(err) {
			t.Fatalf("Lookup = %v, want an error that is no refusal", err)
		}
	}
	// The policy locks at three wrong passwords.
	if err := open(t, settings(p)).Ping(t.Context()); err != nil {
		t.Errorf("Ping with the right password = %v, want nil", err)
	}
}

func TestNamesAndAttributes(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.Kind = "OpenLDAP"
	if _, err := ldap.Open(s, nil); err == nil {
		t.Error("Open with the kind OpenLDAP = nil, want an error: kinds are in lower case")
	}
	s = settings(p)
	s.LoginAttributes = []string{"uid", "mail"}
	s.Domains = []string{"EXAMPLE"}
	s.Attributes = []string{"homeDirectory", "mail", "absent"}
	c := open(t, s)
	for _, name := range []string{"alice", "Alice@Example.Test", `example\alice`, `EXAMPLE\alice@example.test`} {
		u, err := c.Lookup(t.Context(), name)
		if err != nil || u.Name != "alice" {
			t.Errorf("Lookup(%q) = %v, %v; want alice", name, u, err)
			continue
		}
		if got := fmt.Sprint(u.Attrs); got != "map[homedirectory:[/home/alice] mail:[alice@example.test]]" {
			t.Errorf("attributes of %q: got %s", name, got)
		}
	}
	secret := s
	secret.LoginAttributes, secret.Attributes, secret.TOTPAttribute = nil, nil, "mail"
	u, err := open(t, secret).Lookup(t.Context(), "alice")
	if err != nil || fmt.Sprint(directory.Reveal(u.TOTP)) != "[alice@example.test]" || len(u.Attrs) != 0 {
		t.Errorf("with totp_attribute: %v, %v; want one secret and no attributes", u, err)
	}
	// What is one person's name is another's title: the name counts.
	s.LoginAttributes = []string{"uid", "title"}
	c = open(t, s)
	for _, name := range []string{"bob", "BOB", `example\bob`} {
		if u, err := c.Lookup(t.Context(), name); err != nil || u.Name != "bob" {
			t.Errorf("Lookup(%q) = %v, %v; want bob, though carol's title is bob", name, u, err)
		}
	}
	s.UserFilter = "(&(objectClass=inetOrgPerson)(cn=%u))"
	if u, err := open(t, s).Lookup(t.Context(), `Jörg (IT) \ *`); !errors.Is(err, directory.ErrNoUser) {
		t.Errorf("Lookup with a backslash = %v, %v; want ErrNoUser: it is a domain", u, err)
	}
	s.UserFilter = "(|(uid=%u)(sn=locked)(objectClass=inetOrgPerson))"
	if u, err := open(t, s).Lookup(t.Context(), "alice"); err == nil && u.Name != "alice" {
		t.Errorf("Lookup that matches everybody = %v, want alice or nobody", u.Name)
	}
	if u, err := open(t, s).Lookup(t.Context(), "nobody"); !errors.Is(err, directory.ErrAmbiguous) || !directory.Refused(err) {
		t.Errorf("Lookup that matches several = %v, %v; want ErrAmbiguous", u, err)
	}
}

func TestAccountsNearTheEdge(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	look := func(name string) *directory.User {
		t.Helper()
		u, err := c.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	// A password near its end is good, and the day is known.
	u := look("expiring")
	if left := time.Until(u.State.PasswordExpires); u.State.Status != directory.StatusActive || left < 50*time.Hour || left > 70*time.Hour {
		t.Errorf("expiring: got %v, password until %v; want active, in 60 hours", u.State.Status, u.State.PasswordExpires)
	}
	// Grace logins are the directory's yes, by password only.
	u = look("grace")
	if u.State.Status != directory.StatusPasswordExpired {
		t.Errorf("grace: got %v, want password expired", u.State.Status)
	}
	for i := range 2 {
		if err := c.Authenticate(t.Context(), u, peers.Password("grace")); err != nil {
			t.Errorf("grace login %d = %v, want nil", i, err)
		}
	}
	if err := c.Authenticate(t.Context(), u, peers.Password("grace")); !errors.Is(err, directory.ErrPasswordExpired) || !directory.Proved(err) {
		t.Errorf("login after the last grace = %v, want ErrPasswordExpired, proved", err)
	}
	// shadow(5) attributes count although slapd does not look at them, and a
	// change must not leave the password expired.
	u = look("shadow")
	if err := c.Authenticate(t.Context(), u, peers.Password("shadow")); !errors.Is(err, directory.ErrPasswordExpired) || !directory.Proved(err) {
		t.Errorf("shadow: Authenticate = %v, want ErrPasswordExpired, proved", err)
	}
	if err := c.ChangePassword(t.Context(), u, peers.Password("shadow"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("shadow: ChangePassword = %v, want nil", err)
	}
	if err := c.Authenticate(t.Context(), u, "N3w-Passw0rd!"); err != nil {
		t.Errorf("shadow: Authenticate after the change = %v, want nil", err)
	}
}

// TestServiceAccountWithoutRights reads everything but may change nothing.
func TestServiceAccountWithoutRights(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindDN, s.BindPassword = "cn=reader,ou=services,dc=example,dc=test", peers.Password("reader")
	c := open(t, s)
	u, err := c.Lookup(t.Context(), "pwexpired")
	if err != nil {
		t.Fatal(err)
	}
	// The person cannot bind, so only the service account could do it.
	if err := c.ChangePassword(t.Context(), u, peers.Password("pwexpired"), "N3w-Passw0rd!"); !errors.Is(err, directory.ErrChangeForbidden) {
		t.Errorf("ChangePassword = %v, want ErrChangeForbidden", err)
	}
	if err := c.ChangePassword(t.Context(), u, "wrong", "N3w-Passw0rd!"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("ChangePassword with a wrong one = %v, want ErrBadPassword", err)
	}
	u, err = c.Lookup(t.Context(), "mustchange")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangePassword(t.Context(), u, peers.Password("mustchange"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword as the user = %v, want nil", err)
	}
}

// TestBindAs logs in without a service account.
func TestBindAs(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "none", "uid=%u,ou=people,dc=example,dc=test"
	c := open(t, s)
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	d := directory.NewCache(c, time.Hour, 0)
	u, err := d.Lookup(t.Context(), "ALICE")
	if err != nil || u.State.Err() == nil || len(u.Keys)+len(u.Groups) != 0 {
		t.Fatalf("Lookup before a login = %v, %v; want a user who may not log in by anything that is in the entry", u, err)
	}
	if err := d.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate with a wrong password = %v, want ErrBadPassword", err)
	}
	if err := d.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
		t.Fatalf("Authenticate = %v, want nil", err)
	}
	if u, err = d.Lookup(t.Context(), "ALICE"); err != nil || u.Name != "alice" || u.State.Err() != nil || len(u.Groups) != 5 {
		t.Errorf("Lookup after the login = %v, %v; want alice with 5 groups", u, err)
	}
	for _, name := range []string{"alice,ou=people", "*", "alice+cn=x", `alice\2c`} {
		u := &directory.User{Name: name}
		if err := d.Authenticate(t.Context(), u, peers.Password("alice")); !errors.Is(err, directory.ErrBadPassword) {
			t.Errorf("Authenticate(%q) = %v, want ErrBadPassword", name, err)
		}
	}
	stub, err := d.Lookup(t.Context(), "carol")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangePassword(t.Context(), stub, peers.Password("carol"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword = %v, want nil", err)
	}
}

// TestBindAsTyped has people whose login name is another one than they type for the
// bind. Their second login sends the typed name too.
func TestBindAsTyped(t *testing.T) {
	p := peers.OpenLDAP(t)
	replace(t, p, "uid=alice,"+people, "title", "Alice the First")
	s := settings(p)
	s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "none", "uid=%u,ou=people,dc=example,dc=test"
	s.NameAttribute, s.LoginAttributes = "title", []string{"uid"}
	c := open(t, s)
	for _, want := range []string{"alice", "Alice the First", "Alice the First"} {
		u := find(t, c, "alice")
		if err := c.Authenticate(t.Context(), u, peers.Password("alice")); u.Name != want || err != nil {
			t.Errorf("Authenticate of %q = %v, want nil for %q", u.Name, err, want)
		}
	}
}

// TestLongPasswords: a password that is too long for the server must not make the
// server seem to be down.
func TestLongPasswords(t *testing.T) {
	c := open(t, settings(peers.OpenLDAP(t)))
	u, long := find(t, c, "alice"), strings.Repeat("x", 262_090) // fits into a packet of SSH
	if err := c.Authenticate(t.Context(), u, long); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate = %v, want ErrBadPassword", err)
	}
	if err := c.ChangePassword(t.Context(), u, peers.Password("alice"), long); !errors.Is(err, directory.ErrPasswordWeak) {
		t.Errorf("ChangePassword = %v, want ErrPasswordWeak", err)
	}
	for _, s := range c.Traffic() {
		if !s.Up || s.Failures > 0 {
			t.Errorf("%s is down after a long password", s.URL)
		}
	}
}

// TestGuessesLockNobody sends a hundred wrong passwords past the shield.
func TestGuessesLockNobody(t *testing.T) {
	p := peers.OpenLDAP(t)
	guessesLockNobody(t, open(t, settings(p)), "guessed")
}

// TestGuessesLockNobodySamba guesses at the domain's policy, at a fine-grained
// one that locks earlier, and at one that cannot be read.
func TestGuessesLockNobodySamba(t *testing.T) {
	p := peers.Samba(t)
	for _, name := range []string{"guessed", "strict", "minage"} {
		t.Run(name, func(t *testing.T) { guessesLockNobody(t, open(t, settings(p)), name) })
	}
}

func guessesLockNobody(t *testing.T, c *ldap.Client, name string) {
	t.Helper()
	d := directory.NewShield(c, 0, 0)
	u, err := d.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			var err error
			if i%2 == 0 {
				err = d.Authenticate(t.Context(), u, fmt.Sprint("guess", i))
			} else {
				err = d.ChangePassword(t.Context(), u, fmt.Sprint("guess", i), "N3w-Passw0rd!")
			}
			if !errors.Is(err, directory.ErrBadPassword) && !errors.Is(err, directory.ErrShielded) {
				t.Errorf("guess %d = %v, want ErrBadPassword or ErrShielded", i, err)
			}
		})
	}
	wg.Wait()
	if err := d.Authenticate(t.Context(), u, peers.Password(name)); !errors.Is(err, directory.ErrShielded) {
		t.Errorf("Authenticate after the guesses = %v, want ErrShielded", err)
	}
	if err := c.Authenticate(t.Context(), u, peers.Password(name)); err != nil {
		t.Errorf("Authenticate past the shield = %v, want nil: the account is not locked", err)
	}
}

func TestReport(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.URLs = append(s.URLs, "ldaps://127.0.0.1:1", p.LDAP)
	s.Insecure = true
	s.Attributes = []string{"departmentNumber"}
	findings := open(t, s).Report(t.Context(), []string{"inner", "cn=middle,ou=groups,dc=example,dc=test", "out*", "finance", "bob", "twice", "cn=gone,ou=groups,dc=example,dc=test"})
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%v: %s: %s\n", f.Level, f.What, f.Detail)
	}
	for _, want := range []string{
		"warning: certificate of " + p.LDAPS + ": CN=localhost < CN=Berth test authority; 29 days left",
		"ok: server " + p.LDAPS + ": bound as cn=svc,ou=services,dc=example,dc=test in ",
		"ok: password change on " + p.LDAPS + ": possible by rfc3062",
		"ok: clock of " + p.LDAPS + ": differs by ",
		"bad: server ldaps://127.0.0.1:1: dial tcp",
		"warning: server " + p.LDAP + ": connection is not encrypted",
		"ok: base dc=example,dc=test: can be read",
		"ok: users: 16 found",
		"ok: login name: uid of 16 of 16 users can be read",
		"ok: stable id: entryUUID of 16 of 16",
		"ok: account state: pwdChangedTime of 15 of 16",
		"ok: account state: pwdAccountLockedTime, pwdReset, pwdChangedTime, pwdPolicySubentry, pwdStartTime, pwdEndTime, pwdLastSuccess can be read",
		"warning: attribute for rules: no user has departmentNumber",
		"warning: keys: 7 can be used, 1 cannot; the first of these is sshPublicKey[2] of \"uid=alice,",
		"ok: groups: 5 with members found",
		"warning: group finance: is named in a rule, but there is no such group",
		"warning: group twice: is named in a rule and means more than one group, such as cn=twice,ou=",
		"warning: group bob: is named in a rule, but there is no such group", // that is a person
		"warning: group cn=gone,ou=groups,dc=example,dc=test: is named",
		"ok: lock-out: 3 wrong passwords in 10m0s lock an account (cn=grace,ou=policies,dc=example,dc=test)",
		"ok: password policy: cn=default,ou=policies,dc=example,dc=test: passwords expire after 90 days",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report has no line %q", want)
		}
	}
	for _, not := range []string{"group inner", "group cn=middle", "group out*"} {
		if strings.Contains(text.String(), not) {
			t.Errorf("the report complains of %q, which exists", not)
		}
	}
	if t.Failed() {
		t.Log(text.String())
	}
}

// TestManyForThePriceOfOne counts the searches for many users. Groups need no
// further searches.
func TestManyForThePriceOfOne(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.GroupWalk = "member_of"
	c := open(t, s)
	names := []string{"alice", "carol", "locked", "mustchange"}
	c.LookupMany(t.Context(), names) // reads the password policies, too
	before := c.Searches()
	for name, a := range c.LookupMany(t.Context(), names) {
		if a.Err != nil || a.User.Name != name {
			t.Errorf("LookupMany of %q = %v", name, a)
		}
	}
	if n := c.Searches() - before; n != 1 {
		t.Errorf("%d searches, want 1", n)
	}
}
