package test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// code VARIABLE FILE PERIODS: sets a variable to the one-time code so many
// periods from now, of the otpauth URI in a file. A server that has just started
// takes the next one only.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	periods, err := strconv.Atoi(args[2])
	ts.Check(err)
	secret, err := secretOf(ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Setenv(args[0], codeOf(secret, time.Now().Unix()/30+int64(periods)))
}

// secretOf returns the secret in what berth totp add prints.
func secretOf(printed string) ([]byte, error) {
	uri, err := url.Parse(strings.TrimSpace(printed))
	if err != nil {
		return nil, err
	}
	return base32.StdEncoding.DecodeString(uri.Query().Get("secret"))
}

// codeOf is RFC 4226, section 5.4, word for word, and not the code under test.
func codeOf(secret []byte, counter int64) string {
	mac := hmac.New(sha1.New, secret)
	binary.Write(mac, binary.BigEndian, counter) // to a hash: never fails
	hs := mac.Sum(nil)
	offset := hs[19] & 0xf
	bin := int(hs[offset]&0x7f)<<24 | int(hs[offset+1])<<16 | int(hs[offset+2])<<8 | int(hs[offset+3])
	return fmt.Sprintf("%06d", bin%1_000_000)
}
