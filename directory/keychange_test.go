package directory

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory/rfc4716"
)

func TestWithoutKey(t *testing.T) {
	a, b, c := newKey(t), newKey(t), newKey(t)
	block := func(line string) string {
		return rfc4716.Begin + "\r\nComment: \"x\"\r\n" + strings.Fields(line)[1] + "\r\n" + rfc4716.End + "\r\n"
	}
	tests := []struct{ name, value, want string }{
		{"alone", a, ""},
		{"alone with a comment line and a NUL", "# mine\n" + a + " x\n\x00", ""},
		{"another", b, b},
		{"first", a + "\n" + b, b},
		{"last", b + "\n" + a + "\n", b + "\n"},
		{"twice", a + "\n" + b + "\n" + a, b + "\n"},
		{"with options", "# x\r\n" + b + " bob\r\n" + `from="10.0.0.1" ` + a + " y\r\n\r\n" + c + "\r\n", "# x\r\n" + b + " bob\r\n\r\n" + c + "\r\n"},
		{"unusable", b + "\r" + `command="x" ` + a + "\r" + c, b + "\r" + c},
		{"block", b + "\r\n" + block(a) + c, b + "\r\n" + c},
		{"line before a block", a + "\n" + block(b), block(b)},
		{"nothing usable besides", a + "\njunk\n", "junk\n"},
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(a))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := ssh.FingerprintSHA256(pub)
	for _, tt := range tests {
		if got := WithoutKey(tt.value, fingerprint); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got, want := Bears(tt.value, fingerprint), tt.want != tt.value; got != want {
			t.Errorf("%s: Bears = %t, want %t", tt.name, got, want)
		}
	}
}

// FuzzPieces holds that nothing is lost where a value is cut.
func FuzzPieces(f *testing.F) {
	f.Add("a\r\nb\rc\n" + rfc4716.Begin + "\nx\n" + rfc4716.End + "\nd")
	f.Add(rfc4716.Begin)
	f.Fuzz(func(t *testing.T, value string) {
		if got := strings.Join(pieces(value), ""); got != value {
			t.Errorf("got %q, want %q", got, value)
		}
	})
}

// TestKeysThroughTheLayers checks that all layers above a client pass changes
// of keys on, and forget what they remember.
func TestKeysThroughTheLayers(t *testing.T) {
	main, other := newFake("alice"), newFake("alice")
	main.users["alice"].Source, other.users["alice"].Source = "main", "other"
	d, err := Join(
		Member{Name: "main", Directory: NewCache(main, time.Hour, time.Hour)},
		Member{Name: "other", Directory: NewCache(NewShield(other, 3, time.Hour), time.Hour, time.Hour)},
	)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(name string) int {
		u, err := d.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return len(u.Keys)
	}
	for _, name := range []string{"alice", "alice@other"} {
		u, err := d.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.AddKey(t.Context(), u, newKey(t)); err != nil || keys(name) != 1 {
			t.Errorf("AddKey(%s) = %v, then %d keys; want nil and 1", name, err, keys(name))
		}
		if err := d.AddKey(t.Context(), u, "junk"); !errors.Is(err, ErrKeyUnusable) || !Refused(err) {
			t.Errorf("AddKey(%s, junk) = %v, want ErrKeyUnusable", name, err)
		}
		if err := d.RemoveKey(t.Context(), u, "SHA256:x"); err != nil || keys(name) != 0 {
			t.Errorf("RemoveKey(%s) = %v, then %d keys; want nil and none", name, err, keys(name))
		}
	}
}
