package login

import (
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/cert"
)

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
		e := a.rejection(a.name.typed, methodPublicKey, err)
		e.Fields = certificateFields(cert.Grant{ID: c.KeyId, Serial: c.Serial, Authority: ssh.FingerprintSHA256(c.SignatureKey)})
		a.emit(e)
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	return &ssh.Permissions{ExtraData: map[any]any{certificateKey{}: certificate{c, g, service}}}, nil
}
