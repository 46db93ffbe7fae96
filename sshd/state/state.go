// Package state holds what the listeners of one server, or of several nodes,
// must agree on: which sources are kept out, how many logins are under way,
// how many sessions are open and which one-time codes are used up. It knows no SSH. Start at Store and NewMemory.
package state

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Store counts. Its methods are safe for concurrent use. They never wait,
// unless their comments say that they may: a store that several nodes share has
// a local copy.
type Store interface {
	// Admit decides whether remote may begin a login. The error is a *Refusal,
	// and end is nil then. Otherwise end must be called when the login is over,
	// whether it succeeded or not; more calls do nothing.
	Admit(remote netip.Addr) (end func(), err error)

	// Penalize gives the source of remote a penalty. Penalties add up, and end with
	// time.
	Penalize(remote netip.Addr, k Kind)

	// Barred returns a *Refusal while the source of remote has so many penalties
	// that it may not try anything. Admit includes this.
	Barred(remote netip.Addr) error

	// Acquire counts one more session of user, of which there may be max; zero
	// is no limit. The error is a *Refusal, and release is nil then. Otherwise
	// release must be called when the session ends; more calls do nothing.
	Acquire(user string, max int) (release func(), err error)

	// UseCode uses up a one-time code of user, which was found to be right or
	// not. Each is used once, and none that is lower than one used before; nil
	// says that nobody else has. The error is a *Refusal, or says that it could
	// not be found out. A shared store has to ask for this one and may wait: two
	// nodes must not both accept a code.
	UseCode(user string, code uint64, right bool) error
}

// A Kind is what a source can get a penalty for.
type Kind string

// The kinds there are.
const (
	LoginFailed   Kind = "login_failed"   // a wrong password, a key that is not theirs
	UnknownUser   Kind = "unknown_user"   // a name that nobody has
	NoLogin       Kind = "no_login"       // left without trying to log in
	GraceExceeded Kind = "grace_exceeded" // held a connection until the login grace was over
	BadProtocol   Kind = "bad_protocol"   // broke the protocol, as exploits do
)

// Reason is the code of a Refusal, as events have it.
type Reason string

// The reasons there are.
const (
	SourceBlocked   Reason = "source_blocked"            // in a network that is not let in
	SourcePenalized Reason = "source_penalized"          // it has too many penalties
	SourceBusy      Reason = "too_many_logins_of_source" // at once
	StartupsFull    Reason = "too_many_logins"           // at once, of everybody; some are refused before it is full
	UserSessions    Reason = "too_many_sessions"         // of the user
	TotalSessions   Reason = "too_many_sessions_in_total"
	CodeWrong       Reason = "code_wrong"
	CodeUsed        Reason = "code_used"      // or a later one
	CodesShielded   Reason = "codes_shielded" // too many wrong ones of the user: for a while none is checked
)

// ErrLost means that the shared state of the nodes could not be asked.
var ErrLost = errors.New("the shared state of the nodes cannot be read")

// A Refusal is the answer "no" of a Store.
type Refusal struct {
	Code  Reason
	Until time.Time // when to try again, if that is known
}

func (r *Refusal) Error() string {
	if r.Until.IsZero() {
		return string(r.Code)
	}
	return fmt.Sprintf("%s until %s", r.Code, r.Until.UTC().Format(time.RFC3339))
}
