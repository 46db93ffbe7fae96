package sshd

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/cert"
	"berth/sshd/event"
)

// serveCertify reads a public key and answers with a certificate for it, so that a
// person who has signed in once can use any client for some hours.
func serveCertify(_ context.Context, s *session, _ string) (uint32, error) {
	c, err := s.certify()
	if m, refused := errors.AsType[message](err); refused { // which has its event
		s.say(s.ch.Stderr(), m.Error())
		return 1, err
	}
	e := event.Event{Type: event.CertificateIssued, Service: "certify", Fields: map[string]string{}}
	if c != nil {
		e.Fields["fingerprint"] = ssh.FingerprintSHA256(c.Key)
	}
	if err != nil {
		var text string
		e.Type, e.Detail = event.CertificateRefused, err.Error()
		e.Reason, text = certifyAnswer(err)
		s.conn.emit(e)
		s.say(s.ch.Stderr(), text)
		return 1, err
	}
	until := time.Unix(int64(c.ValidBefore), 0).UTC()
	e.Fields["certificate"], e.Fields["certificate_serial"] = c.KeyId, strconv.FormatUint(c.Serial, 10)
	e.Fields["certificate_authority"], e.Fields["valid_until"] = ssh.FingerprintSHA256(c.SignatureKey), until.Format(time.RFC3339)
	s.conn.emit(e)
	s.say(s.ch, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c)))+" "+c.KeyId)
	s.say(s.ch.Stderr(), "The certificate is valid until "+until.Format("2006-01-02 15:04 MST")+". Use it with: sftp -i id -o CertificateFile=id-cert.pub")
	return 0, nil
}

var (
	errNoIssuer  = &keyError{"no authority of this server issues certificates (certificates.issue)", event.NoIssuer, "This server issues no certificates."}
	errCertified = &keyError{"the login is by a certificate, which would renew itself", event.CertificateRenewsItself, "You have logged in with a certificate. Log in another way to get a new one."}
)

func (s *session) certify() (*ssh.Certificate, error) {
	authority := s.conn.srv.Gate.Certificates
	switch {
	case authority == nil || !authority.Issues():
		return nil, errNoIssuer
	case s.conn.grant.Load().Certified():
		return nil, errCertified
	}
	text, err := s.readKey()
	if err != nil {
		return nil, err
	}
	k, _, err := parseNewKey(text)
	if err != nil {
		return nil, err
	}
	u := s.conn.grant.Load().User
	p := cert.Person{Directory: u.Source, Name: u.Name}
	return authority.Certify(k.Public, p, s.conn.peer.Remote.Addr(), time.Now())
}

// certifyAnswer returns the reason for events and the sentence for the person.
func certifyAnswer(err error) (event.Reason, string) {
	if e, ok := errors.AsType[*keyError](err); ok {
		return e.reason, e.sentence
	}
	switch {
	case errors.Is(err, cert.ErrRevoked):
		return event.CertificateRevoked, "This key or your certificates are revoked. Please tell your administrator."
	case errors.Is(err, cert.ErrWeak), errors.Is(err, cert.ErrType), errors.Is(err, directory.ErrKeyUnusable):
		return event.KeyUnusable, "This key cannot be used."
	}
	return event.CertificatesUnreadable, "No certificate can be issued just now. Please tell your administrator."
}
