package cert

import "errors"

// Why a certificate is not accepted. Errors of Check wrap one of these.
var (
	ErrType        = errors.New("not a user certificate")
	ErrAuthority   = errors.New("signed by an unknown authority")
	ErrSignature   = errors.New("the signature of the authority does not hold")
	ErrWeak        = errors.New("too weak")
	ErrRevoked     = errors.New("revoked")
	ErrNotYetValid = errors.New("not valid yet")
	ErrExpired     = errors.New("expired")
	ErrPrincipal   = errors.New("not for this user")
	ErrSource      = errors.New("not from this address")
	ErrOption      = errors.New("has a critical option that cannot be kept")

	// ErrUnreadable means that a file of the settings cannot be used, so that
	// nobody can say what is trusted or revoked.
	ErrUnreadable = errors.New("keys of authorities or revocations cannot be read")
)
