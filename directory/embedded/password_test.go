package embedded

import (
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// TestStored reads every kind of stored password.
func TestStored(t *testing.T) {
	const password = "correct horse"
	ssha := sha1.Sum([]byte(password + "salt"))
	ssha512 := sha512.Sum512([]byte(password + "salt"))
	encode := func(sum []byte) string { return base64.StdEncoding.EncodeToString(append(sum, "salt"...)) }
	h, err := newHasher(64)
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range []string{
		own,
		"{SSHA}" + encode(ssha[:]),
		"{ssha512}" + encode(ssha512[:]),
		"{CRYPT}" + bcryptOf(t, password),
		"{crypt}" + shacryptOf(t, password),
		"{PBKDF2-SHA256}" + strings.TrimPrefix(pbkdf2Of(t, password), "$pbkdf2-sha256$"),
	} {
		if err := checkStored(stored); err != nil {
			t.Errorf("%s: %v", stored, err)
		}
		if !h.matches(t.Context(), stored, password) {
			t.Errorf("%s: right password: got no match", stored)
		}
		if h.matches(t.Context(), stored, password+"!") {
			t.Errorf("%s: wrong password: got a match", stored)
		}
	}
}

func bcryptOf(t *testing.T, password string) string {
	h, err := bcrypt.New(bcrypt.WithIterations(10))
	if err != nil {
		t.Fatal(err)
	}
	d, err := h.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return d.Encode()
}

func shacryptOf(t *testing.T, password string) string {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(1000))
	if err != nil {
		t.Fatal(err)
	}
	d, err := h.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return d.Encode()
}

func pbkdf2Of(t *testing.T, password string) string {
	h, err := pbkdf2.New(pbkdf2.WithVariant(pbkdf2.VariantSHA256), pbkdf2.WithIterations(100000))
	if err != nil {
		t.Fatal(err)
	}
	d, err := h.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return d.Encode()
}
