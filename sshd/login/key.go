package login

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/cert"
	"berth/sshd/event"
)

// offer answers whether the client may try a key. An offer proves nothing, so the
// account state and the rules are checked later, in the method key.
func (a *Attempt) offer(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	started, name, idle := time.Now(), meta.User(), a.idle
	defer func() { a.work += time.Since(started) - (a.idle - idle) }()
	c, certified := key.(*ssh.Certificate)
	var u *directory.User
	err := a.gate.State.Barred(a.peer.Source)
	if err == nil {
		u, err = a.lookup(name, false)
	}
	var perms *ssh.Permissions
	switch {
	case err != nil:
	case certified:
		perms, err = a.certified(u, c)
	default:
		perms, err = a.userKey(u, key)
	}
	a.log.Debug("key offered", "name", Printable(name), "key", ssh.FingerprintSHA256(key), "error", err)
	reported := errors.Is(err, errReported)
	switch {
	case err == nil:
		return perms, nil
	case !directory.Refused(err) && !errors.Is(err, errKeyRefused) && !reported:
		return nil, a.reject(name, methodPublicKey, err)
	}
	if !a.name.offered || certified {
		// The time must not show whether there was a look-up, which only the first offer
		// needs, or the verification of a signature, which a certificate needs.
		a.wait(started)
	}
	undecided := errors.Is(err, cert.ErrUndecided)
	a.tried = a.tried || undecided
	a.name.offered = a.name.offered || !undecided
	if !reported {
		a.name.refused = append(a.name.refused, ssh.FingerprintSHA256(key))
	}
	a.offers++
	if a.offers == a.gate.MaxOffers { // the same text for everybody, known or not
		text := fmt.Sprintf("%d keys were offered, and none of them is accepted. Choose one: ssh -i KEY -o IdentitiesOnly=yes\n", a.offers)
		err = &ssh.BannerError{Err: err, Message: text}
	}
	return nil, &refusedOffer{err, a.gate.MaxOffers}
}

// A refusedOffer is an offer that is not accepted. With Berth's patches, the SSH library
// finds its method FreeOffers.
type refusedOffer struct {
	error
	free int
}

func (r *refusedOffer) Unwrap() error { return r.error }

// FreeOffers returns how many refused offers are not counted as tries. Without Berth's
// patches the library takes MaxTries.
func (r *refusedOffer) FreeOffers() int { return r.free }

// userKey returns the permissions of u with key, if key is one of the keys of u that
// may be used now and from the address of the client.
func (a *Attempt) userKey(u *directory.User, key ssh.PublicKey) (*ssh.Permissions, error) {
	blob := string(key.Marshal())
	for _, k := range u.Keys {
		if string(k.Marshal()) != blob {
			continue
		}
		if err := k.Usable(a.peer.Remote.Addr(), time.Now()); err != nil {
			return nil, fmt.Errorf("%w: %w", errKeyRefused, err)
		}
		if err := a.gate.Certificates.Revokes([]byte(blob)); err != nil {
			return nil, a.reported(err, map[string]string{"fingerprint": ssh.FingerprintSHA256(key)})
		}
		perms := mayProve(&proof{key: blob, verify: k.Verified})
		if k.NoTouch {
			perms.Extensions = map[string]string{"no-touch-required": ""}
		}
		return perms, nil
	}
	return nil, fmt.Errorf("%w: not one of the user's %d", errKeyRefused, len(u.Keys))
}

// reported emits the event of a refused offer of the user, and returns the error for
// offer. An offer costs no penalty: those of a name are reported together later.
func (a *Attempt) reported(err error, fields map[string]string) error {
	e := a.rejection(a.name.typed, methodPublicKey, err)
	e.Fields = fields
	a.emit(e)
	return fmt.Errorf("%w: %w", errReported, err)
}

// key runs when the client has proved that it holds a key that offer accepted. The
// directory may have changed since the offer, or since another factor.
func (a *Attempt) key(meta ssh.ConnMetadata, _ ssh.PublicKey, perms *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	p := *perms.ExtraData[proofKey{}].(*proof)
	granted, err := a.try(meta, &p, func(_ *directory.User, err error) error {
		if err == nil && p.verify && !personVerified(meta) {
			return fmt.Errorf("%w: verify-required: the key did not verify the person, or this build cannot check it (see: berth version)", errKeyRefused)
		}
		return err
	})
	if granted != nil {
		granted.Extensions = perms.Extensions
	}
	return granted, err
}

// personVerified reports whether a FIDO key has verified the person when it signed
// (https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f). The SSH
// library shows the signature if it has Berth's patches.
func personVerified(meta ssh.ConnMetadata) bool {
	lib, ok := meta.(interface{ Signature() *ssh.Signature })
	if !ok {
		return false
	}
	const userVerified = 0x04
	sig := lib.Signature()
	return sig != nil && len(sig.Rest) > 0 && sig.Rest[0]&userVerified != 0
}

// skipped reports the keys in the directory that cannot be used.
func (a *Attempt) skipped(u *directory.User) {
	for _, n := range u.Notes {
		a.emit(event.Event{
			Type: event.KeySkipped, User: u.Name, UserID: u.ID, Directory: u.Source, Reason: event.UnusableKey, Detail: n.Reason,
			Fields: map[string]string{"attribute": n.Attribute, "index": fmt.Sprint(n.Index), "fingerprint": n.Fingerprint},
		})
	}
}

// proofKey is where Permissions hold a proof from the offer until the client has proved
// that it holds the key.
type proofKey struct{}

// mayProve returns the permissions of an accepted offer that can prove p.
func mayProve(p *proof) *ssh.Permissions {
	p.factors = []string{methodPublicKey}
	return &ssh.Permissions{ExtraData: map[any]any{proofKey{}: p}}
}

// certified returns the permissions of u with c, as userKey does with a key. A refusal is
// reported immediately, because the client may use other methods afterwards.
func (a *Attempt) certified(u *directory.User, c *ssh.Certificate) (*ssh.Permissions, error) {
	authority := a.gate.Certificates
	if authority == nil {
		return nil, fmt.Errorf("%w: a certificate, and no authority is configured", errKeyRefused)
	}
	g, err := authority.Check(c, cert.Person{Directory: u.Source, Name: u.Name, Attrs: u.Attrs}, a.peer.Remote.Addr(), time.Now())
	service := ""
	if err == nil && g.Command != "" {
		if service = a.gate.Service(g.Command); service == "" {
			err = fmt.Errorf("%w: force-command %q is not a service of this server", cert.ErrOption, Printable(g.Command))
		}
	}
	if err != nil {
		return nil, a.reported(err, certificateFields(cert.Grant{ID: c.KeyId, Serial: c.Serial, Authority: ssh.FingerprintSHA256(c.SignatureKey)}))
	}
	_, verify := c.CriticalOptions["verify-required"]
	return mayProve(&proof{certificate: &certificate{c, g, service}, verify: verify}), nil
}
