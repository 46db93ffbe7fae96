package sshd

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
	"berth/sshd/hostkey"
	"berth/sshd/login"
)

// A keyError is why a new key or certificate is refused before anybody else is asked.
type keyError struct {
	detail   string
	reason   event.Reason
	sentence string // for the person
}

func (e *keyError) Error() string { return e.detail }

var (
	errNotAKey    = &keyError{"not one public key", event.NotAKey, "This is not one public key in the format of OpenSSH, RFC 4716 or PuTTY."}
	errPrivateKey = &keyError{"a private key", event.PrivateKey, "This is a private key: keep it to yourself. The public one is needed, in the file that ends in .pub."}
	errPermanent  = &keyError{"the login is by a certificate, which ends, and a key does not", event.CertificateRenewsItself, "You have logged in with a certificate. Log in another way to add a key."}
	errKeyOption  = &keyError{"option of a key not allowed", event.KeyOption, "A key may have the options from= and expiry-time= only."}
)

// mostKeyText is more bytes than a key takes in any format.
const mostKeyText = 64 << 10

var errLongKey = errors.New("too long")

// readKey reads what the client sends. That may take long, so that the person may no
// longer use the service when it is there.
func (s *session) readKey() (string, error) {
	text, err := s.readText()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotAKey, err)
	}
	return text, s.refused(s.service.Load(), "")
}

// readText reads to the end. At a terminal, one line in OpenSSH's format is enough; other
// formats end with Ctrl-D.
func (s *session) readText() (string, error) {
	if s.pty == nil {
		text, err := io.ReadAll(io.LimitReader(s.ch, mostKeyText+1))
		if len(text) > mostKeyText {
			err = errLongKey
		}
		return string(text), err
	}
	s.say(s.ch, "Paste the public key, then press Ctrl-D:")
	var text strings.Builder
	for text.Len() <= mostKeyText {
		line, err := s.pty.ReadLine()
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err != nil {
			return "", err
		}
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && text.Len() == 0 {
			return line, nil
		}
		text.WriteString(line + "\n")
	}
	return "", errLongKey
}

// keyLine makes the line that is stored for a public key in any format: its options, if
// they only limit it, the key, and the comment with the day.
func keyLine(text string, now time.Time) (string, error) {
	k, options, err := parseNewKey(text)
	if err != nil {
		return "", err
	}
	for _, o := range options {
		if name, _, _ := strings.Cut(strings.ToLower(o), "="); name != "from" && name != "expiry-time" {
			return "", fmt.Errorf("%w: %s", errKeyOption, login.Printable(name))
		}
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Public)))
	if len(options) > 0 {
		line = strings.Join(options, ",") + " " + line
	}
	comment, _ := splitAdded(strings.Join(strings.Fields(login.Printable(k.Comment)), " "))
	if comment != "" {
		line += " " + comment
	}
	return line + " (added " + now.UTC().Format(time.DateOnly) + ")", nil
}

// parseNewKey reads one key. Only OpenSSH's lines have options. Errors are, or wrap, a
// *keyError.
func parseNewKey(text string) (k hostkey.Key, options []string, err error) {
	switch text = strings.TrimSpace(text); {
	case strings.HasPrefix(text, "----"), strings.HasPrefix(text, "PuTTY-"):
		k, err = hostkey.ParsePublic([]byte(text))
	case strings.ContainsAny(text, "\r\n"):
		err = errors.New("several lines")
	default:
		k.Public, k.Comment, options, _, err = ssh.ParseAuthorizedKey([]byte(text))
	}
	switch {
	case errors.Is(err, hostkey.ErrPrivate):
		err = errPrivateKey
	case err != nil:
		err = fmt.Errorf("%w: %w", errNotAKey, err)
	}
	return k, options, err
}

// A directory does not record when a value was added, so the day is written in the
// comment of keys that were added here.
var addedMark = regexp.MustCompile(`(?:^|\s+)\(added (\d{4}-\d\d-\d\d)\)$`)

// splitAdded separates a comment from the day when the key was added, which is zero if it
// is not known.
func splitAdded(comment string) (rest string, added time.Time) {
	m := addedMark.FindStringSubmatchIndex(comment)
	if m == nil {
		return comment, time.Time{}
	}
	added, _ = time.Parse(time.DateOnly, comment[m[2]:m[3]]) // zero: no day of the calendar
	return comment[:m[0]], added
}
