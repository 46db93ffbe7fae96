package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestEncoder: nothing in the JSON can drive a terminal or disguise a name, and the values
// are the same.
func TestEncoder(t *testing.T) {
	want := map[string]string{"a": "\x1b[2J\u009b2J\x7f\u202efdp.exe\u00ad\u2028\U000e0041", "é": "日本 \U0001f600 \\u009b \ufffd"}
	var b strings.Builder
	e := NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(want); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U is in %q", r, b.String())
		}
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%q: got %q, want %q", k, got[k], v)
		}
	}
	for _, readable := range []string{"日本 \U0001f600", "é"} {
		if !strings.Contains(b.String(), readable) {
			t.Errorf("%q is not in %s", readable, b.String())
		}
	}
}
