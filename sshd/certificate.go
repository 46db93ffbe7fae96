package sshd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/cert"
	"berth/sshd/event"
)

// A certificate is one that proved who a user is, and what it grants.
type certificate struct {
	*ssh.Certificate
	cert.Grant
	service string // the only one it is for; empty: any
}

// errCertificate says that a certificate is not accepted, and that an event has
// told why.
var errCertificate = errors.New("certificate not accepted")

// certificateKey is where Permissions carry a certificate from its offer to the
// proof that the client holds its key.
type certificateKey struct{}

// certified returns the permissions of u with c, in the place of a key of the
// directory. A refusal is told at once, because the client may go on to other
// methods and never come back to it.
func (l *login) certified(u *directory.User, c *ssh.Certificate) (*ssh.Permissions, error) {
	a := l.srv.Certificates
	if a == nil {
		return nil, fmt.Errorf("%w: a certificate, and no authority is configured", errKeyRefused)
	}
	g, err := a.Check(c, cert.Person{Directory: u.Source, Name: u.Name, Attrs: u.Attrs}, l.remote.Addr(), time.Now())
	service := ""
	if err == nil {
		service, err = forced(g.Command)
	}
	if err != nil {
		l.emit(event.Event{
			Type: event.LoginRejected, User: u.Name, UserID: u.ID, Method: methodPublicKey,
			Reason: reasonOf(err), Detail: err.Error(),
			Fields: certificateFields(cert.Grant{ID: c.KeyId, Serial: c.Serial, Authority: ssh.FingerprintSHA256(c.SignatureKey)}),
		})
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	return &ssh.Permissions{ExtraData: map[any]any{certificateKey{}: certificate{c, g, service}}}, nil
}

// forced returns the service that the force-command of a certificate names, and
// nothing but names: "" for any if there is none.
func forced(command string) (string, error) {
	if command == "" {
		return "", nil
	}
	for _, sv := range services() {
		if slices.Contains(sv.words, command) {
			return sv.name, nil
		}
	}
	return "", fmt.Errorf("%w: force-command %q is no service here", cert.ErrOption, printable(command))
}

// permits reports whether the certificates of a login, if there are any, are for
// a service.
func (g *grant) permits(service string) bool {
	return !slices.ContainsFunc(g.certificates, func(c certificate) bool { return c.service != "" && c.service != service })
}

// distrusted returns why one of the certificates that opened a session would not
// open another one.
func (s *Server) distrusted(g *grant) error {
	var errs []error
	for _, c := range g.certificates {
		errs = append(errs, s.Certificates.Trusts(c.Certificate, g.policy.User.Source))
	}
	return errors.Join(errs...)
}

// certificateFields are what events tell of a certificate.
func certificateFields(g cert.Grant) map[string]string {
	return map[string]string{
		"certificate": printable(g.ID), "certificate_serial": strconv.FormatUint(g.Serial, 10), "certificate_authority": g.Authority,
	}
}
