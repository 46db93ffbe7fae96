package kerberos

import (
	"errors"
	"fmt"
)

// Why a ticket or a principal is refused. Every error of an Acceptor and of
// User wraps exactly one of them.
var (
	ErrMalformed    = errors.New("malformed Kerberos token")
	ErrNotForUs     = errors.New("ticket is for another service")
	ErrWrongKey     = errors.New("ticket does not open with the keytab")
	ErrExpired      = errors.New("ticket has expired")
	ErrNotYetValid  = errors.New("ticket is not valid yet")
	ErrClockSkew    = errors.New("clock of the client is wrong")
	ErrReplayed     = errors.New("ticket was presented before")
	ErrMismatch     = errors.New("ticket and authenticator are not of one client")
	ErrAddress      = errors.New("ticket is bound to another address")
	ErrWeak         = errors.New("encryption type not accepted")
	ErrNoIntegrity  = errors.New("client did not ask for integrity")
	ErrBadMIC       = errors.New("session is not signed with the ticket's key")
	ErrForeignRealm = errors.New("realm not accepted")
	ErrNotAPerson   = errors.New("principal is not a person's")
)

// guard turns a panic into an error. The parser and the ciphers of the Kerberos
// library handle bytes of strangers without checking every length, and one bad
// token must not end the sessions of everybody.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrMalformed, r)
	}
}
