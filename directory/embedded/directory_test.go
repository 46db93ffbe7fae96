package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"berth/directory"
	"berth/directory/directorytest"
	"berth/directory/embedded"
	"berth/directory/ldap"
)

const (
	right = "right-password"
)

// everyone are people in every state, added to the example's.
const everyone = `

dn: uid=locked,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: locked
userPassword: right-password
pwdAccountLockedTime: 000001010000Z

dn: uid=over,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: over
userPassword: right-password
pwdEndTime: 20200101000000Z

dn: uid=mustchange,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: mustchange
userPassword: right-password
pwdReset: TRUE

dn: uid=changer,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: changer
userPassword: right-password
`

// TestReadOnly has a file that cannot be written. A person learns that the change
// cannot be stored now, not that it is not allowed.
func TestReadOnly(t *testing.T) {
	example, err := os.ReadFile("testdata/people.ldif")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "people.ldif")
	if err := os.WriteFile(file, example, 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Open(embedded.Settings{LDIF: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dn, secret := server.Service()
	c, err := ldap.OpenLocal(ldap.Settings{
		Kind: "embedded", KeyChange: "service", Base: server.Base(), BindDN: dn, BindPassword: secret, RequestTimeout: time.Minute,
	}, server.Dial, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	bob, err := c.Lookup(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil { // works for root too
		t.Fatal(err)
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1pEn8ZrUlTsCFAyTslGOfgn3lY9Tes2fQBcYuDOYeB new"
	for what, err := range map[string]error{
		"ChangePassword": c.ChangePassword(t.Context(), bob, "bob-demo-1", "bob-demo-2"),
		"AddKey":         c.AddKey(t.Context(), bob, key),
	} {
		if !errors.Is(err, directory.ErrNotStored) || !directory.Refused(err) {
			t.Errorf("%s = %v, want a refusal with ErrNotStored", what, err)
		}
	}
	if err := c.Authenticate(t.Context(), bob, "bob-demo-1"); err != nil {
		t.Errorf("Authenticate with the old password = %v, want nil", err)
	}
}

// TestDirectory runs the suite that every directory passes, through the client
// that every directory is reached by.
func TestDirectory(t *testing.T) {
	example, err := os.ReadFile("testdata/people.ldif")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "people.ldif")
	if err := os.WriteFile(file, append(example, everyone...), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Open(embedded.Settings{LDIF: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })

	line := &line{server: server}
	dn, secret := server.Service()
	client, err := ldap.OpenLocal(ldap.Settings{
		Kind: "embedded", KeyChange: "service", Base: server.Base(), BindDN: dn, BindPassword: secret,
		ConnectTimeout: time.Minute, RequestTimeout: time.Minute, // hashing takes long on a busy machine
	}, line.dial, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })

	suite := directorytest.Suite{
		New: func(*testing.T) directory.Directory { return client },
		Active: []directorytest.Person{
			{Name: "alice", Password: "alice-demo-1", Spellings: []string{"Alice"}, Keys: 1, Groups: []string{"everyone (nested)", "finance (direct)", "printing (memberUid)", "staff (direct)"}},
			{Name: "carol", Password: "carol-demo-1", Groups: []string{"partners (direct)"}},
			{Name: "mallory", Password: "mallory-demo-1"},
		},
		States: map[directory.Status]directorytest.Person{
			directory.StatusDisabled:   {Name: "dave", Password: "dave-demo-1"},
			directory.StatusLocked:     {Name: "locked", Password: right, WrongIs: directory.ErrLocked},
			directory.StatusExpired:    {Name: "over", Password: right, RightIs: directory.ErrLocked, WrongIs: directory.ErrLocked},
			directory.StatusMustChange: {Name: "erin", Password: "erin-demo-1", Proved: true},
		},
		Changer:     directorytest.Person{Name: "changer", Password: right},
		MustChange:  directorytest.Person{Name: "mustchange", Password: right},
		NewPassword: "another-password",
		Refused: map[string]error{
			"short":          directory.ErrPasswordTooShort,
			"with-control\a": directory.ErrPasswordWeak,
		},
		Forbidden: map[string]directorytest.Forbidden{
			"disabled": {Person: directorytest.Person{Name: "dave", Password: "dave-demo-1"}, Why: directory.ErrDisabled},
			"locked":   {Person: directorytest.Person{Name: "locked", Password: right}, Why: directory.ErrLocked},
		},
		NoKeysFor: []directorytest.Person{{Name: "dave"}, {Name: "locked"}},
		Cannot: map[string]string{
			"States/outside_hours":    "it has no logon hours",
			"States/password_expired": "its passwords do not expire",
			"ChangeExpired":           "its passwords do not expire",
		},
		Outage: func(*testing.T) func() { return line.cut() },
	}
	suite.Run(t)
}

// A line is connections to a server that can be cut.
type line struct {
	server *embedded.Server
	mu     sync.Mutex
	open   []net.Conn
	down   bool
}

func (l *line) dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, net.ErrClosed
	}
	nc, err := l.server.Dial(ctx)
	l.open = append(l.open, nc)
	return nc, err
}

func (l *line) cut() (mend func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, nc := range l.open {
		nc.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.down = false
	}
}
