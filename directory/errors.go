package directory

import (
	"errors"
	"fmt"
)

// Why a directory refuses. Test with errors.Is; a Refusal wraps one of these.
var (
	ErrNoUser          = errors.New("no such user")
	ErrBadPassword     = errors.New("wrong password")
	ErrDisabled        = errors.New("account disabled")
	ErrLocked          = errors.New("account locked")
	ErrExpired         = errors.New("account expired")
	ErrOutsideHours    = errors.New("outside the hours the directory allows")
	ErrWorkstation     = errors.New("the directory allows logins on other computers only")
	ErrPasswordExpired = errors.New("password expired")
	ErrMustChange      = errors.New("password must be changed")
	ErrStateUnknown    = errors.New("account state could not be read")
	ErrAmbiguous       = errors.New("name means more than one user")
	ErrShielded        = errors.New("too many wrong passwords") // here, not in the directory: see Shield

	// only from ChangePassword, AddKey and RemoveKey
	ErrNotStored = errors.New("the directory cannot store the change now")

	// only from ChangePassword
	ErrChangeForbidden  = errors.New("changing the password is not allowed")
	ErrPasswordTooShort = errors.New("password too short")
	ErrPasswordTooYoung = errors.New("password changed too recently")
	ErrPasswordUsed     = errors.New("password used before")
	ErrPasswordWeak     = errors.New("password does not meet the rules of the directory")

	// only from AddKey and RemoveKey
	ErrKeyForbidden = errors.New("changing keys is not allowed")
	ErrKeyExists    = errors.New("key is there already")
	ErrKeyUnusable  = errors.New("key cannot be used")
	ErrTooManyKeys  = errors.New("too many keys")
	ErrNoKey        = errors.New("no such key")
)

// ErrNotListed is the error of a directory that cannot list its users.
var ErrNotListed = errors.New("the directory does not list its users")

// A Refusal is the answer "no" of a directory. Any other error means that the
// directory could not be asked.
type Refusal struct {
	Why    error  // one of the errors above
	Proved bool   // the password was right: only then may the user learn Why
	Bound  bool   // the directory accepted the bind; the account's state is what refuses
	Detail string // the server's own words, for the log; never holds a password
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Why.Error()
	}
	return fmt.Sprintf("%v (%s)", r.Why, r.Detail)
}

func (r *Refusal) Unwrap() error { return r.Why }

// Refused reports whether err is an answer of the directory. If it is false for an
// error, the directory could not be asked.
func Refused(err error) bool {
	_, refused := errors.AsType[*Refusal](err)
	return refused || errors.Is(err, ErrNoUser)
}

// Proved reports whether err is a refusal that shows the password was right.
func Proved(err error) bool {
	r, refused := errors.AsType[*Refusal](err)
	return refused && r.Proved
}

// states maps each status to its name and to the error that refuses it.
var states = map[Status]struct {
	name string
	err  error
}{
	StatusUnknown:         {"unknown", ErrStateUnknown},
	StatusActive:          {"active", nil},
	StatusDisabled:        {"disabled", ErrDisabled},
	StatusLocked:          {"locked", ErrLocked},
	StatusExpired:         {"expired", ErrExpired},
	StatusOutsideHours:    {"outside hours", ErrOutsideHours},
	StatusPasswordExpired: {"password expired", ErrPasswordExpired},
	StatusMustChange:      {"must change password", ErrMustChange},
}

func (s Status) String() string { return states[s].name }

// Err returns nil for an active account, else a *Refusal. It decides about
// logins without a bind: keys, certificates and tickets.
func (s State) Err() error {
	if s.Status == StatusActive {
		return nil
	}
	return &Refusal{Why: states[s.Status].err, Detail: s.Reason}
}
