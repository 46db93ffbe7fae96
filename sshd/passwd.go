package sshd

import (
	"bufio"
	"context"
	"strings"

	"berth/sshd/event"
	"berth/sshd/login"
)

// The texts of the dialogue, exactly as in the product's documentation.
const (
	promptCurrent = "Current password: "
	textUpdated   = "Password successfully updated."
	textFailed    = "Failed to update password."
)

// servePasswd asks for the current password and a new one, changes the password in the
// directory, and closes the connection.
func servePasswd(ctx context.Context, s *session, _ string) (uint32, error) {
	err := s.passwd(ctx)
	text := []string{textUpdated}
	if err != nil {
		text = []string{s.conn.srv.Gate.ExplainChange(ctx, s.conn.grant.Load().User, err), textFailed}
	}
	for _, line := range text {
		s.say(s.ch, line)
	}
	code, err := status(err)
	s.exit(code)
	s.conn.closeSoon(event.PasswordDialogue)
	return code, err
}

func (s *session) passwd(ctx context.Context) error {
	in, u := bufio.NewReaderSize(s.ch, longestLine), s.conn.grant.Load().User
	var lines [3]string
	for i, prompt := range []string{promptCurrent, login.PromptNew, login.PromptConfirm} {
		if prompt == login.PromptNew && s.pty != nil { // a program without a terminal gets the prompts only
			if rules := s.conn.srv.Gate.RulesFor(ctx, u, ""); rules != "" {
				s.say(s.ch, strings.TrimSpace(rules))
			}
		}
		var err error
		if lines[i], err = s.ask(in, prompt); err != nil {
			s.say(s.ch, "") // end the line after a prompt that got no answer
			s.conn.emit(login.PasswordEvent(u, login.ErrNoAnswer))
			return login.ErrNoAnswer
		}
	}
	// The connection ends now in any case. Without this, a review of it that comes between the
	// change and the end would revoke the session, because its password was changed.
	s.conn.ending.CompareAndSwap(nil, &ending{reason: event.PasswordDialogue})
	e, err := s.conn.srv.Gate.ChangePassword(ctx, u, lines[0], lines[1], lines[2])
	s.conn.emit(e)
	return err
}
