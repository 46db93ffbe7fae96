package directory

import (
	"reflect"
	"strings"
	"testing"
)

func TestSameDN(t *testing.T) {
	same := [][]string{
		{"CN=Finance,OU=Groups,DC=corp,DC=example", "cn=finance,ou=groups,dc=corp,dc=example", " CN = Finance , OU=Groups,dc=CORP ,dc= example ", "cn=finance;ou=groups;dc=corp;dc=example"},
		{`cn=a\,b,dc=x`, `cn=a\2cb,dc=x`, `cn="a,b",dc=x`, `CN="a\2Cb" ,dc=x`},
		{"cn=a+sn=b,dc=x", "sn=b+cn=a,dc=x", "SN=B + CN=A, dc=x", `sn="b"+cn=a,dc=x`},
		{"cn=Bücher,dc=x", `cn=B\c3\bccher,dc=x`, "CN=BÜCHER,DC=X", "cn=Bu\u0308cher,dc=x"},
		{"cn=a b,dc=x", "cn=a   b,dc=x", `cn=\20a b\20,dc=x`, `cn=a b\ ,dc=x`, `cn=" a b ",dc=x`, "cn=a\u00a0b,dc=x"},
		{"cn=a=b,dc=x", `cn=a\=b,dc=x`},
		{`cn=\#1,dc=x`, `cn=\231,dc=x`, "cn=#1,dc=x"},
		{"cn=Hi,dc=x", "cn=#04024869,dc=x"},
		{`cn=\#04024869,dc=x`, `cn=\2304024869,dc=x`},
		{"cn=a<b>,dc=x", `cn=a\<b\>,dc=x`},
		{"cn=a", "CN=A"},
		{`cn=a\+sn\=b,dc=x`},
		{`cn=a\,dc\=x`},
		{""},
	}
	seen := map[string]string{}
	for _, dns := range same {
		want, err := ParseDN(dns[0])
		if err != nil {
			t.Errorf("ParseDN(%q): %v", dns[0], err)
		}
		if other, ok := seen[want.Key()]; ok {
			t.Errorf("%q and %q are one DN, want two", dns[0], other)
		}
		seen[want.Key()] = dns[0]
		for _, s := range dns {
			if got, err := ParseDN(s); !got.Equal(want) || err != nil || got.String() != s || DNOf(s) != got {
				t.Errorf("ParseDN(%q) = %q, %v; want %q", s, got.Key(), err, want.Key())
			}
		}
	}
}

func TestBadDN(t *testing.T) {
	for _, s := range []string{
		"finance", ",", "cn=", "=x", "cn=a,", "cn=a,,dc=x", ",cn=a", "cn=a,b", "cn=a+,dc=x", "cn=a+", `cn=a\`, `cn=a\zz`, `cn="a`, `cn="a"b`,
		"cn=a\x00", `cn=\00`, `cn=\ff`, `cn=a"b`, "a,cn=b", " ,cn=a", "cn= ,dc=x", `cn=\20,dc=x`, "c n=a", " ", "cn=#040100",
	} {
		if got, err := ParseDN(s); err == nil {
			t.Errorf("ParseDN(%q) = %q, want an error", s, got.Key())
		}
		d := DNOf(s)
		if d.String() != s || !d.Equal(DNOf(strings.ToUpper(s))) || d.IsZero() || len(d.Own()) > 0 && d.Own()[0].Name != "cn" || d.Within(DNOf("dc=x")) {
			t.Errorf("DNOf(%q) = %q; want a name of its own", s, d.Key())
		}
	}
	if DNOf(`cn="x`).Equal(DNOf(`cn=\"x`)) {
		t.Error("what is not a DN is equal to a DN")
	}
}

func TestPartsOfDN(t *testing.T) {
	d := DNOf(`CN=Archer\, Alice\ +UID=A1 , OU = "a,b";DC=Org`)
	if got, want := d.Own(), []Pair{{"CN", "Archer, Alice "}, {"UID", "A1"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("Own = %q, want %q", got, want)
	}
	if got, want := d.RDNs(), []string{"cn=archer, alice+uid=a1", "ou=a,b", "dc=org"}; !reflect.DeepEqual(got, want) {
		t.Errorf("RDNs = %q, want %q", got, want)
	}
	var above []string
	for p := d.Parent(); !p.IsZero(); p = p.Parent() {
		above = append(above, p.String())
		if again := DNOf(p.String()); again != p {
			t.Errorf("parent %q has the key %q, want %q", p, p.Key(), again.Key())
		}
	}
	if want := []string{`OU = "a,b";DC=Org`, "DC=Org"}; !reflect.DeepEqual(above, want) {
		t.Errorf("parents = %q, want %q", above, want)
	}
	if got := (DN{}).RDNs(); len(got) != 0 {
		t.Errorf("RDNs of the empty name = %q, want none", got)
	}
}

func TestWithin(t *testing.T) {
	tests := []struct {
		dn, base string
		want     bool
	}{
		{"uid=a,dc=org", "DC=Org", true},
		{"dc=org", "dc=org", true},
		{"dc=org", "uid=a,dc=org", false},
		{"uid=a,cdc=org", "dc=org", false},
		{`uid=a\,dc\=org`, "dc=org", false},
		{"uid=a", "", true},
		{"", "uid=a", false},
	}
	for _, tt := range tests {
		if got := DNOf(tt.dn).Within(DNOf(tt.base)); got != tt.want {
			t.Errorf("%q within %q: got %t, want %t", tt.dn, tt.base, got, tt.want)
		}
	}
}

// FuzzDN holds that a key is one spelling of its name: no value can hold what
// separates the parts.
func FuzzDN(f *testing.F) {
	for _, seed := range []string{"CN=Finance,DC=x", `cn=a\,b+sn="c;d" ,dc=x`, "cn=a  b = c,dc=ä", `cn=\00,dc=x`, "#=#", "cn=#040141", `cn="a" ;o=\ `} {
		f.Add(seed)
	}
	escape := strings.NewReplacer(`"`, `\22`, ";", `\3b`, "#", `\23`)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDN(s)
		if err != nil {
			return
		}
		if again, err := ParseDN(escape.Replace(d.Key())); err != nil || !again.Equal(d) {
			t.Errorf("%q has the key %q, which reads as %q, %v", s, d.Key(), again.Key(), err)
		}
		if p := d.Parent(); !d.Within(p) || !p.Equal(DNOf(p.String())) {
			t.Errorf("parent of %q is %q (%q)", s, p, p.Key())
		}
	})
}

func BenchmarkParseDN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDN("CN=Group 123,OU=Groups,DC=corp,DC=example"); err != nil {
			b.Fatal(err)
		}
	}
}
