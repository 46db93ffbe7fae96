package ldap_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// keyLine returns a new key as a line, and its fingerprint.
func keyLine(t *testing.T) (line, fingerprint string) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), ssh.FingerprintSHA256(key)
}

// stored reads an attribute as the server has it, and writes values to it if
// there are any.
func stored(t *testing.T, p *peers.Peer, binddn, password, dn, attribute string, values ...string) []string {
	t.Helper()
	cn, err := goldap.DialURL(p.LDAPS, goldap.DialWithTLSConfig(&tls.Config{InsecureSkipVerify: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer cn.Close()
	if err := cn.Bind(binddn, password); err != nil {
		t.Fatal(err)
	}
	if len(values) > 0 {
		req := goldap.NewModifyRequest(dn, nil)
		req.Replace(attribute, values)
		if err := cn.Modify(req); err != nil {
			t.Fatal(err)
		}
	}
	res, err := cn.Search(goldap.NewSearchRequest(dn, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	if err != nil {
		t.Fatal(err)
	}
	got := res.Entries[0].GetAttributeValues(attribute)
	slices.Sort(got)
	return got
}

// TestMaxKeysAtOnce adds keys over many connections at once.
func TestMaxKeysAtOnce(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.MaxKeys = 5
	c := open(t, s)
	u := find(t, c, "bob")
	var wg sync.WaitGroup
	for range 20 {
		line, _ := keyLine(t)
		wg.Go(func() {
			if err := c.AddKey(t.Context(), u, line); err != nil && !errors.Is(err, directory.ErrTooManyKeys) {
				t.Errorf("AddKey = %v, want nil or ErrTooManyKeys", err)
			}
		})
	}
	wg.Wait()
	if n := len(find(t, c, "bob").Keys); n != s.MaxKeys {
		t.Errorf("%d keys, want %d", n, s.MaxKeys)
	}
}

// TestKeyValuesAreKept removes a key from values that hold other keys, too.
// The rest of each value stays the same, to the byte.
func TestKeyValuesAreKept(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	a, fingerprint := keyLine(t)
	b, _ := keyLine(t)
	d, _ := keyLine(t)
	u, err := c.Lookup(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	admin := func(values ...string) []string {
		return stored(t, p, "cn=admin,dc=example,dc=test", peers.Password("admin"), u.DN, "sshPublicKey", values...)
	}
	admin(d+" alone\r\n", "# work\r\n"+b+" bob\r\n"+a+" old\r\n\r\n", `from="10.0.0.1" `+a, "junk  ")
	if err := c.RemoveKey(t.Context(), u, fingerprint); err != nil {
		t.Fatal(err)
	}
	want := []string{d + " alone\r\n", "# work\r\n" + b + " bob\r\n\r\n", "junk  "}
	slices.Sort(want)
	if got := admin(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestKeysWithPrefix adds and removes keys whose values begin with a prefix, in any
// case. Values without it are not touched.
func TestKeysWithPrefix(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.KeyPrefix = "SSHKey:"
	c := open(t, s)
	a, fingerprint := keyLine(t)
	b, _ := keyLine(t)
	d, _ := keyLine(t)
	u := find(t, c, "bob")
	admin := func(values ...string) []string {
		return stored(t, p, "cn=admin,dc=example,dc=test", peers.Password("admin"), u.DN, "sshPublicKey", values...)
	}
	admin("sshkey:"+a+"\n"+b, a)
	if err := c.AddKey(t.Context(), u, d); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveKey(t.Context(), u, fingerprint); err != nil {
		t.Fatal(err)
	}
	want := []string{"SSHKey:" + d, "sshkey:" + b, a}
	slices.Sort(want)
	if got := admin(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeysAreLimited(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.MaxKeys = 3 // alice has two, and a value that cannot be used
	c := open(t, s)
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	line, _ := keyLine(t)
	if err := c.AddKey(t.Context(), u, line); !errors.Is(err, directory.ErrTooManyKeys) || !directory.Refused(err) {
		t.Errorf("AddKey = %v, want ErrTooManyKeys", err)
	}
}

// TestWhoMayNotChangeKeys: the settings or the server say no.
func TestWhoMayNotChangeKeys(t *testing.T) {
	p := peers.OpenLDAP(t)
	line, fingerprint := keyLine(t)
	for name, edit := range map[string]func(*ldap.Settings){
		"key_change: none": func(s *ldap.Settings) { s.KeyChange = "none" },
		"result 50": func(s *ldap.Settings) {
			s.BindDN, s.BindPassword = "cn=reader,ou=services,"+p.Base, peers.Password("reader")
		},
		"result 65": func(s *ldap.Settings) { s.KeyClass = "none" }, // jörg's entry may not hold keys
	} {
		s := settings(p)
		edit(&s)
		c := open(t, s)
		u, err := c.Lookup(t.Context(), "jörg")
		if err != nil {
			t.Fatal(err)
		}
		err = c.AddKey(t.Context(), u, line)
		if !errors.Is(err, directory.ErrKeyForbidden) || !directory.Refused(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: AddKey = %v, want ErrKeyForbidden", name, err)
		}
		if err := c.RemoveKey(t.Context(), u, fingerprint); !directory.Refused(err) {
			t.Errorf("%s: RemoveKey = %v, want a refusal", name, err)
		}
	}
	c := open(t, settings(p))
	u, err := c.Lookup(t.Context(), "jörg")
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := c.AddKey(t.Context(), u, line); err == nil || directory.Refused(err) {
		t.Errorf("AddKey without a server = %v, want an error that is no refusal", err)
	}
}

// TestSambaKeysWithPrefix writes to altSecurityIdentities, which holds more than
// keys.
func TestSambaKeysWithPrefix(t *testing.T) {
	p := peers.Samba(t)
	s := settings(p)
	s.KeyAttribute = ""
	c := open(t, s)
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	values := func() []string { return stored(t, p, s.BindDN, s.BindPassword, u.DN, "altSecurityIdentities") }
	before := values()
	line, fingerprint := keyLine(t)
	if err := c.AddKey(t.Context(), u, line+" new"); err != nil {
		t.Fatal(err)
	}
	if got := values(); len(got) != len(before)+1 || !slices.Contains(got, "SSHKey:"+line+" new") {
		t.Errorf("got %q, want SSHKey:%s besides %q", got, line, before)
	}
	if u, err := c.Lookup(t.Context(), "alice"); err != nil || len(u.Keys) != 2 {
		t.Errorf("Lookup = %v, %v; want 2 keys", u, err)
	}
	if err := c.RemoveKey(t.Context(), u, fingerprint); err != nil {
		t.Fatal(err)
	}
	if got := values(); !slices.Equal(got, before) {
		t.Errorf("got %q, want %q as before", got, before)
	}
}
