package policy

import (
	"strings"
	"testing"
)

func TestNormalDN(t *testing.T) {
	same := [][]string{
		{"CN=Finance,OU=Groups,DC=corp,DC=example", "cn=finance,ou=groups,dc=corp,dc=example", " CN = Finance , OU=Groups,dc=CORP ,dc= example "},
		{`cn=a\,b,dc=x`, `cn=a\2cb,dc=x`, `cn="a,b",dc=x`, `CN="a\2Cb" ,dc=x`},
		{"cn=a+sn=b,dc=x", "sn=b+cn=a,dc=x", "SN=B + CN=A, dc=x"},
		{"cn=Bücher,dc=x", `cn=B\c3\bccher,dc=x`, "CN=BÜCHER,DC=X"},
		{"cn=a b,dc=x", "cn=a   b,dc=x", `cn=\20a b\20,dc=x`},
		{"cn=a=b,dc=x", `cn=a\=b,dc=x`},
		{`cn=\#1,dc=x`, `cn=\231,dc=x`},
	}
	seen := map[string]string{}
	for _, dns := range same {
		want, err := normalDN(dns[0])
		if err != nil {
			t.Errorf("normalDN(%q): %v", dns[0], err)
		}
		if other, ok := seen[want]; ok {
			t.Errorf("%q and %q are one DN, want two", dns[0], other)
		}
		seen[want] = dns[0]
		for _, dn := range dns {
			if got, err := normalDN(dn); got != want || err != nil {
				t.Errorf("normalDN(%q) = %q, %v, want %q", dn, got, err, want)
			}
			if got, ok := appendDN(nil, dn); string(got) != want || !ok {
				t.Errorf("appendDN(%q) = %q, %t, want %q", dn, got, ok, want)
			}
		}
	}
}

func TestBadDN(t *testing.T) {
	for _, dn := range []string{
		"", "finance", ",", "cn=", "=x", "cn=a,", "cn=a,,dc=x", ",cn=a", "cn=a,b", "cn=a+,dc=x", `cn=a\`, `cn=a\zz`, `cn="a`, `cn="a"b`,
		"cn=a\x00", `cn=\00`, `cn=\ff`, "cn=a;dc=x", `cn=a"b`, "a,cn=b", " ,cn=a", "cn= ,dc=x",
	} {
		if got, err := normalDN(dn); err == nil {
			t.Errorf("normalDN(%q) = %q, want an error", dn, got)
		}
		if got, ok := appendDN(nil, dn); ok {
			t.Errorf("appendDN(%q) = %q, true, want false", dn, got)
		}
	}
}

// FuzzDN sees that the fast way and the careful way give the same, and that
// what is compared cannot hold the separators of another name.
func FuzzDN(f *testing.F) {
	for _, seed := range []string{"CN=Finance,DC=x", `cn=a\,b+sn="c;d" ,dc=x`, "cn=a  b = c,dc=ä", `cn=\00,dc=x`, "#=#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		rdns, err := parseDN(dn)
		got, ok := appendDN(nil, dn)
		if ok != (err == nil) {
			t.Fatalf("appendDN(%q) = %q, %t; parseDN: %v", dn, got, ok, err)
		}
		if !ok {
			return
		}
		if want := strings.Join(rdns, "\x00"); string(got) != want {
			t.Errorf("appendDN(%q) = %q, want %q as parseDN", dn, got, want)
		}
		for _, rdn := range rdns {
			if strings.ContainsRune(rdn, endRDN) {
				t.Errorf("parseDN(%q) = %q: holds a separator", dn, rdns)
			}
		}
	})
}
