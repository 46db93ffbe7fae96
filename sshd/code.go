package sshd

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/totp"
)

// One-time codes are asked for by keyboard-interactive. Beside a password the
// code is asked for in the same dialogue, before either is looked at, so that
// nobody learns from the answer that one of the two was right. So that nobody
// learns either who is there and needs a code, it is asked for as well, and not
// looked at, after a password that was wrong or of nobody.

const promptCode = "One-time code: "

// errCode says that a one-time code proves nothing here. It is told to nobody:
// the client must not learn that the other factor was right.
var errCode = errors.New("one-time code not accepted")

// What else can be wrong than what the packages totp and state say.
var (
	errCodeNotGiven = fmt.Errorf("%w: the rule requires one beside the password: both are asked for by keyboard-interactive", errCode)
	errNoCodes      = fmt.Errorf("%w: the rule requires one, and no secrets are configured", errCode)
)

// wantsCode reports whether u, who proves a password next, by method, has to
// give a code with it and has no other way to go on.
func (l *login) wantsCode(u *directory.User, method string) bool {
	p, err := l.resolve(u, method)
	if err != nil {
		return false // is told to who proves the password
	}
	next, _ := missing(p.Require, append(slices.Clone(l.proved), method))
	return len(next) > 0 && !slices.ContainsFunc(next, func(m string) bool { return m != factorCode })
}

// passwordAndCode goes on with a dialogue in which a password was given. It
// returns the factors that will be proved when check returns nil.
func (l *login) passwordAndCode(meta ssh.ConnMetadata, password string, ask ssh.KeyboardInteractiveChallenge) (factors []string, check func(*directory.User) error) {
	started := time.Now()
	u, err := l.lookup(meta.User())
	needed := err == nil && l.wantsCode(u, methodInteractive)
	if err == nil && !needed {
		err = l.authenticate(u, password)
	}
	settled := func(*directory.User) error { return err }
	unproved := directory.Refused(err) && !directory.Proved(err)
	if !needed && !unproved {
		return []string{methodInteractive}, settled
	}
	l.wait(started) // the question takes as long to come, whoever it is
	typed, failed := question(ask, promptCode)
	switch {
	case failed != nil:
		return []string{methodInteractive}, func(*directory.User) error { return fmt.Errorf("%w: %w", errCodeNotGiven, failed) }
	case !needed:
		return []string{methodInteractive}, settled
	}
	return []string{methodInteractive, factorCode}, func(u *directory.User) error {
		err := l.authenticate(u, password)
		if err != nil && !directory.Proved(err) {
			return err
		}
		if wrong := l.useCode(u, typed); wrong != nil {
			return wrong
		}
		return err
	}
}

// question asks one thing that is not to be seen.
func question(ask ssh.KeyboardInteractiveChallenge, prompt string) (string, error) {
	answers, err := ask("", "", []string{prompt}, []bool{false})
	if err != nil {
		return "", err
	}
	if len(answers) != 1 {
		return "", errors.New("one answer expected")
	}
	return answers[0], nil
}

// code is the callback of RFC 4256 for somebody who has proved another method.
func (l *login) code(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	typed, err := question(ask, promptCode)
	if err != nil {
		return nil, err
	}
	return l.try(meta, []string{factorCode}, func(u *directory.User) error { return l.useCode(u, typed) })
}

// methodOf is the method a login is known by that proves factors now: a code is
// none, it belongs to what was proved before.
func (l *login) methodOf(factors []string) string {
	if factors[0] == factorCode {
		return l.method
	}
	return factors[0]
}

// askedBy is the method of SSH by which a factor is proved.
func askedBy(factor string) string {
	if factor == factorCode {
		return methodInteractive
	}
	return factor
}

// useCode checks a code and uses it up. Wrong ones are counted for the user, so
// that many connections guess no more than one.
func (l *login) useCode(u *directory.User, typed string) error {
	codes := l.srv.Codes
	if codes == nil {
		return errNoCodes
	}
	counter, err := codes.Check(u.Identity.String(), directory.Reveal(u.TOTP), typed, time.Now())
	if err != nil && !errors.Is(err, totp.ErrWrong) {
		return fmt.Errorf("%w: %w", errCode, err)
	}
	if err := l.srv.State.UseCode(u.Identity.String(), counter, err == nil); err != nil {
		return fmt.Errorf("%w: %w", errCode, err)
	}
	return nil
}
