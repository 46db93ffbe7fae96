package login

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"alice": true, "CORP\\alice": true, "alice@corp.example": true, "jörg": true, "o'neil": true, "*": true,
		"": false, " alice": false, "alice ": false, "alice\x00": false, "al\nice": false, strings.Repeat("a", 257): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%q) = %v, want allowed: %t", name, err, ok)
		}
	}
}
