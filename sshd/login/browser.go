package login

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/oidc"
)

// browser is the callback of RFC 4256 for a sign-in with the browser. Everybody gets a
// link, so nobody learns who exists and may use it.
func (a *Attempt) browser(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	var person oidc.Person
	failed := a.gate.State.Barred(a.peer.Source)
	if failed == nil {
		person, failed = a.signIn(ask)
	}
	p := &proof{factors: []string{methodBrowser}, subject: person.Subject}
	return a.try(meta, p, func(u *directory.User, err error) error {
		switch {
		case failed != nil:
			return failed
		case err != nil:
			return err
		}
		if err := spelled(person.Name, u.Name); err != nil {
			return err
		}
		return a.checkClaim(u, meta.User(), claim{person.Claim, person.Name, a.gate.SignIn.Directory(), errNotThem})
	})
}

// spelled returns nil if the provider spells the name of a person as the directory does,
// apart from the case of letters. Directories find people by similar characters, too
// (RFC 4518; Active Directory by é for e), which at the provider may be somebody else.
// A prefix or suffix of the name may name the directory.
func spelled(name, found string) error {
	around := strings.Replace(strings.ToLower(name), strings.ToLower(found), "", 1)
	if err := checkName(name); err != nil || strings.ContainsFunc(around, func(r rune) bool { return r > unicode.MaxASCII }) {
		return fmt.Errorf("%w: the provider spells the name %+q, and the directory %+q", errNotThem, name, found)
	}
	return nil
}

// signIn shows a link and a code, and waits until somebody has signed in with them.
func (a *Attempt) signIn(ask ssh.KeyboardInteractiveChallenge) (oidc.Person, error) {
	defer a.waited(time.Now())
	s, err := a.gate.SignIn.Begin(a.ctx, a.peer.Source)
	if err != nil {
		return oidc.Person{}, err
	}
	defer s.Close()
	ctx := a.ctx
	if a.peer.Waiting != nil { // only now: until it is counted here, admission bounds it
		var over func()
		ctx, over = a.peer.Waiting(a.gate.SignIn.Timeout())
		defer over()
	}
	if _, err := ask("", a.signInText(s), nil, nil); err != nil {
		return oidc.Person{}, fmt.Errorf("%w: %w", oidc.ErrNotSignedIn, err)
	}
	return s.Wait(ctx)
}

// signInText tells the person what to do. It names the address, because somebody else
// may have begun the login and sent the link (RFC 8628, section 5.4).
func (a *Attempt) signInText(s *oidc.SignIn) string {
	text := fmt.Sprintf("To sign in, open this link in a browser:\n  %s\nThe code to type there is %s.\n", s.Link, s.Code)
	if s.Complete != "" {
		text = fmt.Sprintf("To sign in, open this link in a browser:\n  %s\nIf it asks for a code, it is %s.\n", s.Complete, s.Code)
	}
	return text + fmt.Sprintf("Go on only if you began this login yourself just now, from %s.", a.peer.Remote.Addr())
}
