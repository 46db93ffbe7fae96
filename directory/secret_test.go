package directory

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestSecretsAreNotShown prints a user in all ways that anybody may come to.
func TestSecretsAreNotShown(t *testing.T) {
	u := &User{Name: "alice", TOTP: []Secret{NewSecret("JBSWY3DP")}}
	if got := Reveal(u.TOTP); len(got) != 1 || got[0] != "JBSWY3DP" {
		t.Errorf("Reveal = %q", got)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", u, u.TOTP)
		fmt.Fprintf(&out, verb+"\n", *u)
	}
	text, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	hclog.New(&hclog.LoggerOptions{Output: &out}).Info("user", "user", u, "totp", u.TOTP, "one", u.TOTP[0])
	slog.New(slog.NewTextHandler(&out, nil)).Info("user", "user", u, "one", u.TOTP[0])
	if got := out.String(); strings.Contains(got, "JBSW") || strings.Contains(got, "4a425357") || !strings.Contains(got, "(secret)") {
		t.Errorf("printed as\n%s", got)
	}
}
