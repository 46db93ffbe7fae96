package login

import (
	"slices"
	"strings"
)

// Method names of RFC 4252, RFC 4256, RFC 4462.
const (
	methodPassword    = "password"
	methodPublicKey   = "publickey"
	methodInteractive = "keyboard-interactive"
	methodTicket      = "gssapi-with-mic"
)

// methodBrowser is a sign-in with the browser, which SSH carries in
// keyboard-interactive.
const methodBrowser = "oidc"

// factorCode is a one-time code, which rules require beside a method.
const factorCode = "totp"

// askedBy is the method of SSH by which a factor is proved.
func askedBy(factor string) string {
	if factor == factorCode {
		return methodInteractive
	}
	return factor
}

// unfinished means that the user has to prove more.
type unfinished struct{ next []string }

func (u *unfinished) Error() string { return "more is required: " + strings.Join(u.next, " or ") }

// missing returns the next factor of each alternative that begins with the proved
// factors. done means that one of the alternatives is complete. Without alternatives
// any one method is enough.
func missing(alternatives [][]string, factors []string) (next []string, done bool) {
	for _, want := range alternatives {
		if len(factors) > len(want) || !slices.EqualFunc(factors, want[:len(factors)], satisfies) {
			continue
		}
		if len(factors) == len(want) {
			return nil, true
		}
		next = append(next, want[len(factors)])
	}
	return next, len(alternatives) == 0
}

// satisfies reports whether a proved method is the wanted one. A password is the same
// factor by both methods, password and keyboard-interactive.
func satisfies(proved, wanted string) bool {
	return proved == wanted || (proved == methodInteractive && wanted == methodPassword)
}
