// Package directory says who people are: users, their groups, keys and account
// state, as an LDAP directory knows them, and whether a password is theirs.
//
// It holds the types, the errors and what does not depend on one kind of
// server: the parser of public keys, the cache, several directories as one.
// Servers are reached by directory/ldap. Start at Directory.
package directory

import (
	"context"
	"time"
)

// An Identity says which person is meant. Names change, and two directories may
// use the same one; an Identity stays, so everything that counts, compares or
// stores something about a person uses it. The zero value is nobody.
type Identity struct {
	Source string // name of the directory that holds the person
	ID     string // objectGUID, entryUUID or nsUniqueId: survives renames
}

// String returns the id and the directory, as in "6f1c…@corp". Ids hold no "@".
func (i Identity) String() string { return i.ID + "@" + i.Source }

// A User is one person as a directory knows them at one moment. A User is not
// changed after Lookup returned it, so it may be read by several goroutines.
type User struct {
	Identity
	Name   string              // login name in the directory's own spelling, however it was typed
	DN     string              // distinguished name (RFC 4514)
	Groups []Group             // all of them: direct, nested, primary
	Keys   []Key               // keys that may log in; a value that cannot be used is in Notes
	Notes  []KeyNote           // values of the key attribute that were skipped, and why
	State  State               // may the user log in now
	TOTP   []Secret            // secrets of one-time codes, if the directory holds them
	Attrs  map[string][]string // attributes asked for by rules, names in lower case
	Cached bool                // served from the cache while no server answered
}

// A Group is one group that a user is in.
type Group struct {
	DN   string
	Name string // cn, or sAMAccountName on Active Directory
	SID  string // S-1-5-21-…, only on Active Directory
	// Via tells how it was found: "direct", "nested", "primary", "memberUid", or
	// "memberOf" where the directory does not say whether directly.
	Via string
}

// Status tells whether a user may log in. The zero value is StatusUnknown,
// which refuses: what could not be read is never a yes.
type Status int

// The states an account can be in.
const (
	StatusUnknown Status = iota
	StatusActive
	StatusDisabled        // by an administrator
	StatusLocked          // too many wrong passwords, or by an administrator until unlocked
	StatusExpired         // the account's own end date has passed, or its start lies ahead
	StatusOutsideHours    // the directory allows other hours only
	StatusPasswordExpired // the password is too old
	StatusMustChange      // an administrator set the password; the user must choose another
)

// A State is the truth about an account at the time of a look-up.
type State struct {
	Status          Status
	Until           time.Time // when Status ends by itself; zero if it does not or that is not known
	PasswordExpires time.Time // zero if it does not or that is not known
	PasswordChanged time.Time // last; zero if it never was or that is not known
	ExpiresSoon     bool      // PasswordExpires is so near that the user should be told
	Reason          string    // the attribute and value that decided, for the log: "userAccountControl=514"
}

// Directory finds users and checks passwords. Implementations are safe for
// concurrent use and pass the suite in directorytest.
type Directory interface {
	// Lookup finds a user by any spelling of a login name. The error wraps
	// ErrNoUser when the directory answered that there is none; any other error
	// means that it could not be asked.
	Lookup(ctx context.Context, name string) (*User, error)

	// Authenticate checks a password with exactly one bind. A "no" is a
	// *Refusal; any other error means that the directory could not be asked, so
	// the password may or may not be right. An empty password is refused
	// without asking. nil means right, and nothing stands against a login.
	Authenticate(ctx context.Context, u *User, password string) error
}

// PasswordChanger is a Directory in which users can change their own password.
type PasswordChanger interface {
	// ChangePassword replaces the password old, which the directory verifies
	// and counts when it is wrong, by new. Users whose password has expired or
	// must be changed can change it; disabled and locked ones cannot. A "no" is
	// a *Refusal, and nothing was changed; after any other error that is not
	// known.
	ChangePassword(ctx context.Context, u *User, old, new string) error
}

// LockoutTeller is a Directory that says when it locks an account.
type LockoutTeller interface {
	// Lockout returns how many wrong passwords lock u's account, 0 if none do,
	// and how long the directory remembers them, 0 if for ever.
	Lockout(ctx context.Context, u *User) (threshold int, window time.Duration, err error)
}

// Pinger is a Directory that can say whether a server answers.
type Pinger interface {
	// Ping returns nil when a server answers as it would for a look-up.
	Ping(ctx context.Context) error
}
