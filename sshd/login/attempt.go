package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/early"
	"berth/sshd/event"
	"berth/sshd/oidc"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// An Attempt is the login of one connection. The SSH library calls it, one
// method at a time, from one goroutine.
type Attempt struct {
	gate *Gate
	ctx  context.Context
	peer Peer
	log  hclog.Logger
	pre  ssh.ServerPreAuthConn // set once keys have been exchanged

	client  string // identification string
	service string // the service that the rules must list; empty: none
	offers  int    // of keys that were refused

	browserToo bool // keyboard-interactive may be a sign-in with the browser
	proofs     proofs
	name       found // the name that is tried now

	answered   time.Time     // when the person last answered a question
	work, idle time.Duration // time spent in callbacks: for the login, and waiting for the person or for RefusalDelay
	tried      bool          // the client has tried to prove something
	penalized  bool          // the source has got a penalty
	release    func()        // ends the counting of the session; nil: it is not counted
}

// found is the name that is tried, the answer of the directory, and the refused keys.
type found struct {
	typed    string
	user     *directory.User
	err      error
	at       time.Time // of the look-up; zero: there was none yet
	offered  bool      // a key or certificate was refused
	refused  []string
	reported bool // an event reports how a try with this name failed
	asked    bool // the method password has asked for a new password
	asks     int  // new passwords that were tried
}

// Attempt begins a login for a client that has sent hello. ctx ends it.
func (g *Gate) Attempt(ctx context.Context, peer Peer, hello early.Hello) *Attempt {
	return &Attempt{
		gate: g, ctx: ctx, peer: peer, client: hello.Version,
		log: g.Log.With("session", peer.Session, "remote", peer.Remote.String()),
	}
}

// A proof is what one method has proved.
type proof struct {
	factors     []string // of a dialogue there may be several
	key         string   // of the directory, marshalled; empty: no key was used
	certificate *certificate
	verify      bool                             // the key must have verified the person
	principal   string                           // of a Kerberos ticket
	subject     string                           // of an ID token
	next        []string                         // after a password or a code: what the rules ask for next
	password    string                           // the one that was proved
	ask         ssh.KeyboardInteractiveChallenge // nil: there is no dialogue for a new password
	changes     bool                             // the client has sent replacement, the new password
	replacement string
}

// try is one try of a method, and the only way to a Grant. prove gets the user,
// or why there is none; it finds out whether the client has proved p, and may
// add factors to p.
func (a *Attempt) try(meta ssh.ConnMetadata, p *proof, prove func(*directory.User, error) error) (*ssh.Permissions, error) {
	started, name, method := time.Now(), meta.User(), p.factors[0]
	idle := a.idle
	a.tried = true
	var u *directory.User
	err := a.gate.State.Barred(a.peer.Source) // other connections may have got a penalty for the source meanwhile
	if err == nil {
		u, err = a.lookup(name, method != methodPublicKey || len(a.proofs.factors) > 0)
	}
	if err == nil && (method == methodPassword || method == methodInteractive || method == factorCode) {
		p.next, err = a.following(u, method)
	}
	err = prove(u, err)
	if err == nil && p.password != "" && u.State.Status != directory.StatusActive {
		u, err = a.lookup(name, true) // the bind may have changed the state
	}
	var g *Grant
	if err == nil || (directory.Proved(err) && restrictionIn(err) != nil) {
		g, err = a.decide(a.proofs.with(p, u, err), u, p)
	}
	a.work += time.Since(started) - (a.idle - idle)
	if more, ok := errors.AsType[*unfinished](err); ok {
		a.emit(event.Event{
			Type: event.LoginPartial, User: u.Name, UserID: u.ID, Directory: u.Source, Method: askedBy(method),
			Detail: "next: " + strings.Join(more.next, " or "), Fields: a.proofs.fields(),
		})
		return nil, &ssh.PartialSuccessError{Next: a.callbacks(more.next...)} // the library insists on the bare type
	}
	if wanted, ok := errors.AsType[*wantsPassword](err); ok {
		a.emit(event.Event{Type: event.LoginPartial, User: u.Name, UserID: u.ID, Directory: u.Source, Method: method, Detail: "next: a new password"})
		return nil, wanted
	}
	if err != nil {
		if a.answered.After(started) {
			started = a.answered // otherwise the client could measure the comparison after that answer
		}
		a.wait(started)
		return nil, a.reject(name, askedBy(method), err)
	}
	a.accepted(g)
	return &ssh.Permissions{ExtraData: map[any]any{grantKey{}: g}}, nil
}

// following returns the factors that the rules ask for after factor. It returns
// errMethod if they do not ask for factor now; a secret is then not compared. If the
// rules refuse the user, the secret is still compared, because only somebody who knows
// it may learn the reason.
func (a *Attempt) following(u *directory.User, factor string) (next []string, err error) {
	method := factor
	if factor == factorCode {
		method = a.proofs.method
	}
	if u.ID == "" { // without a service account, groups are known only after the bind
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

// with adds a proof of u. err is nil, or the restriction that the bind returned.
func (p proofs) with(added *proof, u *directory.User, err error) proofs {
	if p.who == (directory.Identity{}) {
		p.who = u.Identity
	}
	if added.factors[0] != factorCode {
		p.method = added.factors[0]
	}
	p.factors = slices.Concat(p.factors, added.factors)
	if added.key != "" {
		p.keys = append(slices.Clone(p.keys), added.key)
	}
	if added.certificate != nil {
		p.certificates = append(slices.Clone(p.certificates), *added.certificate)
	}
	p.principal = cmp.Or(added.principal, p.principal)
	p.subject = cmp.Or(added.subject, p.subject)
	p.restriction = cmp.Or(p.restriction, restrictionIn(err))
	switch added.factors[0] {
	case methodPassword, methodInteractive:
		p.grace = err == nil && u.State.Status == directory.StatusPasswordExpired
		p.passwordChanged = u.State.PasswordChanged
	case methodTicket:
		p.passwordChanged = u.State.PasswordChanged
	}
	return p
}

// decide makes the decision. If the user may log in, it counts the session. If only a
// new password is missing, it asks for one.
func (a *Attempt) decide(proofs proofs, u *directory.User, p *proof) (*Grant, error) {
	g, err := a.gate.judge(proofs, u, a.peer.Remote.Addr(), false)
	if _, more := errors.AsType[*unfinished](err); more {
		a.proofs = proofs
	}
	if err == nil && a.service != "" {
		err = g.Serves(a.service)
	}
	if err != nil {
		return nil, err
	}
	a.Release() // the session of an earlier try, in which the password was not changed
	if a.release, err = a.gate.State.Acquire(u.Identity.String(), g.Policy.Limits.Sessions); err != nil {
		return nil, err
	}
	switch {
	case g.Restriction == nil && p.changes:
		return nil, fmt.Errorf("%w: the password need not be changed", errMethod)
	case g.Restriction == nil:
		return g, nil
	}
	changed, err := a.changePassword(g, p)
	if err != nil {
		return nil, err
	}
	if !changed {
		return g, nil
	}
	if u.ID == "" { // without a service account, users are known only after a bind
		if err := a.authenticate(u, p.password); err != nil {
			return nil, err
		}
		proofs.who = directory.Identity{}
	}
	if u, err = a.lookup(a.name.typed, true); err != nil {
		return nil, err
	}
	if proofs.who == (directory.Identity{}) {
		proofs.who = u.Identity
	}
	// If the directory does not show this change yet, the time is not known before a re-check.
	proofs.restriction, proofs.grace, proofs.ownChange = nil, false, !u.State.PasswordChanged.After(proofs.passwordChanged)
	if !proofs.ownChange {
		proofs.passwordChanged = u.State.PasswordChanged
	}
	return a.gate.judge(proofs, u, a.peer.Remote.Addr(), false)
}

// accepted reports the login before the client hears of it.
func (a *Attempt) accepted(g *Grant) {
	u := g.User
	e := event.Event{
		Type: event.LoginAccepted, User: u.Name, UserID: u.ID, Directory: u.Source, Method: g.Method,
		Duration: time.Since(a.peer.Opened), Work: a.work, Fields: g.proofs.fields(),
	}
	e.Fields["rules"], e.Fields["rules_hash"] = strings.Join(g.Policy.Rules, ", "), a.gate.Rules.Hash()
	if len(g.proofs.factors) > 1 {
		e.Fields["factors"] = strings.Join(g.proofs.factors, ", ")
	}
	if u.Cached {
		e.Fields["directory"] = "cached"
	}
	a.emit(e)
	banner := a.gate.text("motd", a.gate.MOTD)
	if g.Restriction != nil {
		banner += g.Instruction() + "\n"
	} else if s := u.State; s.ExpiresSoon {
		when := Expiry(s.PasswordExpires, time.Now())
		banner += "Your password expires " + when + "."
		if g.Policy.Allows("passwd") {
			banner += " Change it with: ssh HOST passwd"
		}
		banner += "\n"
		a.emit(event.Event{Type: event.PasswordExpiring, User: u.Name, UserID: u.ID, Directory: u.Source, Detail: when})
	}
	if banner != "" {
		// SFTP clients show no other text, and accept one only during the login.
		a.pre.SendAuthBanner(banner)
	}
}

// rememberFor is how long an answer of the directory is used within a login. A client
// offers many keys at once, but a person may take a minute to type a password.
const rememberFor = 5 * time.Second

// lookup finds a user. Within rememberFor the same name is not looked up again. With
// fresh the directory is always asked, and no cache is used.
func (a *Attempt) lookup(name string, fresh bool) (*directory.User, error) {
	n := &a.name
	if n.at.IsZero() || n.typed != name {
		a.reportKeys()
		*n = found{typed: name}
	} else if !fresh && time.Since(n.at) < rememberFor {
		return n.user, n.err
	}
	first := n.at.IsZero()
	n.at = time.Now()
	if n.err = checkName(name); n.err == nil {
		ctx := a.ctx
		if fresh {
			ctx = directory.Fresh(ctx)
		}
		n.user, n.err = a.gate.Directory.Lookup(ctx, name)
	}
	if n.user != nil && first {
		a.skipped(n.user)
	}
	return n.user, n.err
}

// checkName refuses names that nobody can have, before the directory is asked. LDAP
// ignores blanks around a value, so "alice " would be alice.
func checkName(name string) error {
	refuse := func(why string) error { return &directory.Refusal{Why: directory.ErrNoUser, Detail: why} }
	switch {
	case name == "":
		return refuse("empty name")
	case len(name) > 256:
		return refuse("name longer than 256 bytes")
	case strings.TrimSpace(name) != name:
		return refuse("blank at an end of the name")
	case strings.ContainsFunc(name, unicode.IsControl):
		return refuse("control character in the name")
	}
	return nil
}

// wait makes all refusals take the same time, whatever the reason.
func (a *Attempt) wait(started time.Time) {
	began := time.Now()
	select {
	case <-a.ctx.Done():
	case <-time.After(time.Until(started.Add(a.gate.RefusalDelay))):
	}
	a.idle += time.Since(began)
}

// reject reports why a try failed, and returns what the client may know of it.
func (a *Attempt) reject(name, method string, err error) error {
	e := a.rejection(name, method, err)
	e.Work = a.work
	a.tried = true
	a.name.reported = a.name.reported || name == a.name.typed
	limit, limited := errors.AsType[*state.Refusal](err)
	switch {
	case errors.Is(err, errMethod):
		// A password that was not compared must look like a wrong one. A key or a
		// ticket was proved, and clients try these without asking the person.
		if method == methodPassword || method == methodInteractive {
			a.penalize(err)
		}
	case deniedByUs(err):
		e.Type = event.LoginDenied
	case errors.Is(err, state.ErrLost), errors.Is(err, totp.ErrUnreadable), errors.Is(err, totp.ErrOld): // nobody knows whether the code is right and not used
	case directory.Proved(err) && errors.Is(err, directory.ErrStateUnknown): // nobody knows whether the account may log in
	case limited && limit.Code == state.SourcePenalized: // the source has its penalty already
	case directory.Refused(err), errors.Is(err, errCode), errors.Is(err, errNotThem), errors.Is(err, oidc.ErrToken), errors.Is(err, oidc.ErrNotSignedIn):
		a.penalize(err)
	}
	if errors.Is(err, directory.ErrShielded) {
		e.Type = event.LoginShielded
	}
	a.emit(e)
	if text := clientMessage(err); text != "" {
		return &ssh.BannerError{Err: err, Message: text + "\n"}
	}
	return err
}

func (a *Attempt) rejection(name, method string, err error) event.Event {
	e := event.Event{Type: event.LoginRejected, User: Printable(name), Method: method, Reason: ReasonOf(err), Detail: err.Error()}
	if u := a.name.user; u != nil && name == a.name.typed {
		e.User, e.UserID, e.Directory = u.Name, u.ID, u.Source
	}
	return e
}

// penalize gives the source a penalty for a try that failed with err.
func (a *Attempt) penalize(err error) {
	kind := state.LoginFailed
	if errors.Is(err, directory.ErrNoUser) {
		kind = state.UnknownUser
	}
	a.penalized = true
	a.gate.State.Penalize(a.peer.Source, kind)
}

// reportKeys reports the keys that were refused for the name tried so far, if
// nothing else has been reported for it. A client offers many keys, so they are
// one event and one penalty.
func (a *Attempt) reportKeys() {
	n := &a.name
	if n.reported || !n.offered {
		return
	}
	n.reported = true
	err := cmp.Or(n.err, errKeyRefused)
	a.penalize(err)
	if len(n.refused) == 0 {
		return // only certificates were offered: each has its event
	}
	e := a.rejection(n.typed, methodPublicKey, err)
	e.Detail = strings.Join(n.refused, " ")
	a.emit(e)
}

// Failed ends an attempt that led to no Grant. It reports whether the source has got a
// penalty, and whether the client has tried to prove something. A key that was offered and
// not used is no try.
func (a *Attempt) Failed() (penalized, tried bool) {
	a.Release()
	a.reportKeys()
	return a.penalized, a.tried
}

// Release ends the count of the session, if it is counted. It may be called
// several times.
func (a *Attempt) Release() {
	if a.release != nil {
		a.release()
	}
}

// Succeeded ends an attempt that led to a Grant. It returns what ends the count of the
// session. The SSH library keeps a for the whole session, so a forgets all else: a password,
// and memory.
func (a *Attempt) Succeeded() (release func()) {
	release = a.release
	*a = Attempt{}
	return release
}

// emit fills in what all events of a connection share.
func (a *Attempt) emit(e event.Event) {
	e.Session, e.Remote, e.Service = a.peer.Session, a.peer.Remote, cmp.Or(e.Service, a.service)
	a.gate.Emit(e)
}

// Day is the layout of a day and a time for people.
const Day = "on 2006-01-02 at 15:04 MST"

// Expiry describes when t is, which is after now.
func Expiry(t, now time.Time) string {
	when := t.Format(Day)
	switch days := int(t.Sub(now).Hours() / 24); days {
	case 0:
		return when + ", within a day"
	case 1:
		return when + ", in 1 day"
	default:
		return fmt.Sprintf("%s, in %d days", when, days)
	}
}

// Printable replaces characters that could disturb a terminal or a log, and cuts long
// texts.
func Printable(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
