package embedded

import "testing"

func TestDNKey(t *testing.T) {
	tests := []struct{ dn, want string }{
		{"", ""},
		{"dc=example,dc=org", "dc=example,dc=org"},
		{"UID=Alice , OU = People,DC=Example", "uid=alice,ou=people,dc=example"},
		{"cn=Alice   B.  Archer", "cn=alice b. archer"},
		{`cn=Archer\, Alice,dc=org`, `cn=archer\2c alice,dc=org`},
		{`cn=Archer\2C Alice,dc=org`, `cn=archer\2c alice,dc=org`},
		{"uid=a+cn=b", "cn=b+uid=a"},
		{"cn=b+uid=a", "cn=b+uid=a"},
		{`cn=J\c3\96RG`, "cn=jörg"},
		{"cn=JÖRG", "cn=jörg"},
		{"cn=a;dc=org", "cn=a,dc=org"},
		{"cn=a=b", `cn=a\3db`},
		{"2.5.4.3=x", "2.5.4.3=x"},
		{`cn=a\ `, "cn=a"},
	}
	for _, tt := range tests {
		got, ok := dnKey(tt.dn)
		if !ok || got != tt.want {
			t.Errorf("dnKey(%q): got %q, %t want %q", tt.dn, got, ok, tt.want)
		}
	}
}

func TestBadDN(t *testing.T) {
	for _, s := range []string{"alice", "=a", "cn=", "cn=a,", ",cn=a", "cn=a,,dc=b", "c n=a", `cn=a\`, `cn=\zz`, `cn="a"`, "cn=a<b", "cn=#04", `cn=\ff`, "cn=a\x00"} {
		if d, err := parseDN(s); err == nil {
			t.Errorf("parseDN(%q): got %q want an error", s, d)
		}
	}
}

func TestWithin(t *testing.T) {
	tests := []struct {
		dn, base string
		want     bool
	}{
		{"uid=a,dc=org", "dc=org", true},
		{"dc=org", "dc=org", true},
		{"dc=org", "uid=a,dc=org", false},
		{"uid=a,cdc=org", "dc=org", false},
		{`uid=a\,dc\=org`, "dc=org", false},
		{"uid=a", "", true},
	}
	for _, tt := range tests {
		dn, _ := dnKey(tt.dn)
		base, _ := dnKey(tt.base)
		if got := within(dn, base); got != tt.want {
			t.Errorf("within(%q, %q): got %t want %t", dn, base, got, tt.want)
		}
	}
}

// FuzzDN wants that a name and the name as it is written again are the same.
func FuzzDN(f *testing.F) {
	for _, s := range []string{"", "uid=a+cn=b,dc=org", `cn=\20\23 a\,b\\\"\+ ,dc=\c3\96`, "cn=a;o=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDN(s)
		if err != nil {
			return
		}
		again, err := parseDN(d.String())
		if err != nil {
			t.Fatalf("%q is written as %q: %v", s, d, err)
		}
		if got, want := again.key(), d.key(); got != want {
			t.Errorf("%q is written as %q: got key %q want %q", s, d, got, want)
		}
	})
}
