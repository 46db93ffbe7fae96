// Package directory says who people are: users, their groups, keys and account
// state, as an LDAP directory knows them, and whether a password is theirs.
//
// It has the types, the errors and everything that does not depend on one kind of
// server: the parser of public keys, the cache, the shield, several directories as
// one. directory/ldap asks servers. Start at Directory.
package directory

import (
	"context"
	"iter"
	"time"
)

// An Identity is one person. Names change, and two directories may use the same
// name. An Identity does not change, so everything that counts, compares or stores
// something about a person uses it. The zero value is nobody.
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
	POSIX  POSIX               // who the user is on a disk, for folders with owner: person
	Cached bool                // served from the cache while no server answered
}

// A Group is one group that a user is in.
type Group struct {
	DN   DN
	Name string // cn, or sAMAccountName on Active Directory
	SID  string // S-1-5-21-…, only on Active Directory
	GID  uint32 // number of the group on a disk; 0 if it has none
	// Via says how it was found: "direct", "nested", "primary", "memberUid", or
	// "memberOf" where the directory does not say whether directly.
	Via string
}

// A Nested is a group, and the groups that contain it.
type Nested struct {
	Source string // the directory
	DN     DN
	Name   string
	Owners []string // DNs: owner, or managedBy on Active Directory
	In     []DN     // the groups that it is a direct member of
}

// A Found is a user as Find returns them: only who it is.
type Found struct {
	Source   string // the directory
	Name     string // login name
	FullName string // as people write it; empty if the directory has none
	DN       string
}

// Status says whether a user may log in. The zero value is StatusUnknown, which
// refuses: a user whose state cannot be read may not log in.
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

// A State is the state of an account at the time of a look-up.
type State struct {
	Status          Status
	Until           time.Time // when Status ends by itself; zero if it does not or that is not known
	PasswordExpires time.Time // zero if it does not or that is not known
	PasswordChanged time.Time // last; zero if it never was or that is not known
	ExpiresSoon     bool      // PasswordExpires is so near that the user should be warned
	Reason          string    // the attribute and value that decided, for the log: "userAccountControl=514"
}

// A Directory finds users, checks passwords, and changes the passwords and keys
// of users. Implementations are safe for concurrent use and pass the suite in
// directorytest. A directory that does not offer one of the methods refuses it.
//
// An error that is a *Refusal, or wraps ErrNoUser, is the directory's answer:
// "no". Any other error means that the directory could not be asked.
type Directory interface {
	// Lookup finds a user by any spelling of a login name. The error wraps
	// ErrNoUser when the directory answered that there is no such user.
	Lookup(ctx context.Context, name string) (*User, error)

	// LookupMany returns the answer of Lookup for each of the names, with fewer
	// requests.
	LookupMany(ctx context.Context, names []string) map[string]Answer

	// Users yields every user, as Lookup would return it. It ends after the
	// first error; ErrNotListed says that the directory cannot list its users.
	Users(ctx context.Context) iter.Seq2[*User, error]

	// Find returns users whose login name, full name or surname begins with a text,
	// without regard to case, in the order of their names. It returns at most so
	// many; more reports whether there are others. ErrNotListed says that the
	// directory cannot search for users.
	Find(ctx context.Context, prefix string, most int) (found []Found, more bool, err error)

	// Nesting returns the groups and how they contain each other; ErrNotListed says
	// that the directory cannot list them.
	Nesting(ctx context.Context) ([]Nested, error)

	// Authenticate checks a password with exactly one bind. After an error that
	// is no refusal, the password may or may not be right. An empty password is
	// refused without a bind. A nil error means that the password is right and the
	// account may log in.
	Authenticate(ctx context.Context, u *User, password string) error

	// ChangePassword replaces the password old by new. The directory verifies old,
	// and counts a wrong one. An empty password is refused without asking the
	// directory. Users whose password has expired or must be changed can
	// change it; disabled and locked ones cannot. After a refusal nothing was
	// changed; after any other error that is not known.
	ChangePassword(ctx context.Context, u *User, old, new string) error

	// AddKey adds an SSH key to u's entry: a line as ParseKeys reads it. The account
	// must be active now. Its state in u may be outdated. After a refusal nothing
	// was changed; after any other error that is not known.
	AddKey(ctx context.Context, u *User, line string) error

	// RemoveKey removes the key with a SHA-256 fingerprint from u's entry and
	// leaves all other keys as they are. The key may be one that cannot be used.
	// Errors are as for AddKey.
	RemoveKey(ctx context.Context, u *User, fingerprint string) error

	// Lockout returns how many wrong passwords lock u's account, 0 if none do,
	// and how long the directory remembers them, 0 if for ever.
	Lockout(ctx context.Context, u *User) (threshold int, window time.Duration, err error)

	// PasswordRules returns what the directory asks of u's next password. The zero
	// value means that there are no rules, or that the directory does not show them.
	PasswordRules(ctx context.Context, u *User) (PasswordRules, error)

	// Ping returns nil if a server answers a search like that of a look-up.
	Ping(ctx context.Context) error
}

// An Answer is what Lookup returns for one name.
type Answer struct {
	User *User
	Err  error
}
