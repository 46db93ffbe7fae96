package ldap

import (
	"strings"
	"testing"
	"time"
)

func TestAttributeRights(t *testing.T) {
	tests := []struct{ list, attribute, want, err string }{
		{"mail:rsc, memberOf:none, userPassword:wo", "mail", "rsc", ""},
		{"mail:rsc, memberOf:none, userPassword:wo", "memberof", "", ""},
		{"mail:rsc, userPassword:wo", "userPassword", "wo", ""},
		{"usermail:w", "mail", "", "does not tell"},
		{"", "mail", "", "does not tell"},
		{"mail", "mail", "", ""},
	}
	for _, tt := range tests {
		got, err := attributeRights(tt.list, tt.attribute)
		if got != tt.want || (err != nil) != (tt.err != "") {
			t.Errorf("attributeRights(%q, %s) = %q, %v; want %q, error %q", tt.list, tt.attribute, got, err, tt.want, tt.err)
		}
	}
}

// TestClockSkew compares a server's time with the client's clock.
func TestClockSkew(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		0: "ok differs by 0s", 29 * time.Second: "ok differs by 29s", 2 * time.Minute: "warning differs by 2m0s", -time.Hour: "warning differs by 1h0m0s",
	} {
		c := testClient(Settings{})
		c.now = func() time.Time { return noon }
		r := reporter{c: c}
		r.clock(&server{url: "ldaps://dc1"}, noon.Add(skew))
		if got := r.findings[0].Level.String() + " " + r.findings[0].Detail; !strings.HasPrefix(got, want) {
			t.Errorf("skew of %v: got %q, want %q", skew, got, want)
		}
	}
}
