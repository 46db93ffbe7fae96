package totp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	period = 30 // seconds a code is shown
	skew   = 1  // codes before and after the present one that are accepted too: clocks differ, people are slow

	newSecret   = 20 // bytes of a secret made here: RFC 4226, section 4, R6
	leastSecret = 10 // bytes that are accepted: old tokens have 80 bits
)

// A Key is the secret of one token, and how codes are made from it. Printing a Key does
// not show it.
type Key struct {
	secret []byte
	hash   func() hash.Hash
	digits int
}

// Format implements fmt.Formatter for all verbs.
func (Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, "(secret)") }

// hashes are the algorithms of RFC 6238, by their names in otpauth URIs.
var hashes = map[string]func() hash.Hash{"": sha1.New, "SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}

// The errors about a value. Their texts contain no part of the value.
var (
	errBase32    = errors.New("is neither base32 nor an otpauth:// URI")
	errType      = errors.New("is an otpauth:// URI of another type than totp")
	errAlgorithm = errors.New("has an algorithm other than SHA1, SHA256 and SHA512")
	errDigits    = errors.New("has a number of digits other than 6, 7 and 8")
	errPeriod    = errors.New("has a period other than 30 seconds")
	errShort     = fmt.Errorf("has a secret shorter than %d bytes", leastSecret)
)

// Parse reads a secret in base32, for six digits and SHA-1 as all apps take it,
// or an otpauth:// URI. The error contains no part of the value.
func Parse(value string) (Key, error) {
	value = strings.TrimSpace(value)
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return newKey(value, url.Values{})
	}
	u, err := url.Parse(value)
	if err != nil {
		return Key{}, errBase32 // err contains the secret
	}
	if !strings.EqualFold(u.Host, "totp") {
		return Key{}, errType
	}
	q := u.Query()
	return newKey(q.Get("secret"), q)
}

const scheme = "otpauth://"

func newKey(secret string, q url.Values) (Key, error) {
	k := Key{digits: 6}
	var ok bool
	if k.hash, ok = hashes[strings.ToUpper(q.Get("algorithm"))]; !ok {
		return Key{}, errAlgorithm
	}
	if d := q.Get("digits"); d != "" {
		k.digits, _ = strconv.Atoi(d)
	}
	if k.digits < 6 || k.digits > 8 {
		return Key{}, errDigits
	}
	if p := q.Get("period"); p != "" && p != strconv.Itoa(period) {
		return Key{}, errPeriod
	}
	// The secret may be written in groups, in lower case, and with or without padding.
	plain := strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimRight(secret, "="))
	var err error
	if k.secret, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(plain)); err != nil {
		return Key{}, errBase32
	}
	if len(k.secret) < leastSecret {
		return Key{}, errShort
	}
	return k, nil
}

// newURI makes a secret for somebody, as the URI that apps read.
func newURI(issuer, name string) string {
	secret := make([]byte, newSecret)
	rand.Read(secret) // never fails
	text := base32.StdEncoding.EncodeToString(secret)
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + name}
	// Apps do not read a blank written as +.
	u.RawQuery = strings.ReplaceAll(url.Values{"secret": {text}, "issuer": {issuer}}.Encode(), "+", "%20")
	return u.String()
}

// code is HOTP of RFC 4226, section 5.3.
func (k Key) code(counter uint64) string {
	mac := hmac.New(k.hash, k.secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, counter))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", k.digits, n%uint32(math.Pow10(k.digits)))
}

// match returns the number of the code that was typed, if it is accepted at now.
func (k Key) match(typed string, now time.Time) (counter uint64, ok bool) {
	present := counterAt(now)
	for c := present - skew; c <= present+skew; c++ {
		if subtle.ConstantTimeCompare([]byte(k.code(c)), []byte(typed)) == 1 {
			counter, ok = c, true
		}
	}
	return counter, ok
}

// counterAt numbers the periods since 1970.
func counterAt(t time.Time) uint64 { return uint64(t.Unix()) / period }
