package ldap_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/directory/directorytest"
	"berth/directory/ldap"
	"berth/test/peers"
)

// settings are those for a peer, over ldaps.
func settings(p *peers.Peer) ldap.Settings {
	return ldap.Settings{
		Kind:         p.Kind,
		URLs:         []string{p.LDAPS},
		CAFile:       p.CAFile,
		Base:         p.Base,
		BindDN:       p.BindDN,
		BindPassword: p.BindPassword,
		KeyAttribute: p.KeyAttribute,
		KeyChange:    "service",
	}
}

// open opens a client for the time of a test.
func open(t testing.TB, s ldap.Settings) *ldap.Client {
	t.Helper()
	log := hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug})
	c, err := ldap.Open(s, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func person(name string) directorytest.Person {
	return directorytest.Person{Name: name, Password: peers.Password(name)}
}

// proved is a person whose state the server reports only after the right
// password.
func proved(name string) directorytest.Person {
	p := person(name)
	p.Proved = true
	return p
}

// lockedPerson is a person whose lock the server reports to everybody.
func lockedPerson(name string) directorytest.Person {
	p := person(name)
	p.WrongIs = directory.ErrLocked
	return p
}

func outage(p *peers.Peer) func(t *testing.T) func() {
	return func(t *testing.T) func() {
		p.Kill()
		return func() {
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	openLDAPSuite(p, c).Run(t)
}

func openLDAPSuite(p *peers.Peer, c directory.Directory) directorytest.Suite {
	alice := person("alice")
	alice.Groups = []string{"inner (direct)", "middle (nested)", "outer (nested)", "posix (memberUid)", "unique (direct)"}
	alice.Keys, alice.Notes = 2, 1
	bob := person("bob")
	bob.Groups = []string{"middle (direct)", "outer (nested)"}
	ended := lockedPerson("ended") // slapd has one word for both
	ended.RightIs = directory.ErrLocked
	return directorytest.Suite{
		New:    func(*testing.T) directory.Directory { return c },
		Active: []directorytest.Person{alice, bob, person("jörg"), person("wasLocked")},
		States: map[directory.Status]directorytest.Person{
			directory.StatusLocked:          lockedPerson("locked"),
			directory.StatusExpired:         ended,
			directory.StatusPasswordExpired: proved("pwexpired"),
			directory.StatusMustChange:      proved("mustchange"),
		},
		Changer:     person("carol"),
		MustChange:  person("mustchange"),
		Expired:     person("pwexpired"),
		NewPassword: "N3w-Passw0rd!",
		Refused: map[string]error{
			"Sh0rt-": directory.ErrPasswordTooShort,
		},
		Forbidden: map[string]directorytest.Forbidden{
			"locked":      {Person: person("locked"), Why: directory.ErrLocked},
			"adminlocked": {Person: person("adminlocked"), Why: directory.ErrLocked},
			"too young":   {Person: person("minage"), Why: directory.ErrPasswordTooYoung},
			"not allowed": {Person: person("nochange"), Why: directory.ErrChangeForbidden},
		},
		NoKeysFor: []directorytest.Person{person("locked"), person("adminlocked")},
		Cannot: map[string]string{
			"States/disabled":      "OpenLDAP only locks",
			"States/outside_hours": "OpenLDAP knows no hours",
		},
		Outage: outage(p),
	}
}

func TestSambaAD(t *testing.T) {
	p := peers.Samba(t)
	c := open(t, settings(p))
	alice := person("alice")
	alice.Spellings = []string{"alice@ad.example.test", `EXAMPLE\alice`, `example\ALICE`}
	alice.Groups = []string{"Domain Users (primary)", "Users (nested)", "inner (direct)", "middle (nested)", "outer (nested)"}
	alice.Keys, alice.Notes = 2, 1
	bob := person("bob")
	bob.Groups = []string{"Domain Users (direct)", "Users (nested)", "middle (direct)", "outer (nested)", "primary (primary)"}
	joerg := person("jörg")
	joerg.Groups = []string{"Domain Users (primary)", "Users (nested)"}
	directorytest.Suite{
		New:    func(*testing.T) directory.Directory { return c },
		Active: []directorytest.Person{alice, bob, joerg},
		States: map[directory.Status]directorytest.Person{
			directory.StatusDisabled:        proved("disabled"),
			directory.StatusLocked:          lockedPerson("locked"),
			directory.StatusExpired:         proved("ended"),
			directory.StatusOutsideHours:    proved("nohours"),
			directory.StatusPasswordExpired: proved("pwexpired"),
			directory.StatusMustChange:      proved("mustchange"),
		},
		Changer:     person("carol"),
		MustChange:  person("mustchange"),
		Expired:     person("pwexpired"),
		NewPassword: "N3w-Passw0rd!",
		Refused: map[string]error{
			"Sh0rt-":        directory.ErrPasswordTooShort,
			"lowercaseonly": directory.ErrPasswordWeak,
		},
		Forbidden: map[string]directorytest.Forbidden{
			"locked":    {Person: person("locked"), Why: directory.ErrLocked},
			"disabled":  {Person: person("disabled"), Why: directory.ErrDisabled},
			"ended":     {Person: person("ended"), Why: directory.ErrExpired},
			"too young": {Person: person("minage"), Why: directory.ErrPasswordTooYoung},
		},
		NoKeysFor: []directorytest.Person{person("disabled"), person("locked")},
		Outage:    outage(p),
	}.Run(t)
}

func TestDS389(t *testing.T) {
	p := peers.DS389(t)
	c := open(t, settings(p))
	alice := person("alice")
	alice.Groups = []string{"inner (direct)", "middle (nested)"}
	alice.Keys, alice.Notes = 2, 1
	disabled := person("disabled") // which the server reports to everybody
	disabled.WrongIs = directory.ErrDisabled
	bob := person("bob")
	bob.Groups = []string{"middle (direct)"}
	directorytest.Suite{
		New:    func(*testing.T) directory.Directory { return c },
		Active: []directorytest.Person{alice, bob},
		States: map[directory.Status]directorytest.Person{
			directory.StatusDisabled:        disabled,
			directory.StatusLocked:          lockedPerson("locked"),
			directory.StatusPasswordExpired: proved("pwexpired"),
			directory.StatusMustChange:      proved("mustchange"),
		},
		Changer:     person("carol"),
		MustChange:  person("mustchange"),
		NewPassword: "N3w-Passw0rd!",
		Refused: map[string]error{
			"Sh0rt-": directory.ErrPasswordWeak, // it does not say more
		},
		Forbidden: map[string]directorytest.Forbidden{
			"locked":   {Person: person("locked"), Why: directory.ErrLocked},
			"disabled": {Person: person("disabled"), Why: directory.ErrDisabled},
		},
		NoKeysFor: []directorytest.Person{person("disabled"), person("locked")},
		Cannot: map[string]string{
			"States/expired":       "389 DS has no end of an account in an entry",
			"States/outside_hours": "389 DS knows no hours",
			"History":              "389 DS says of the same password only that it will not have it",
			"ChangeExpired":        "with passwordMustChange a change by the service account asks for another one",
		},
		Outage: outage(p),
	}.Run(t)

	u, err := c.Lookup(t.Context(), "pwexpired")
	if err != nil {
		t.Fatal(err)
	}
	for i, new := range []string{"F1rst-Passw0rd", "Sec0nd-Passw0rd"} {
		old := []string{peers.Password("pwexpired"), "F1rst-Passw0rd"}[i]
		if err := c.ChangePassword(t.Context(), u, old, new); err != nil {
			t.Errorf("change %d of an expired password = %v, want nil", i, err)
		}
	}
	if err := c.Authenticate(t.Context(), u, "Sec0nd-Passw0rd"); err != nil {
		t.Errorf("Authenticate after both = %v, want nil", err)
	}
}
