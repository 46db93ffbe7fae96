package sshd

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
)

// What is wrong with a new password before the directory is asked.
var (
	errEmpty    = errors.New("new password empty")
	errBlank    = errors.New("blank at an end of the new password")
	errMismatch = errors.New("new passwords differ")
)

// The dialogue, word for word as the product's documentation has it.
const (
	promptCurrent = "Current password: "
	promptNew     = "New password: "
	promptConfirm = "Confirm new password: "
	textUpdated   = "Password successfully updated."
	textFailed    = "Failed to update password."
)

// servePasswd asks for the current password and a new one, has the directory
// check and change it, and closes the connection.
func servePasswd(ctx context.Context, s *session, _ string) (uint32, error) {
	err := s.passwd(ctx)
	text := []string{textUpdated}
	if err != nil {
		text = []string{explain(err), textFailed}
	}
	for _, line := range text {
		s.say(s.ch, line)
	}
	code, err := status(err)
	s.exit(code)
	s.closeSoon(event.PasswordDialogue)
	return code, err
}

func (s *session) passwd(ctx context.Context) error {
	p := s.prompter()
	var lines [3]string
	for i, prompt := range []string{promptCurrent, promptNew, promptConfirm} {
		var err error
		if lines[i], err = p.ask(prompt); err != nil {
			if s.pty == nil {
				s.say(s.ch, "") // the prompt stands unanswered
			}
			return s.changed(errNoAnswer)
		}
	}
	return s.change(ctx, s.grant.Load().policy.User, lines[0], lines[1], lines[2])
}

// errNoAnswer ends the dialogue: the input is over, or Ctrl-C.
var errNoAnswer = errors.New("no answer")

// explain says err to the person in the dialogue.
func explain(err error) string {
	if errors.Is(err, errNoAnswer) {
		return "The dialogue was ended."
	}
	return sentence(err)
}

// change has the directory change the password of u, and tells the sinks.
func (c *conn) change(ctx context.Context, u *directory.User, old, new, confirm string) error {
	err := checkNew(new, confirm)
	if err == nil {
		err = c.srv.Directory.ChangePassword(ctx, u, old, new)
	}
	return c.changed(err)
}

// changed emits the event for a change that ended with err, and returns err.
func (c *conn) changed(err error) error {
	e := event.Event{Type: event.PasswordChanged, Service: "passwd"}
	switch {
	case errors.Is(err, errNoAnswer):
		e.Type, e.Reason = event.PasswordChangeFailed, event.NoAnswer
	case err != nil:
		e.Type, e.Reason, e.Detail = event.PasswordChangeFailed, reasonOf(err), err.Error()
	}
	c.emit(e)
	return err
}

// checkNew looks at what the directory would not, or not say clearly.
func checkNew(new, confirm string) error {
	switch {
	case new == "":
		return errEmpty
	case strings.Trim(new, " \t") != new:
		return errBlank
	case new != confirm:
		return errMismatch
	}
	return nil
}

// changeNow asks for a new password inside the login of somebody who has just
// proved old, until one is accepted or they have had enough. why is what stood
// against the login; nil means it no longer does.
func (l *login) changeNow(u *directory.User, old string, why error, ask ssh.KeyboardInteractiveChallenge) error {
	instruction := sentence(why) + " Please choose a new one."
	for range 3 {
		answers, err := ask("", instruction, []string{promptNew, promptConfirm}, []bool{false, false})
		if err != nil || len(answers) != 2 {
			return why
		}
		l.user, l.userID = u.Name, u.ID
		err = l.change(l.ctx, u, old, answers[0], answers[1])
		if err == nil {
			l.changed = true
			return nil
		}
		instruction = explain(err) + " Please try again."
	}
	return why
}
