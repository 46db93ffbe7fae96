package login

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// Method names of RFC 4252, RFC 4256, RFC 4462.
const (
	methodPassword    = "password"
	methodPublicKey   = "publickey"
	methodInteractive = "keyboard-interactive"
	methodTicket      = "gssapi-with-mic"
)

// factorCode is a one-time code, which rules require beside a method.
const factorCode = "totp"

// askedBy is the method of SSH by which a factor is proved.
func askedBy(factor string) string {
	if factor == factorCode {
		return methodInteractive
	}
	return factor
}

// errMethod refuses a method that no rule asks for, or not now.
var errMethod = errors.New("method not accepted")

func wrongMethod(require [][]string, factors []string) error {
	return fmt.Errorf("%w: the rule requires %v, not %s", errMethod, require, strings.Join(factors, ", "))
}

// unfinished is the decision about somebody who has to prove more.
type unfinished struct{ next []string }

func (u *unfinished) Error() string { return "more is required: " + strings.Join(u.next, " or ") }

// missing returns what each of the alternatives wants next of somebody who has
// proved some factors; done if one of them wants nothing more. With nothing
// required any one method will do.
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

// satisfies reports whether a proved method is what a rule wants: a password is
// a password whether it was asked for by prompt or sent outright.
func satisfies(proved, wanted string) bool {
	return proved == wanted || (proved == methodInteractive && wanted == methodPassword)
}

// following returns which factors the rules ask for after factor, and errMethod
// if they do not ask for it now: a secret that proves nothing is not compared.
// Somebody whom the rules refuse is asked all the same, because the reason is
// only for the user.
func (a *Attempt) following(u *directory.User, factor string) (next []string, err error) {
	method := factor
	if factor == factorCode {
		method = a.proofs.method
	}
	if u.ID == "" { // without a service account, groups are known after the bind only
		return nil, nil
	}
	p, err := a.gate.resolve(u, method, a.peer.Remote.Addr())
	if err != nil {
		return nil, nil
	}
	factors := append(slices.Clone(a.proofs.factors), factor)
	next, done := missing(p.Require, factors)
	if !done && len(next) == 0 {
		return nil, wrongMethod(p.Require, factors)
	}
	return next, nil
}
