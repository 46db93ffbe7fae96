package event

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// TestPrintable: what a program writes as JSON drives no terminal, and means the same.
func TestPrintable(t *testing.T) {
	for _, name := range []string{
		"plain", "Zoë 日本", "csi\u009b31m", "nel\u0085", "turn\u202egpj", "del\x7f", "tag\U000e0041", "two\nlines\x1b[31m", "😀",
	} {
		var text strings.Builder
		e := NewEncoder(&text)
		e.SetIndent("", " ")
		if err := e.Encode(map[string]string{name: name}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(text.String(), "\n", ""), func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q: an invisible character is in %q", name, text.String())
		}
		var got map[string]string
		if err := json.Unmarshal([]byte(text.String()), &got); err != nil || got[name] != name {
			t.Errorf("%q: read back as %q, %v", name, got, err)
		}
	}
}
