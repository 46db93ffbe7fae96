package kerberos

import (
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// An Acceptor is the security context of one connection. It has the methods of
// ssh.GSSAPIServer, which the SSH library calls one at a time.
type Acceptor struct {
	keytab *Keytab
	remote netip.Addr
	key    types.EncryptionKey // what the client signs with; empty without a context
}

// Acceptor returns a context for a client at remote.
func (k *Keytab) Acceptor(remote netip.Addr) *Acceptor {
	return &Acceptor{keytab: k, remote: remote}
}

// oid is Kerberos 5 among the mechanisms of GSS-API (RFC 1964, section 1).
var oid = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

// Token ids of RFC 4121, section 4.1.
const (
	idRequest = "\x01\x00"
	idReply   = "\x02\x00"
)

// Flags of a client's wishes (RFC 4121, section 4.1.1.1).
const (
	wantsMutual    = 2
	wantsIntegrity = 32
)

// AcceptSecContext takes the client's first and only token. It returns the
// client's principal, as in alice@CORP.EXAMPLE, and the answer by which the
// client knows that it talks to the service. Only VerifyMIC proves that the
// client is the one of this session.
func (a *Acceptor) AcceptSecContext(token []byte) (answer []byte, client string, more bool, err error) {
	defer guard(&err)
	req, err := parseRequest(token)
	if err != nil {
		return nil, "", false, err
	}
	if err := a.keytab.verify(req, a.remote); err != nil {
		return nil, "", false, err
	}
	wishes, err := wishes(req.Authenticator.Cksum)
	if err != nil {
		return nil, "", false, err
	}
	key := req.Ticket.DecryptedEncPart.Key
	if sub := req.Authenticator.SubKey; sub.KeyType != 0 {
		if err := strong(sub); err != nil {
			return nil, "", false, err
		}
		key = sub
	}
	if wishes&wantsMutual != 0 {
		if answer, err = reply(req); err != nil {
			return nil, "", false, fmt.Errorf("%w: reply: %w", ErrMalformed, err)
		}
	}
	a.key = key
	who := req.Ticket.DecryptedEncPart
	return answer, principal(who.CName.NameString, who.CRealm), false, nil
}

// VerifyMIC proves that the client signed field, which names this SSH session.
func (a *Acceptor) VerifyMIC(field, token []byte) (err error) {
	defer guard(&err)
	if len(a.key.KeyValue) == 0 {
		return fmt.Errorf("%w: signature before a ticket", ErrMalformed)
	}
	var m gssapi.MICToken
	if err := m.Unmarshal(token, false); err != nil {
		return fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	m.Payload = field
	if ok, err := m.Verify(a.key, keyusage.GSSAPI_INITIATOR_SIGN); err != nil || !ok {
		return ErrBadMIC // the library's error spells out the right one
	}
	return nil
}

// DeleteSecContext forgets the client's key. Another may be accepted then.
func (a *Acceptor) DeleteSecContext() error {
	clear(a.key.KeyValue)
	a.key = types.EncryptionKey{}
	return nil
}

// parseRequest reads an initial token: RFC 2743, section 3.1, around an AP-REQ.
func parseRequest(token []byte) (*messages.APReq, error) {
	malformed := func(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }
	var frame asn1.RawValue
	rest, err := asn1.Unmarshal(token, &frame)
	if err != nil {
		return nil, malformed(err)
	}
	if frame.Class != asn1.ClassApplication || frame.Tag != 0 || !frame.IsCompound || len(rest) > 0 {
		return nil, malformed(errors.New("not an initial token"))
	}
	var mechanism asn1.ObjectIdentifier
	body, err := asn1.Unmarshal(frame.Bytes, &mechanism)
	if err != nil {
		return nil, malformed(err)
	}
	if !mechanism.Equal(oid) {
		return nil, malformed(fmt.Errorf("mechanism %v is not Kerberos 5", mechanism))
	}
	if len(body) < len(idRequest) || string(body[:len(idRequest)]) != idRequest {
		return nil, malformed(errors.New("not a request"))
	}
	var req messages.APReq
	if err := req.Unmarshal(body[len(idRequest):]); err != nil {
		return nil, malformed(err)
	}
	return &req, nil
}

// wishes reads the flags in the "checksum" of an authenticator (RFC 4121,
// section 4.1.1). SSH has no channel bindings to compare. Delegated
// credentials are ignored.
func wishes(sum types.Checksum) (uint32, error) {
	const bindings = 16 // length of the field before the flags
	b := sum.Checksum
	if sum.CksumType != chksumtype.GSSAPI || len(b) < 4+bindings+4 || binary.LittleEndian.Uint32(b) != bindings {
		return 0, fmt.Errorf("%w: authenticator without GSS-API flags", ErrMalformed)
	}
	flags := binary.LittleEndian.Uint32(b[4+bindings:])
	if flags&wantsIntegrity == 0 {
		return 0, ErrNoIntegrity
	}
	return flags, nil
}
