package sshd

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/kerberos"
)

// errTicket says that a Kerberos ticket proves nothing here, or somebody else.
var errTicket = errors.New("ticket not accepted")

// tickets is gssapi-with-mic (RFC 4462, section 3), nil without a keytab.
func (l *login) tickets() *ssh.GSSAPIWithMICConfig {
	k := l.srv.Kerberos
	if k == nil {
		return nil
	}
	return &ssh.GSSAPIWithMICConfig{AllowLogin: l.ticket, Server: acceptor{k.Acceptor(l.remote.Addr()), l}}
}

// ticket runs when the client has proved that it is principal in this session.
func (l *login) ticket(meta ssh.ConnMetadata, principal string) (*ssh.Permissions, error) {
	return l.try(meta, []string{methodTicket}, func(u *directory.User) error {
		if err := l.holds(u, meta.User(), principal); err != nil {
			return err
		}
		err := u.State.Err()
		var r *directory.Refusal
		if errors.As(err, &r) {
			r.Proved = true // the ticket was: the reason may be told
		}
		return err
	})
}

// holds returns nil if principal is u, who logs in as typed. Names alone do not
// tell: two directories may each have an alice.
func (l *login) holds(u *directory.User, typed, principal string) error {
	name, source, err := l.srv.Kerberos.User(principal)
	if err != nil {
		return fmt.Errorf("%w: %w", errTicket, err)
	}
	if source != u.Source {
		return fmt.Errorf("%w: %s is a person of directory %q, not of %q", errTicket, principal, source, u.Source)
	}
	if name == typed {
		return nil
	}
	holder, err := l.srv.Directory.Lookup(l.ctx, name)
	if errors.Is(err, directory.ErrNoUser) {
		return fmt.Errorf("%w: nobody is called %q in the directory", errTicket, name)
	}
	if err != nil {
		return err
	}
	if holder.Source != u.Source || holder.ID != u.ID {
		return fmt.Errorf("%w: %s is not %s", errTicket, principal, u.Name)
	}
	return nil
}

// An acceptor tells the sinks of tickets that are refused before they prove
// anything. The client may go on to other methods, so it is not held against
// the source: ssh tries whatever ticket it finds first of all.
type acceptor struct {
	*kerberos.Acceptor
	l *login
}

func (a acceptor) AcceptSecContext(token []byte) (answer []byte, principal string, more bool, err error) {
	answer, principal, more, err = a.Acceptor.AcceptSecContext(token)
	return answer, principal, more, a.refused(err)
}

func (a acceptor) VerifyMIC(field, token []byte) error {
	return a.refused(a.Acceptor.VerifyMIC(field, token))
}

func (a acceptor) refused(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w: %w", errTicket, err)
	a.l.emit(event.Event{
		Type: event.LoginRejected, User: printable(a.l.pre.User()), Method: methodTicket,
		Reason: reasonOf(err), Detail: err.Error(),
	})
	return err
}
