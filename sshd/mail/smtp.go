package mail

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"berth/sshd/privatefile"
)

// A message is one mail to one person.
type message struct {
	id            string // of the header Message-ID, without the domain: the same at each try
	to            netmail.Address
	subject, body string
}

// errAway means that the server takes no mails at all now. errFinal means that trying
// again makes no sense, or could send a mail twice.
var (
	errAway  = errors.New("the mail server cannot be used")
	errFinal = errors.New("not tried again")
)

// smtpTimeout is how long the server may take for an answer.
const smtpTimeout = 30 * time.Second

// send sends a mail in a connection of its own.
func (s *Settings) send(ctx context.Context, m *message) error {
	msg, err := s.compose(m)
	if err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // only the end of the connection went wrong
		return nil
	}
	failed, ok := errors.AsType[*gomail.SendError](err)
	switch {
	case !ok, failed.Reason == gomail.ErrSMTPMailFrom, failed.Reason == gomail.ErrConnCheck:
		return fmt.Errorf("%w: %w", errAway, err)
	case failed.ErrorCode() >= 500:
		return fmt.Errorf("%w: the server refused the mail: %w", errFinal, err)
	case failed.Reason == gomail.ErrSMTPDataClose && failed.ErrorCode() == 0:
		return fmt.Errorf("%w: the server has the mail and did not confirm it: %w", errFinal, err)
	}
	return err
}

// compose returns the mail as it is sent.
func (s *Settings) compose(m *message) (*gomail.Msg, error) {
	from, err := netmail.ParseAddress(s.From)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(&m.to)
	msg.Subject(m.subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(m.id + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")  // the same for Exchange
	msg.SetBodyString(gomail.TypeTextPlain, m.body)
	return msg, nil
}

// dial connects, logs in if there is a user, and ends the connection.
func (s *Settings) dial(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("server: %s: %w", s.Server, err)
	}
	return client.Close()
}

func (s *Settings) client() (*gomail.Client, error) {
	host, port, err := s.address()
	if err != nil {
		return nil, err
	}
	secure, err := privatefile.ClientTLS(s.CAFile)
	if err != nil {
		return nil, err
	}
	secure.ServerName = host
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(secure),
		gomail.WithTimeout(smtpTimeout), gomail.WithoutNoop(),
	}
	if port == 465 {
		options = append(options, gomail.WithSSL())
	}
	if s.User != "" {
		password, err := privatefile.FirstLine(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %s: %w", s.PasswordFile, err)
		}
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(password))
	}
	return gomail.NewClient(host, options...)
}

// parseAddress returns the address in an attribute: one of ASCII without a name, quotes,
// comments or a second address.
func parseAddress(text string) (string, error) {
	if len(text) > 254 {
		return "", errors.New("is longer than 254 characters")
	}
	a, err := netmail.ParseAddress(text)
	ascii := !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
	if err != nil || !ascii || a.Name != "" || a.Address != text {
		return "", errors.New("must be one address in ASCII, such as alice@corp.example")
	}
	return text, nil
}
