package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/totp"
)

// What people are asked for in a login.
const (
	promptPassword   = "Password: "
	promptChoice     = "Password, or Enter to sign in with the browser: "
	promptCode       = "One-time code: "
	promptCodeChoice = "One-time code, or Enter to sign in with the browser: "
)

// The prompts for a new password, exactly as in the product's documentation.
const (
	PromptNew     = "New password: "
	PromptConfirm = "Confirm new password: "
)

// password is the callback of RFC 4252, section 8.
func (a *Attempt) password(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	return a.tryPassword(meta, &proof{factors: []string{methodPassword}, password: string(password)})
}

func (a *Attempt) tryPassword(meta ssh.ConnMetadata, p *proof) (*ssh.Permissions, error) {
	return a.try(meta, p, func(u *directory.User, err error) error {
		switch {
		case err != nil:
			return err
		case p.needsCode():
			return errCodeNotGiven // nobody learns whether the password is right
		}
		return a.authenticate(u, p.password)
	})
}

// A wantsPassword is the answer of the method password to a right password that must be
// changed: PASSWD_CHANGEREQ of RFC 4252, section 8. With Berth's patches, the SSH library
// finds its method PasswordChange.
type wantsPassword struct {
	attempt *Attempt
	prompt  string
}

func (w *wantsPassword) Error() string { return "a new password is asked for" }

func (w *wantsPassword) PasswordChange() (prompt string, change func(meta ssh.ConnMetadata, old, new []byte) (*ssh.Permissions, error)) {
	return w.prompt, func(meta ssh.ConnMetadata, old, new []byte) (*ssh.Permissions, error) {
		p := &proof{factors: []string{methodPassword}, password: string(old), changes: true, replacement: string(new)}
		return w.attempt.tryPassword(meta, p)
	}
}

// cannotChange are the clients, by the beginning of their identification, that treat the
// request for a new password as a broken connection. They are not asked, and get a
// restricted session.
var cannotChange = []string{"SSH-2.0-Go", "SSH-2.0-rclone", "SSH-2.0-paramiko"}

// asksInPassword reports whether the method password can ask for a new one. A client
// that was asked and sends the old password once more cannot change it. Another patch
// shows whether the library knows wantsPassword: the library has all patches or none.
func (a *Attempt) asksInPassword(p *proof) bool {
	_, patched := a.pre.(interface {
		Disconnect(reason uint32, message string) error
	})
	knows := !slices.ContainsFunc(cannotChange, func(prefix string) bool { return strings.HasPrefix(a.client, prefix) })
	return patched && knows && p.factors[0] == methodPassword && (p.changes || !a.name.asked)
}

// interactive is the callback of RFC 4256. If the rules ask for a one-time code beside
// the password, both are asked for before either is compared, so that nobody learns
// which of them was right. After a wrong password or an unknown name the code is asked
// for as well, but not compared, so that nobody learns who exists and needs a code.
func (a *Attempt) interactive(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	prompt := promptPassword
	if a.browserToo {
		prompt = promptChoice
	}
	password, err := a.question(ask, prompt)
	if err != nil {
		return nil, err
	}
	if a.browserToo && password == "" {
		return a.browser(meta, ask)
	}
	started := time.Now()
	p := &proof{factors: []string{methodInteractive}, password: password, ask: ask}
	return a.try(meta, p, func(u *directory.User, err error) error {
		needed := err == nil && p.needsCode()
		switch {
		case needed && a.gate.Codes == nil:
			return errNoCodes // before the password is compared: it proves nothing alone
		case err == nil && !needed:
			err = a.authenticate(u, password)
		}
		unproved := (directory.Refused(err) && !directory.Proved(err)) || errors.Is(err, errMethod)
		if a.gate.Codes == nil || (!needed && !unproved) {
			return err
		}
		a.wait(started) // the question comes after the same time for everybody
		typed, noAnswer := a.question(ask, promptCode)
		switch {
		case noAnswer != nil:
			return fmt.Errorf("%w: %w", errCodeNotGiven, noAnswer)
		case !needed:
			return err
		}
		err = a.authenticate(u, password)
		if err != nil && !directory.Proved(err) {
			return err
		}
		if wrong := a.useCode(u, typed); wrong != nil {
			return wrong
		}
		p.factors = append(p.factors, factorCode)
		return err
	})
}

// code is the callback of RFC 4256 for somebody who has proved another method.
func (a *Attempt) code(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	prompt := promptCode
	if a.browserToo {
		prompt = promptCodeChoice
	}
	typed, err := a.question(ask, prompt)
	if err != nil {
		return nil, err
	}
	if a.browserToo && typed == "" {
		return a.browser(meta, ask)
	}
	return a.try(meta, &proof{factors: []string{factorCode}}, func(u *directory.User, err error) error {
		if err != nil {
			return err
		}
		return a.useCode(u, typed)
	})
}

// question asks for one answer, which is not shown.
func (a *Attempt) question(ask ssh.KeyboardInteractiveChallenge, prompt string) (string, error) {
	answers, err := a.ask(ask, "", prompt)
	if err != nil {
		return "", err
	}
	if len(answers) != 1 {
		return "", errors.New("one answer expected")
	}
	return answers[0], nil
}

// ask asks for answers that are not shown.
func (a *Attempt) ask(ask ssh.KeyboardInteractiveChallenge, instruction string, prompts ...string) ([]string, error) {
	defer a.waited(time.Now())
	return ask("", instruction, prompts, make([]bool, len(prompts)))
}

// waited notes that the person has answered what was asked at began.
func (a *Attempt) waited(began time.Time) {
	a.answered = time.Now()
	a.idle += a.answered.Sub(began)
}

// needsCode reports whether a one-time code is the only factor that may follow p.
func (p *proof) needsCode() bool {
	return len(p.next) > 0 && !slices.ContainsFunc(p.next, func(m string) bool { return m != factorCode })
}

// authenticate asks the directory, except about a password that nobody can have.
func (a *Attempt) authenticate(u *directory.User, password string) error {
	if password == "" || strings.ContainsRune(password, 0) {
		return &directory.Refusal{Why: directory.ErrBadPassword, Detail: "empty, or holds a NUL"}
	}
	return a.gate.Directory.Authenticate(a.ctx, u, password)
}

// useCode checks a code and uses it up. Wrong codes are counted for the user, so many
// connections can try no more codes than one.
func (a *Attempt) useCode(u *directory.User, typed string) error {
	codes, id := a.gate.Codes, u.Identity.String()
	if codes == nil {
		return errNoCodes
	}
	counter, err := codes.Check(id, directory.Reveal(u.TOTP), typed, time.Now())
	if err != nil && !errors.Is(err, totp.ErrWrong) {
		return fmt.Errorf("%w: %w", errCode, err)
	}
	if err := a.gate.State.UseCode(id, counter, err == nil); err != nil {
		return fmt.Errorf("%w: %w", errCode, err)
	}
	return nil
}

// ChangePassword changes the password of u in the directory. new and confirm are what u
// has typed. It returns the event beside the error.
func (g *Gate) ChangePassword(ctx context.Context, u *directory.User, old, new, confirm string) (event.Event, error) {
	var err error
	switch {
	case new == "":
		err = errEmpty
	case strings.Trim(new, " \t") != new:
		err = errBlank
	case new != confirm:
		err = errMismatch
	default:
		err = g.Directory.ChangePassword(ctx, u, old, new)
	}
	return PasswordEvent(u, err), err
}

// RulesFor returns text, and after it a sentence with the directory's rules for a new
// password, if the directory shows them.
func (g *Gate) RulesFor(ctx context.Context, u *directory.User, text string) string {
	rules, err := g.Directory.PasswordRules(ctx, u)
	g.Log.Debug("password rules", "user", u.Name, "rules", rules.String(), "error", err)
	if err != nil || rules.String() == "" {
		return text
	}
	return text + " " + rules.String()
}

// ExplainChange is the sentence for somebody whose new password was refused, with the
// rules if the password broke one.
func (g *Gate) ExplainChange(ctx context.Context, u *directory.User, err error) string {
	text := Sentence(err)
	for _, broken := range []error{directory.ErrPasswordTooShort, directory.ErrPasswordTooYoung, directory.ErrPasswordUsed, directory.ErrPasswordWeak} {
		if errors.Is(err, broken) {
			return g.RulesFor(ctx, u, text)
		}
	}
	return text
}

// PasswordEvent is the event of a change of u's password that ended with err.
func PasswordEvent(u *directory.User, err error) event.Event {
	e := event.Event{Type: event.PasswordChanged, User: u.Name, UserID: u.ID, Directory: u.Source, Service: "passwd"}
	if err != nil {
		e.Type, e.Reason, e.Detail = event.PasswordChangeFailed, ReasonOf(err), err.Error()
	}
	return e
}

// tries is how often a new password is asked for.
const tries = 3

// changePassword asks for a new password until one is accepted, the person gives up or
// has had all tries. It reports whether the password was changed.
func (a *Attempt) changePassword(g *Grant, p *proof) (changed bool, err error) {
	if p.ask == nil && !a.asksInPassword(p) {
		return false, nil
	}
	instruction := a.gate.RulesFor(a.ctx, g.User, Sentence(g.Restriction)+" Please choose a new one.")
	for a.name.asks < tries {
		new, confirm := p.replacement, p.replacement
		if p.ask != nil {
			answers, err := a.ask(p.ask, instruction, PromptNew, PromptConfirm)
			if err != nil {
				return false, fmt.Errorf("%w: no new password was given: %w", g.Restriction, err)
			}
			if len(answers) != 2 {
				return false, nil
			}
			new, confirm = answers[0], answers[1]
		} else if !p.changes {
			a.name.asked = true
			return false, &wantsPassword{a, instruction}
		}
		a.name.asks++
		e, err := a.gate.ChangePassword(a.ctx, g.User, p.password, new, confirm)
		a.emit(e)
		if err == nil {
			p.password = new
			return true, nil
		}
		instruction = a.gate.ExplainChange(a.ctx, g.User, err) + " Please try again."
		p.changes = false // p.replacement has been tried
	}
	return false, nil
}
