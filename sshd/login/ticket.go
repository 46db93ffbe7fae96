package login

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/kerberos"
)

// tickets is gssapi-with-mic (RFC 4462, section 3), nil without a keytab.
func (a *Attempt) tickets() *ssh.GSSAPIWithMICConfig {
	k := a.gate.Kerberos
	if k == nil {
		return nil
	}
	return &ssh.GSSAPIWithMICConfig{AllowLogin: a.ticket, Server: acceptor{k.Acceptor(a.peer.Remote.Addr()), a}}
}

// ticket runs when the client has proved that it is principal in this session.
func (a *Attempt) ticket(meta ssh.ConnMetadata, principal string) (*ssh.Permissions, error) {
	return a.try(meta, &proof{factors: []string{methodTicket}, principal: principal}, func(u *directory.User, err error) error {
		if err != nil {
			return err
		}
		name, source, err := a.gate.Kerberos.User(principal)
		if err != nil {
			return fmt.Errorf("%w: %w", errTicket, err)
		}
		return a.checkClaim(u, meta.User(), claim{principal, name, source, errTicket})
	})
}

// A claim names a person of a directory from outside it.
type claim struct {
	by      string // principal, or subject of an ID token
	name    string // of the login
	source  string // the directory
	refusal error  // if it is somebody else
}

// checkClaim returns nil if c names u, who logs in as typed. The name alone does not
// decide, because two directories may each have an alice.
func (a *Attempt) checkClaim(u *directory.User, typed string, c claim) error {
	if c.source != u.Source {
		return fmt.Errorf("%w: %s is a person of directory %q, not of %q", c.refusal, Printable(c.by), c.source, u.Source)
	}
	if c.name == typed {
		return nil
	}
	holder, err := a.gate.Directory.Lookup(a.ctx, c.name)
	if errors.Is(err, directory.ErrNoUser) {
		return fmt.Errorf("%w: no user of the directory has the name %q", c.refusal, c.name)
	}
	if err != nil {
		return err
	}
	if holder.Identity != u.Identity {
		return fmt.Errorf("%w: %s is not %s", c.refusal, Printable(c.by), u.Name)
	}
	return nil
}

// An acceptor reports tickets that are refused before they prove anything. The source
// gets no penalty: ssh tries any ticket it has before other methods.
type acceptor struct {
	*kerberos.Acceptor
	attempt *Attempt
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
	a.attempt.emit(event.Event{
		Type: event.LoginRejected, User: Printable(a.attempt.pre.User()), Method: methodTicket,
		Reason: ReasonOf(err), Detail: err.Error(),
	})
	return err
}
