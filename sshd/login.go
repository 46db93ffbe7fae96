package sshd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/early"
	"berth/sshd/event"
	"berth/sshd/state"
)

// A login is the authentication of one connection: what has been proved so far,
// and the callbacks of the SSH library. The library calls them one at a time.
type login struct {
	*conn
	ctx context.Context
	pre ssh.ServerPreAuthConn

	name   string // last looked up, as typed
	found  *directory.User
	err    error
	proved []string // methods that succeeded, when a rule asks for several

	certificates []certificate // those that took part in it
	keys         []string      // of the directory, likewise, marshalled
	changed      bool          // the user has just changed the password

	offered     bool     // a key or certificate, which led nowhere
	refusedKeys []string // fingerprints of such keys
	told        bool     // an event has told how this login failed
}

// grantKey is where Permissions carry the grant out of authentication.
type grantKey struct{}

// Method names of RFC 4252, RFC 4256, RFC 4462.
const (
	methodPassword    = "password"
	methodPublicKey   = "publickey"
	methodInteractive = "keyboard-interactive"
	methodTicket      = "gssapi-with-mic"
)

// factorCode is a one-time code, which rules require beside a method.
const factorCode = "totp"

// config is the library's view of this login.
func (l *login) config(hello early.Hello) *ssh.ServerConfig {
	s := l.srv
	cfg := &ssh.ServerConfig{
		Config:                    ssh.Config{KeyExchanges: s.KeyExchanges, Ciphers: s.ciphers(hello), MACs: s.MACs},
		PublicKeyAuthAlgorithms:   s.KeyAlgorithms,
		MaxAuthTries:              s.MaxTries,
		ServerVersion:             s.identification(),
		PreAuthConnCallback:       l.begin,
		BannerCallback:            func(ssh.ConnMetadata) string { return s.banner() },
		VerifiedPublicKeyCallback: l.key,
	}
	next := l.callbacks()
	cfg.PasswordCallback, cfg.PublicKeyCallback = next.PasswordCallback, next.PublicKeyCallback
	cfg.KeyboardInteractiveCallback, cfg.GSSAPIWithMICConfig = next.KeyboardInteractiveCallback, next.GSSAPIWithMICConfig
	old := s.legacy(l.remote.Addr())
	weaken(cfg, old, hello)
	for _, k := range s.hostKeys(old, hello) {
		cfg.AddHostKey(k)
	}
	return cfg
}

// callbacks offers the methods named, or all.
func (l *login) callbacks(methods ...string) ssh.ServerAuthCallbacks {
	offers := func(m string) bool { return len(methods) == 0 || slices.Contains(methods, m) }
	var cb ssh.ServerAuthCallbacks
	if offers(methodPublicKey) {
		cb.PublicKeyCallback = l.offer
	}
	if offers(methodPassword) {
		cb.PasswordCallback = l.password
	}
	if offers(methodPassword) || offers(methodInteractive) {
		cb.KeyboardInteractiveCallback = l.interactive
	} else if offers(factorCode) {
		cb.KeyboardInteractiveCallback = l.code
	}
	if offers(methodTicket) {
		cb.GSSAPIWithMICConfig = l.tickets()
	}
	return cb
}

// begin runs when keys have been exchanged and nobody is authenticated yet.
func (l *login) begin(pre ssh.ServerPreAuthConn) {
	l.pre = pre
	fields := map[string]string{}
	if a, ok := pre.(ssh.AlgorithmsConnMetadata); ok {
		n := a.Algorithms()
		fields = map[string]string{"kex": n.KeyExchange, "host_key": n.HostKey, "cipher": n.Write.Cipher, "mac": n.Write.MAC}
	}
	l.emit(event.Event{Type: event.ConnectionOpened, Client: l.client, Fields: fields})
}

// password is the callback of RFC 4252, section 8.
func (l *login) password(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	return l.try(meta, []string{methodPassword}, func(u *directory.User) error {
		if l.wantsCode(u, methodPassword) {
			return errCodeNotGiven // and whether the password is right stays open
		}
		return l.authenticate(u, string(password))
	})
}

// interactive is the callback of RFC 4256. Somebody who proves a password that
// must be changed is asked for a new one right here, and then goes on.
func (l *login) interactive(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	password, err := question(ask, "Password: ")
	if err != nil {
		return nil, err
	}
	proved, check := []string{methodInteractive}, func(u *directory.User) error { return l.authenticate(u, password) }
	if l.srv.Codes != nil {
		proved, check = l.passwordAndCode(meta, password, ask)
	}
	return l.try(meta, proved, func(u *directory.User) error {
		err := check(u)
		if restrictedTo(err) != nil && directory.Proved(err) {
			return l.changeNow(u, password, err, ask)
		}
		return err
	})
}

// authenticate asks the directory. A NUL or an empty password is nobody's.
func (l *login) authenticate(u *directory.User, password string) error {
	if password == "" || strings.ContainsRune(password, 0) {
		return &directory.Refusal{Why: directory.ErrBadPassword, Detail: "empty, or holds a NUL"}
	}
	return l.srv.Directory.Authenticate(l.ctx, u, password)
}

// offer answers whether a key may be tried. It proves nothing, so account state
// and policy wait for key.
func (l *login) offer(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	started := time.Now()
	c, certified := key.(*ssh.Certificate)
	u, err := l.lookup(meta.User())
	if err == nil {
		var perms *ssh.Permissions
		if certified {
			perms, err = l.certified(u, c)
		} else {
			perms, err = l.userKey(u, key)
		}
		if err == nil {
			return perms, nil
		}
	}
	told := errors.Is(err, errCertificate)
	if !directory.Refused(err) && !errors.Is(err, errKeyRefused) && !told {
		return nil, l.reject(meta.User(), methodPublicKey, err)
	}
	if !l.offered || certified {
		// The first offer tells whether the name was looked up, the next come from
		// memory; with a certificate there is a signature to verify.
		l.wait(started)
	}
	l.offered = true
	if !told {
		l.refusedKeys = append(l.refusedKeys, ssh.FingerprintSHA256(key))
	}
	return nil, err
}

// errKeyRefused says that a key is not one of the user's, or not from here.
var errKeyRefused = errors.New("key not accepted")

// userKey returns the permissions of u with key, if it is one of those that may
// be used from here and now.
func (l *login) userKey(u *directory.User, key ssh.PublicKey) (*ssh.Permissions, error) {
	blob := string(key.Marshal())
	for _, k := range u.Keys {
		if string(k.Marshal()) != blob {
			continue
		}
		if err := k.Usable(l.remote.Addr(), time.Now()); err != nil {
			return nil, fmt.Errorf("%w: %w", errKeyRefused, err)
		}
		perms := &ssh.Permissions{}
		if k.NoTouch {
			perms.Extensions = map[string]string{"no-touch-required": ""}
		}
		return perms, nil
	}
	return nil, fmt.Errorf("%w: not one of the user's %d", errKeyRefused, len(u.Keys))
}

// key runs when the client has proved that it holds a key that offer let pass.
func (l *login) key(meta ssh.ConnMetadata, key ssh.PublicKey, perms *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	certificates, keys := l.certificates, l.keys
	if c, ok := perms.ExtraData[certificateKey{}].(certificate); ok {
		l.certificates = append(slices.Clone(certificates), c)
	} else {
		l.keys = append(slices.Clone(keys), string(key.Marshal()))
	}
	granted, err := l.try(meta, []string{methodPublicKey}, func(u *directory.User) error {
		err := u.State.Err()
		var r *directory.Refusal
		if errors.As(err, &r) {
			r.Proved = true // the key was: the reason may be told
		}
		return err
	})
	if _, partial := err.(*ssh.PartialSuccessError); err != nil && !partial {
		l.certificates, l.keys = certificates, keys
	}
	if granted != nil {
		granted.Extensions = perms.Extensions
	}
	return granted, err
}

// try looks the user up, lets check prove some factors, the first of which is
// the method, and decides.
func (l *login) try(meta ssh.ConnMetadata, factors []string, check func(*directory.User) error) (*ssh.Permissions, error) {
	started := time.Now()
	name := meta.User()
	u, err := l.lookup(name)
	if err == nil {
		err = check(u)
	}
	if err == nil && u.State.Status != directory.StatusActive {
		u, err = l.reread(name) // what was read before the proof is no longer so
	}
	var g *grant
	if err == nil || (directory.Proved(err) && restrictedTo(err) != nil) {
		g, err = l.decide(u, factors, restrictedTo(err))
	}
	if partial, ok := err.(*ssh.PartialSuccessError); ok {
		return nil, partial // the library insists on the bare type
	}
	if err != nil {
		l.wait(started)
		return nil, l.reject(name, askedBy(factors[0]), err)
	}
	l.accepted(g)
	return &ssh.Permissions{ExtraData: map[any]any{grantKey{}: g}}, nil
}

// accepted tells of the login before the client hears of it.
func (l *login) accepted(g *grant) {
	e := event.Event{Type: event.LoginAccepted, Method: l.method, Duration: time.Since(l.opened), Fields: map[string]string{}}
	for _, c := range l.certificates {
		e.Fields = certificateFields(c.Grant)
	}
	if len(g.factors) > 1 {
		e.Fields["factors"] = strings.Join(g.factors, ", ")
	}
	if l.found.Cached {
		e.Fields["directory"] = "cached"
	}
	l.emit(e)
	l.greet()
	if g.restricted != nil {
		l.pre.SendAuthBanner(g.restriction() + "\n")
		return
	}
	l.warn(l.found.State)
}

// warn tells somebody who is logging in that the password expires soon.
func (l *login) warn(s directory.State) {
	if !s.ExpiresSoon {
		return
	}
	when := expiry(s.PasswordExpires, time.Now())
	l.pre.SendAuthBanner("Your password expires " + when + ". Change it with: ssh HOST passwd\n")
	l.emit(event.Event{Type: event.PasswordExpiring, Detail: when})
}

// expiry says when t is, for people.
func expiry(t, now time.Time) string {
	when := t.Format("on 2006-01-02 at 15:04 MST")
	switch days := int(t.Sub(now).Hours() / 24); days {
	case 0:
		return when + ", within a day"
	case 1:
		return when + ", in 1 day"
	default:
		return fmt.Sprintf("%s, in %d days", when, days)
	}
}

// decide says what somebody who proved some factors may do.
func (l *login) decide(u *directory.User, factors []string, restricted error) (*grant, error) {
	method := l.methodOf(factors)
	p, err := l.resolve(u, method)
	if err != nil {
		return nil, err
	}
	l.user, l.userID, l.method = u.Name, u.ID, method
	proved, err := l.demand(p.Require, factors)
	if err != nil {
		return nil, err
	}
	if restricted != nil && !p.Allows("passwd") {
		return nil, &directory.Refusal{Why: restricted, Proved: true}
	}
	l.release()
	if l.release, err = l.srv.State.Acquire(u.ID, p.Limits.Sessions); err != nil {
		l.release = func() {}
		return nil, err
	}
	return &grant{
		policy: p, restricted: restricted, certificates: l.certificates, factors: proved, keys: l.keys,
		passwordChanged: u.State.PasswordChanged, ownChange: l.changed,
	}, nil
}

// lookup finds a user once a connection: a client tries many keys.
func (l *login) lookup(name string) (*directory.User, error) {
	if l.name == name && (l.found != nil || l.err != nil) {
		return l.found, l.err
	}
	l.name, l.found, l.err = name, nil, nil
	if err := checkName(name); err != nil {
		l.err = err
	} else {
		l.found, l.err = l.srv.Directory.Lookup(l.ctx, name)
	}
	if l.found != nil {
		l.skipped(l.found)
	}
	return l.found, l.err
}

// reread looks the user up once more.
func (l *login) reread(name string) (*directory.User, error) {
	l.found, l.err = nil, nil
	return l.lookup(name)
}

// checkName refuses what no directory calls a person, before it is asked: LDAP
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

// skipped tells of keys in the directory that cannot be used.
func (l *login) skipped(u *directory.User) {
	for _, n := range u.Notes {
		l.emit(event.Event{
			Type: event.KeySkipped, User: u.Name, UserID: u.ID, Reason: event.UnusableKey, Detail: n.Reason,
			Fields: map[string]string{"attribute": n.Attribute, "index": fmt.Sprint(n.Index), "fingerprint": n.Fingerprint},
		})
	}
}

// wait makes refusals take the same time, whatever they are about.
func (l *login) wait(started time.Time) {
	sleep(l.ctx, time.Until(started.Add(l.srv.RefusalDelay)))
}

// reject tells the sinks why, and the client as much as it may know.
func (l *login) reject(name, method string, err error) error {
	l.told = true
	e := event.Event{Type: event.LoginRejected, User: printable(name), Method: method, Reason: reasonOf(err), Detail: err.Error()}
	if l.found != nil {
		e.User, e.UserID = l.found.Name, l.found.ID
	}
	switch {
	case deniedByUs(err):
		e.Type = event.LoginDenied
	case errors.Is(err, directory.ErrShielded):
		e.Type = event.LoginShielded
	case errors.Is(err, directory.ErrNoUser):
		l.hold(state.UnknownUser)
	case directory.Refused(err), errors.Is(err, errCode):
		l.hold(state.LoginFailed)
	}
	l.emit(e)
	if text := tell(err); text != "" {
		return &ssh.BannerError{Err: err, Message: text + "\n"}
	}
	return err
}

// hold holds a failed try against the source.
func (l *login) hold(kind state.Kind) {
	l.tried = true
	l.srv.State.Penalize(l.source, kind)
}

// failed tells of a login that came to nothing but refused keys.
func (l *login) failed() {
	if l.told || !l.offered {
		return
	}
	l.hold(state.LoginFailed)
	if len(l.refusedKeys) == 0 {
		return // certificates only: told when they were offered
	}
	l.emit(event.Event{
		Type: event.LoginRejected, User: printable(l.name), Method: methodPublicKey,
		Reason: event.KeyNotAccepted, Detail: strings.Join(l.refusedKeys, " "),
	})
}

// printable drops what a stranger may have put into a name or a version to
// upset a terminal or a log.
func printable(s string) string {
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
