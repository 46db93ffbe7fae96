package embedded

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/directory"

	"github.com/go-ldap/ldap/v3"
)

// states are people in every state that an account can be in.
const states = org + `dn: ou=people,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=active,ou=people,dc=org
objectClass: person
uid: active
userPassword: right-password

dn: uid=disabled,ou=people,dc=org
objectClass: person
uid: disabled
userPassword: right-password
nsAccountLock: true

dn: uid=locked,ou=people,dc=org
objectClass: person
uid: locked
userPassword: right-password
pwdAccountLockedTime: 000001010000Z

dn: uid=lockedtoo,ou=people,dc=org
objectClass: person
uid: lockedtoo
userPassword: right-password
pwdAccountLockedTime: 00000101000000Z

dn: uid=unlocked,ou=people,dc=org
objectClass: person
uid: unlocked
userPassword: right-password
pwdAccountLockedTime: 20200101000000Z
pwdFailureTime: 20200101000000.000001Z

dn: uid=mustchange,ou=people,dc=org
objectClass: person
uid: mustchange
userPassword: right-password
pwdReset: TRUE

dn: uid=old,ou=people,dc=org
objectClass: person
uid: old
userPassword: right-password
pwdChangedTime: 20200101000000Z

dn: uid=over,ou=people,dc=org
objectClass: person
uid: over
userPassword: right-password
pwdEndTime: 20200101000000Z

dn: uid=ahead,ou=people,dc=org
objectClass: person
uid: ahead
userPassword: right-password
pwdStartTime: 29990101000000Z

dn: uid=nopassword,ou=people,dc=org
objectClass: person
uid: nopassword
`

func person(uid string) string { return "uid=" + uid + ",ou=people,dc=org" }

// openStates serves states under a policy with all rules.
func openStates(t *testing.T) *Server {
	t.Helper()
	p := DefaultPolicy()
	p.MaxFailure = 3
	p.LockoutDuration = time.Hour
	return open(t, Settings{LDIF: writeLDIF(t, states), Policy: p})
}

func TestBind(t *testing.T) {
	s := openStates(t)
	const right, wrong = "right-password", "wrong-password"
	tests := []struct {
		dn, password string
		want         outcome
	}{
		{serviceDN, s.password, fine},
		{"CN = Berth", s.password, fine},
		{serviceDN + "," + base, s.password, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{serviceDN, wrong, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("active"), right, fine},
		{strings.ToUpper(person("active")), right, fine},
		{person("active"), wrong, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("disabled"), right, outcome{ldap.LDAPResultUnwillingToPerform, 1}},
		{person("disabled"), wrong, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("locked"), right, outcome{ldap.LDAPResultInvalidCredentials, 1}},
		{person("locked"), wrong, outcome{ldap.LDAPResultInvalidCredentials, 1}},
		{person("lockedtoo"), right, outcome{ldap.LDAPResultInvalidCredentials, 1}},
		{person("unlocked"), right, fine},
		{person("mustchange"), right, outcome{ldap.LDAPResultSuccess, 2}},
		{person("mustchange"), wrong, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("old"), right, fine}, // passwords do not expire
		{person("old"), wrong, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("over"), right, outcome{ldap.LDAPResultInvalidCredentials, 1}},
		{person("ahead"), right, outcome{ldap.LDAPResultInvalidCredentials, 1}},
		{person("nopassword"), right, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{person("nobody"), right, outcome{ldap.LDAPResultInvalidCredentials, -1}},
		{"active", right, outcome{ldap.LDAPResultInvalidDNSyntax, -1}},
		{"", right, outcome{ldap.LDAPResultInvalidCredentials, -1}},
	}
	c := dial(t, s)
	for _, tt := range tests {
		if got, _ := tryBind(c, tt.dn, tt.password); got != tt.want {
			t.Errorf("bind as %q with %q: got %+v want %+v", tt.dn, tt.password, got, tt.want)
		}
	}
}

// TestEmptyPassword checks that a bind with a name and no password is refused:
// it proves nothing (RFC 4513, section 5.1.2).
func TestEmptyPassword(t *testing.T) {
	s := open(t, Settings{})
	_, err := dial(t, s).SimpleBind(&ldap.SimpleBindRequest{Username: alice, AllowEmptyPassword: true})
	if got := codeOf(err); got != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("got code %d (%v) want 53", got, err)
	}
	if err := dial(t, s).UnauthenticatedBind(""); err != nil {
		t.Errorf("anonymous: got %v want no error", err)
	}
}

// TestFailedBind checks that a connection is anonymous after a bind that
// failed.
func TestFailedBind(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, alice, "alice-demo-1")
	if err := c.Bind(alice, "wrong"); err == nil {
		t.Fatal("wrong password: got no error")
	}
	_, err := c.Search(ldap.NewSearchRequest(alice, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	if codeOf(err) != ldap.LDAPResultInsufficientAccessRights {
		t.Errorf("search: got %v want code 50", err)
	}
}

// TestLockout checks that exactly MaxFailure wrong passwords lock an account,
// that the lock ends, and that wrong passwords are forgotten.
func TestLockout(t *testing.T) {
	s := openStates(t)
	var offset time.Duration
	start := time.Now()
	s.now = func() time.Time { return start.Add(offset) }
	c := dial(t, s)
	try := func(password string, want outcome) {
		t.Helper()
		if got, _ := tryBind(c, person("active"), password); got != want {
			t.Errorf("after %v, %q: got %+v want %+v", offset, password, got, want)
		}
	}
	wrong := outcome{ldap.LDAPResultInvalidCredentials, -1}
	locked := outcome{ldap.LDAPResultInvalidCredentials, 1}

	try("wrong-1", wrong)
	try("wrong-2", wrong)
	try("right-password", fine) // forgets the two
	try("wrong-1", wrong)
	try("wrong-2", wrong)
	offset = 16 * time.Minute // FailureWindow forgets them
	try("wrong-1", wrong)
	try("wrong-2", wrong)
	try("wrong-3", wrong)
	try("wrong-4", locked)
	try("right-password", locked)

	service := asService(t, s)
	if got := len(attribute(t, service, person("active"), "pwdFailureTime")); got != 3 {
		t.Errorf("pwdFailureTime: got %d values want 3", got)
	}
	if got := attribute(t, service, person("active"), "pwdAccountLockedTime"); len(got) != 1 || got[0] != formatTime(s.now()) {
		t.Errorf("pwdAccountLockedTime: got %q want %s", got, formatTime(s.now()))
	}
	offset += time.Hour
	try("wrong-1", wrong) // the lock has run out, and this is the first of three
	try("right-password", fine)
	if got := attribute(t, service, person("active"), "pwdAccountLockedTime"); got != nil {
		t.Errorf("pwdAccountLockedTime after a login: got %q want none", got)
	}
}

// TestGuessesAtOnce checks that wrong passwords at the same time are counted
// one by one. Otherwise many connections could try more than MaxFailure
// passwords.
func TestGuessesAtOnce(t *testing.T) {
	s := openStates(t)
	var mu sync.Mutex
	counts := map[outcome]int{}
	var guesses sync.WaitGroup
	for range 12 {
		c := dial(t, s)
		guesses.Go(func() {
			got, _ := tryBind(c, person("active"), "wrong")
			mu.Lock()
			defer mu.Unlock()
			counts[got]++
		})
	}
	guesses.Wait()
	if got := counts[outcome{ldap.LDAPResultInvalidCredentials, -1}]; got != 3 {
		t.Errorf("passwords looked at: got %d want 3 (%v)", got, counts)
	}
	if got := counts[outcome{ldap.LDAPResultInvalidCredentials, 1}]; got != 9 {
		t.Errorf("answers that it is locked: got %d want 9 (%v)", got, counts)
	}
}

// TestDisabledMeanwhile checks that a bound user becomes anonymous when the
// account is disabled.
func TestDisabledMeanwhile(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, alice, "alice-demo-1")
	edit(t, s, "uid: alice\n", "uid: alice\nnsAccountLock: TRUE\n")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=bob)", nil, nil))
	if got := codeOf(err); got != ldap.LDAPResultInsufficientAccessRights {
		t.Errorf("search: got code %d want 50", got)
	}
}

// TestBindAtTheEnd checks a right password while the server closes. It is compared with
// nothing, so it must not count as wrong.
func TestBindAtTheEnd(t *testing.T) {
	s := open(t, Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &conn{Server: s}
	for _, password := range []string{"alice-demo-1", "wrong"} {
		if r := c.bindUser(ctx, directory.DNOf(alice).Key(), password); r.code != ldap.LDAPResultUnavailable {
			t.Errorf("bind with %q: got code %d (%s) want %d", password, r.code, r.text, ldap.LDAPResultUnavailable)
		}
	}
	bound(t, s, alice, "alice-demo-1")
}
