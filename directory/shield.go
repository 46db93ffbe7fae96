package directory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A Shield is a Directory that stops asking for an account after so many wrong
// passwords that one more would lock it. Otherwise anybody could lock anybody
// out of everything that uses the same directory, by guessing here. It counts
// every way to try a password, including a change of password. It is safe for
// concurrent use.
//
// Wrong passwords that other services send are not seen here.
type Shield struct {
	Directory

	// ByName says that wrong passwords are counted for the names of users, not for
	// their ids, because ids are known only after a login (bind_as). It must not be
	// changed after the first try.
	ByName bool

	// Tries counts the wrong passwords. It must not be changed after the first try.
	Tries Tries

	threshold int
	window    time.Duration
}

// AssumedThreshold is how many wrong passwords lock an account, as a Shield
// assumes if the directory does not show it. Three is the default of 389 DS,
// and few sites have less.
const AssumedThreshold = 3

const (
	unknownWindow = 30 * time.Minute
	longestWindow = 24 * time.Hour // for a directory that never forgets a wrong password
	maxAccounts   = 1 << 16        // slots for accounts that are counted by name; others are counted by person
)

// NewShield returns a Shield over d. threshold is the number of wrong passwords
// that locks an account. window is how long the directory remembers a wrong one. If
// one of them is 0, d is asked for it.
func NewShield(d Directory, threshold int, window time.Duration) *Shield {
	return &Shield{Directory: d, Tries: NewTries(nil), threshold: threshold, window: window}
}

// Authenticate implements Directory. It refuses with ErrShielded without asking
// when the account might be locked otherwise.
func (s *Shield) Authenticate(ctx context.Context, u *User, password string) error {
	return s.try(ctx, u, password, func() error { return s.Directory.Authenticate(ctx, u, password) })
}

// ChangePassword implements Directory.
func (s *Shield) ChangePassword(ctx context.Context, u *User, old, new string) error {
	return s.try(ctx, u, old, func() error { return s.Directory.ChangePassword(ctx, u, old, new) })
}

func (s *Shield) try(ctx context.Context, u *User, password string, ask func() error) error {
	if password == "" { // never asked
		return &Refusal{Why: ErrBadPassword, Detail: "empty"}
	}
	end, err := s.Tries.Begin(ctx, s.account(u), func() (int, time.Duration) { return s.rules(ctx, u) })
	if err != nil {
		return err
	}
	err = ask()
	r, refused := errors.AsType[*Refusal](err)
	switch {
	case err == nil, refused && r.Bound: // the directory resets its count too
		end(Right)
	case errors.Is(err, ErrBadPassword):
		end(Wrong)
	default:
		end(Unknown)
	}
	return err
}

// account is what wrong passwords are counted for: a person, or the names that share
// a slot.
//
// Anybody can type any number of names, and a directory accepts several spellings of
// one name. So a name is counted in one of maxAccounts slots, which its letters and
// digits choose: other spellings come to the same slot, memory is bounded, and no
// flood of other names makes the shield forget one. Two people may share a slot; wrong
// passwords of one then count for the other too.
func (s *Shield) account(u *User) string {
	if u.ID != "" && !s.ByName {
		return u.Source + "/" + u.ID
	}
	sum := sha256.Sum256([]byte(letters(u.Name))) // the same on all nodes
	return fmt.Sprintf("%s#%d", u.Source, binary.BigEndian.Uint64(sum[:])%maxAccounts)
}

// letters returns the letters and digits of a name, without differences in
// case and accents. Directories ignore differences in spaces, width (U+FF41
// is an "a") and invisible characters (RFC 4518), Active Directory those in
// accents too.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, norm.NFKD.String(name))
}

// rules returns how many wrong passwords lock u's account, and for how long
// they count: as set, or as the directory shows it.
func (s *Shield) rules(ctx context.Context, u *User) (threshold int, window time.Duration) {
	threshold, window = s.threshold, s.window
	if threshold == 0 {
		var err error
		if threshold, window, err = s.Lockout(ctx, u); err != nil {
			threshold, window = AssumedThreshold, unknownWindow
		}
	}
	if s.window > 0 {
		window = s.window
	}
	window = cmp.Or(window, longestWindow)
	return threshold, window
}
