// Package login answers one question: who is this, and may they be here? It
// answers it when somebody logs in, and again at every re-check of an open
// session, by the same decision.
//
// An Attempt is one login. The SSH library calls it for every method that the
// client tries. It collects proofs, which only grow, and ends with a Grant. What
// has an effect outside (a changed password, a counted session) happens only
// after the decision that allows it.
//
// The package sees no connection, no server and no files. Start at Gate.
package login

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event"
	"berth/sshd/kerberos"
	"berth/sshd/oidc"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// Rules decide what a login may do, and why. Errors of Resolve wrap policy.ErrDenied.
// They are asked at every login and again for open sessions, and may then answer
// differently.
type Rules interface {
	Resolve(policy.Request) (*policy.Policy, error)
	Explain(policy.Request) policy.Explanation
	Hash() string // of the rules
}

// A Provider is where people sign in with the browser: an *oidc.Provider. Its methods are
// explained there.
type Provider interface {
	Begin(ctx context.Context, source netip.Addr) (*oidc.SignIn, error)
	Timeout() time.Duration
	BrowserOnly() bool
	Directory() string
}

// A Gate decides about logins. Its fields are set before the first use and not
// changed after. It is safe for concurrent use.
type Gate struct {
	Settings
	Directory    directory.Directory
	Rules        Rules
	Certificates *cert.Authority  // nil: no certificates are accepted
	Kerberos     *kerberos.Keytab // nil: no tickets are accepted
	Codes        *totp.Codes      // nil: nobody has secrets of one-time codes
	SignIn       Provider         // nil: nobody can sign in with the browser
	State        state.Store      // penalties, sessions, used codes
	HostKeys     []ssh.Signer     // in order of preference
	Emit         func(event.Event)
	Log          hclog.Logger

	// Service returns the name of the service that a command starts, or "". The
	// force-command of a certificate names a service by its command.
	Service func(command string) string
}

// A Peer is the other end of a connection.
type Peer struct {
	Session string         // id of the connection
	Remote  netip.AddrPort // of the client, as a trusted balancer has it
	Source  netip.Addr     // which gets the penalties; not valid: nobody gets any
	Opened  time.Time

	// Waiting, if set, is called when the login waits for a person to sign in with the
	// browser, who may take so long. The context that it returns ends when the client
	// has gone. over is called when the wait is over.
	Waiting func(time.Duration) (present context.Context, over func())
}

// A Grant is what a login ended with: what the connection may do. It is never
// changed; a re-check makes another one.
type Grant struct {
	User        *directory.User
	Method      string         // by which the login is known
	Policy      *policy.Policy // what the rules allow
	Restriction error          // if set, only the password can be changed, and why

	proofs proofs
	remote netip.Addr
}

// proofs are what one login has proved so far. They only grow.
type proofs struct {
	who          directory.Identity // the person; zero before the first proof
	method       string             // the last method; a one-time code counts as the method before it
	factors      []string           // in the order in which they were proved
	keys         []string           // of the directory, marshalled
	certificates []certificate
	principal    string // of a Kerberos ticket
	subject      string // of an ID token
	restriction  error  // the server answered a bind: the password has to be changed
	grace        bool   // the directory accepted a password although it has expired

	passwordChanged time.Time // when the user's password was last changed
	ownChange       bool      // the user has changed it in this login, and the time is not known yet
}

// A certificate has proved who a user is. Grant is what it allows.
type certificate struct {
	*ssh.Certificate
	cert.Grant
	service string // the only service it is for; empty: any
}

// grantKey is where ssh.Permissions carry the Grant out of the SSH library.
type grantKey struct{}

// Granted returns the Grant of a login that has succeeded.
func Granted(p *ssh.Permissions) (*Grant, error) {
	if p != nil {
		if g, ok := p.ExtraData[grantKey{}].(*Grant); ok {
			return g, nil
		}
	}
	return nil, errors.New("authenticated without a policy") // there is no session without a policy
}

// certificateFields returns the fields of events about a certificate.
func certificateFields(g cert.Grant) map[string]string {
	return map[string]string{
		"certificate": Printable(g.ID), "certificate_serial": strconv.FormatUint(g.Serial, 10), "certificate_authority": g.Authority,
	}
}

// fields returns the fields of events about the keys that were proved.
func (p proofs) fields() map[string]string {
	fields := map[string]string{}
	for _, c := range p.certificates {
		fields = certificateFields(c.Grant)
		fields["fingerprint"] = ssh.FingerprintSHA256(c.Key)
	}
	for _, blob := range p.keys {
		if k, err := ssh.ParsePublicKey([]byte(blob)); err == nil {
			fields["fingerprint"] = ssh.FingerprintSHA256(k)
		}
	}
	fields["principal"], fields["subject"] = Printable(p.principal), Printable(p.subject)
	return fields
}

// Instruction says in two sentences what a restricted user has to do first.
func (g *Grant) Instruction() string {
	return Sentence(g.Restriction) + " Change it with: ssh HOST passwd"
}

// Certified reports whether a certificate has a part in the login.
func (g *Grant) Certified() bool { return len(g.proofs.certificates) > 0 }

// Permits reports whether the certificates of the login, if it used any, are
// for a service.
func (g *Grant) Permits(service string) bool {
	return !slices.ContainsFunc(g.proofs.certificates, func(c certificate) bool { return c.service != "" && c.service != service })
}

// SameRights reports whether two grants allow the same, whatever else the
// directory reports about the user now, and however long it holds.
func (g *Grant) SameRights(other *Grant) bool {
	a, b := *g.Policy, *other.Policy
	a.User, b.User = nil, nil
	a.ValidUntil, b.ValidUntil = time.Time{}, time.Time{}
	return (g.Restriction == nil) == (other.Restriction == nil) && reflect.DeepEqual(a, b)
}

// Recheck looks up the person of the grant in held again, decides as Review does, and puts the
// result in the place of before. If another result has come meanwhile, it asks again: which of
// two answers is the newer one is not known, and the older one must not stay. It is safe for
// concurrent use.
func (g *Gate) Recheck(ctx context.Context, held *atomic.Pointer[Grant]) (before, after *Grant, err error) {
	for {
		before = held.Load()
		u, err := g.Directory.Lookup(directory.Fresh(ctx), before.User.Name)
		after, err = g.Review(before, u, err)
		if err != nil || held.CompareAndSwap(before, after) {
			return before, after, err
		}
	}
}

// Review makes the decision of a login again for an open session. u and err are the
// present answer of the directory. If it could not be asked, the user is as before: rules
// and revoked certificates count nevertheless. Review returns grant itself if nothing has
// changed, another Grant if something has, and an error if the session must end.
func (g *Gate) Review(grant *Grant, u *directory.User, err error) (*Grant, error) {
	switch {
	case directory.Refused(err):
		return nil, err
	case err != nil: // no session ends because a server is down
		g.Log.Warn("look up a user with an open session", "user", grant.User.Name, "error", err)
		u = grant.User
	}
	next, err := g.judge(grant.proofs, u, grant.remote, true)
	if err != nil {
		return nil, err
	}
	if next.proofs.ownChange { // a later change is by somebody else
		next.proofs.passwordChanged, next.proofs.ownChange = u.State.PasswordChanged, false
	} else if grant.SameRights(next) && grant.Policy.ValidUntil.Equal(next.Policy.ValidUntil) && grant.User.Name == u.Name && grant.User.DN == u.DN {
		return grant, nil
	}
	return next, nil
}

// revokes reports whether err says that a session must end.
func revokes(err error) bool {
	_, more := errors.AsType[*unfinished](err)
	return directory.Refused(err) || more || slices.ContainsFunc(
		[]error{policy.ErrDenied, cert.ErrRevoked, cert.ErrKeyRevoked, cert.ErrAuthority, errKeyRemoved, errPasswordChanged, errMethod},
		func(target error) bool { return errors.Is(err, target) })
}

// judge decides what u, who has proved p from remote, may do. The error is an
// *unfinished if the rules ask for more factors. open says that this is about an open
// session, which a list of revoked certificates that cannot be read does not end. judge has
// no side effect.
func (g *Gate) judge(p proofs, u *directory.User, remote netip.Addr, open bool) (*Grant, error) {
	if p.who != u.Identity {
		return nil, &directory.Refusal{Why: directory.ErrNoUser, Detail: "the name belongs to somebody else now"}
	}
	err := g.outdated(p, u, open && g.OnChange == onChangeKeep)
	switch {
	case err == nil:
	case open && !revokes(err): // the account and the rules still decide
		g.Log.Warn("decide about an open session", "user", u.Name, "error", err)
	default:
		return nil, err
	}
	restriction, refused := p.restriction, error(nil)
	bound := u.ID == "" && p.restriction != nil // without a service account, only the bind shows the state
	if err := u.State.Err(); err != nil && !bound && !(p.grace && u.State.Status == directory.StatusPasswordExpired) {
		if restriction = restrictionIn(err); restriction == nil {
			refused = proved(err)
		}
	}
	pol, err := g.resolve(u, p.method, remote)
	if err != nil {
		return nil, cmp.Or(refused, err)
	}
	next, done := missing(pol.Require, p.factors)
	switch {
	case !done && len(next) == 0: // before the state of the account: only a person who has proved what the rules ask for may learn it
		return nil, wrongMethod(pol.Require, p.factors)
	case refused != nil:
		return nil, refused
	case done && restriction != nil && !pol.Allows("passwd"):
		return nil, proved(restriction)
	case done:
		return &Grant{User: u, Method: p.method, Policy: pol, Restriction: restriction, proofs: p, remote: remote}, nil
	}
	return nil, &unfinished{next}
}

func (g *Gate) resolve(u *directory.User, method string, remote netip.Addr) (*policy.Policy, error) {
	q := policy.Request{User: u, Remote: remote, Method: method, Time: time.Now()}
	p, err := g.Rules.Resolve(q)
	if g.Log.IsDebug() {
		for _, r := range g.Rules.Explain(q).Rules {
			g.Log.Debug("rule", "user", u.Name, "method", method, "rule", r.Name, "matches", r.Matched, "why", reasons(r))
		}
		g.Log.Debug("rules", "user", u.Name, "method", method, "refused", err)
	}
	return p, err
}

// reasons are the explanations of those conditions of r that decided whether
// r matches.
func reasons(r policy.ExplainedRule) string {
	var why []string
	for _, c := range r.Conditions {
		if c.Held == r.Matched {
			why = append(why, c.Key+": "+c.Why)
		}
	}
	return strings.Join(why, "; ")
}

// outdated returns why something in p no longer proves anything. A Kerberos ticket was
// issued for a password, so a new password makes the ticket outdated as well. With keep,
// removed keys and old passwords still count. An error that does not revoke anything says
// that a certificate or key could not be checked, and nothing else is outdated.
func (g *Gate) outdated(p proofs, u *directory.User, keep bool) error {
	var errs []error
	for _, c := range p.certificates {
		errs = append(errs, g.Certificates.Trusts(c.Certificate, u.Source))
	}
	for _, blob := range p.keys {
		errs = append(errs, g.Certificates.Revokes([]byte(blob)))
	}
	if i := slices.IndexFunc(errs, revokes); i >= 0 {
		return errs[i]
	}
	unchecked := cmp.Or(errs...)
	if keep || u.Cached {
		return unchecked
	}
	for _, blob := range p.keys {
		if !slices.ContainsFunc(u.Keys, func(k directory.Key) bool { return string(k.Marshal()) == blob }) {
			return errKeyRemoved
		}
	}
	byPassword := slices.ContainsFunc(p.factors, func(f string) bool { return f == methodPassword || f == methodInteractive || f == methodTicket })
	if byPassword && !p.ownChange && u.State.PasswordChanged.After(p.passwordChanged) {
		return errPasswordChanged
	}
	return unchecked
}

// restrictionIn returns err if it asks only for a new password, and otherwise
// nil.
func restrictionIn(err error) error {
	if errors.Is(err, directory.ErrPasswordExpired) || errors.Is(err, directory.ErrMustChange) {
		return err
	}
	return nil
}

// proved marks a refusal whose reason the user may learn, because the user has proved
// everything that the rules ask for before it.
func proved(err error) error {
	if r, ok := errors.AsType[*directory.Refusal](err); ok {
		marked := *r
		marked.Proved = true
		return &marked
	}
	return err
}
