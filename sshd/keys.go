package sshd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/login"
)

// errKeysUsage is how the command is called.
const errKeysUsage = message("Usage: keys, keys add < FILE.pub, keys remove FINGERPRINT")

// serveKeys lists, adds or removes the SSH keys of the user's entry.
func serveKeys(ctx context.Context, s *session, command string) (uint32, error) {
	words := strings.Fields(command)[1:]
	var err error
	switch {
	case len(words) == 0:
		err = s.listKeys(ctx)
	case len(words) == 1 && words[0] == "add":
		fingerprint, failure := s.addKey(ctx)
		err = s.keyChanged(event.KeyAdded, "add", fingerprint, failure)
	case len(words) == 2 && words[0] == "remove":
		fingerprint := "SHA256:" + strings.TrimPrefix(words[1], "SHA256:")
		failure := s.conn.srv.Gate.Directory.RemoveKey(ctx, s.conn.grant.Load().User, fingerprint)
		err = s.keyChanged(event.KeyRemoved, "remove", login.Printable(fingerprint), failure)
	default:
		err = errKeysUsage
	}
	if err != nil {
		s.say(s.ch.Stderr(), explainKeys(err))
	}
	return status(err)
}

// explainKeys returns err as a sentence for the person.
func explainKeys(err error) string {
	if m, ok := errors.AsType[message](err); ok {
		return m.Error()
	}
	if r, ok := errors.AsType[*directory.Refusal](err); ok && errors.Is(err, directory.ErrKeyUnusable) {
		return "This key cannot be used: " + login.Printable(r.Detail) + "."
	}
	if k, ok := errors.AsType[*keyError](err); ok {
		return k.sentence
	}
	return cmp.Or(login.Sentence(err), "Your keys could not be changed.")
}

// listKeys shows the keys as the directory has them now.
func (s *session) listKeys(ctx context.Context) error {
	was := s.conn.grant.Load().User
	u, err := s.conn.srv.Gate.Directory.Lookup(directory.Fresh(ctx), was.Name)
	if err == nil && u.Identity != was.Identity {
		err = fmt.Errorf("name %q: %w", was.Name, directory.ErrNoUser)
	}
	if err != nil {
		return err
	}
	if len(u.Keys)+len(u.Notes) == 0 {
		s.say(s.ch, "You have no keys here.")
		return nil
	}
	for line := range strings.Lines(keyTable(u, time.Now())) {
		s.say(s.ch, strings.TrimRight(line, " \n"))
	}
	return nil
}

func keyTable(u *directory.User, now time.Time) string {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FINGERPRINT\tTYPE\tADDED\tCOMMENT")
	for _, k := range u.Keys {
		comment, added := splitAdded(k.Comment)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", ssh.FingerprintSHA256(k), k.Type(), age(added, now), login.Printable(remarks(k, comment)))
	}
	for _, n := range u.Notes {
		fmt.Fprintf(t, "%s\t-\t-\t%s\n", cmp.Or(n.Fingerprint, "-"), login.Printable("cannot be used: "+n.Reason))
	}
	t.Flush() // into memory
	return text.String()
}

// remarks returns the comment of a key and its limits.
func remarks(k directory.Key, comment string) string {
	var all []string
	if comment != "" {
		all = append(all, comment)
	}
	if len(k.From) > 0 {
		all = append(all, "from "+strings.Join(k.From, ","))
	}
	if !k.Expires.IsZero() {
		all = append(all, "expires "+k.Expires.Format("2006-01-02 15:04"))
	}
	return strings.Join(all, "; ")
}

// age describes when a key was added.
func age(added, now time.Time) string {
	if added.IsZero() {
		return "-"
	}
	switch days := int(now.Sub(added).Hours() / 24); days {
	case 0:
		return added.Format(time.DateOnly) + ", today"
	case 1:
		return added.Format(time.DateOnly) + ", 1 day ago"
	default:
		return fmt.Sprintf("%s, %d days ago", added.Format(time.DateOnly), days)
	}
}

// addKey reads a key from the client and stores it in the directory. The fingerprint is
// empty if there is no key.
func (s *session) addKey(ctx context.Context) (fingerprint string, err error) {
	text, err := s.readKey()
	if err != nil {
		return "", err
	}
	if s.conn.grant.Load().Certified() {
		return "", errPermanent
	}
	line, err := keyLine(text, time.Now())
	if err != nil {
		return "", err
	}
	k, err := directory.OneKey(line)
	if err != nil {
		return "", err
	}
	if err := s.conn.srv.Gate.Certificates.Revokes(k.Marshal()); err != nil {
		return ssh.FingerprintSHA256(k), err
	}
	return ssh.FingerprintSHA256(k), s.conn.srv.Gate.Directory.AddKey(ctx, s.conn.grant.Load().User, line)
}

// keyChanged emits the event of a change of a user's keys that ended with err, confirms
// the change to the person if it succeeded, and returns err.
func (s *session) keyChanged(done event.Type, change, fingerprint string, err error) error {
	if _, refused := errors.AsType[message](err); refused {
		return err // which has its event
	}
	e := event.Event{Type: done, Service: "keys", Fields: map[string]string{"change": change}}
	if fingerprint != "" {
		e.Fields["fingerprint"] = fingerprint
	}
	if err != nil {
		e.Type, e.Reason, e.Detail = event.KeyChangeFailed, login.ReasonOf(err), err.Error()
		if k, ok := errors.AsType[*keyError](err); ok {
			e.Reason = k.reason
		}
	}
	s.conn.emit(e)
	if err == nil {
		s.say(s.ch, map[event.Type]string{event.KeyAdded: "Key added: ", event.KeyRemoved: "Key removed: "}[done]+fingerprint)
	}
	return err
}
