package login

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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
// the reason.
var errCertificate = errors.New("certificate not accepted")

// certificateKey is where Permissions carry a certificate from its offer to the
// proof that the client holds its key.
type certificateKey struct{}

// certified returns the permissions of u with c, in the place of a key of the
// directory. A refusal is reported at once, because the client may go on to other
// methods and never come back to it.
func (a *Attempt) certified(u *directory.User, c *ssh.Certificate) (*ssh.Permissions, error) {
	authority := a.gate.Certificates
	if authority == nil {
		return nil, fmt.Errorf("%w: a certificate, and no authority is configured", errKeyRefused)
	}
	g, err := authority.Check(c, cert.Person{Directory: u.Source, Name: u.Name, Attrs: u.Attrs}, a.peer.Remote.Addr(), time.Now())
	service := ""
	if err == nil && g.Command != "" {
		if service = a.gate.Service(g.Command); service == "" {
			err = fmt.Errorf("%w: force-command %q is no service here", cert.ErrOption, Printable(g.Command))
		}
	}
	if err != nil {
		a.emit(event.Event{
			Type: event.LoginRejected, User: u.Name, UserID: u.ID, Method: methodPublicKey,
			Reason: ReasonOf(err), Detail: err.Error(),
			Fields: certificateFields(cert.Grant{ID: c.KeyId, Serial: c.Serial, Authority: ssh.FingerprintSHA256(c.SignatureKey)}),
		})
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	return &ssh.Permissions{ExtraData: map[any]any{certificateKey{}: certificate{c, g, service}}}, nil
}

// certificateFields are what events say of a certificate.
func certificateFields(g cert.Grant) map[string]string {
	return map[string]string{
		"certificate": Printable(g.ID), "certificate_serial": strconv.FormatUint(g.Serial, 10), "certificate_authority": g.Authority,
	}
}

// fields are what the event of a login says of it.
func (g *Grant) fields() map[string]string {
	fields := map[string]string{}
	for _, c := range g.proofs.certificates {
		fields = certificateFields(c.Grant)
		fields["fingerprint"] = ssh.FingerprintSHA256(c.Key)
	}
	for _, blob := range g.proofs.keys {
		if k, err := ssh.ParsePublicKey([]byte(blob)); err == nil {
			fields["fingerprint"] = ssh.FingerprintSHA256(k)
		}
	}
	if len(g.proofs.factors) > 1 {
		fields["factors"] = strings.Join(g.proofs.factors, ", ")
	}
	fields["rules"] = strings.Join(g.Policy.Rules, ", ")
	if g.User.Cached {
		fields["directory"] = "cached"
	}
	return fields
}
