package kerberos

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// An Acceptor is the security context of one connection. It has the methods of
// ssh.GSSAPIServer, which the SSH library calls one at a time.
type Acceptor struct {
	keytab *Keytab
	remote netip.Addr
	key    types.EncryptionKey // the key with which the client signs; empty without a context
}

// Acceptor returns a context for a client at remote.
func (k *Keytab) Acceptor(remote netip.Addr) *Acceptor {
	return &Acceptor{keytab: k, remote: remote}
}

// mechanism is Kerberos 5 among the mechanisms of GSS-API, in DER: 1.2.840.113554.1.2.2 (RFC
// 1964, section 1).
const mechanism = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"

// Token ids of RFC 4121, section 4.1.
const (
	idRequest = "\x01\x00"
	idReply   = "\x02\x00"
)

// Flags by which a client asks for something (RFC 4121, section 4.1.1.1).
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
		return ErrBadMIC // the library's error contains the correct checksum
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
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(token, &outer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	body, ok := bytes.CutPrefix(outer.Bytes, []byte(mechanism+idRequest))
	if !ok || outer.Class != asn1.ClassApplication || outer.Tag != 0 || !outer.IsCompound || len(rest) > 0 {
		return nil, fmt.Errorf("%w: not a request of Kerberos 5", ErrMalformed)
	}
	var req messages.APReq
	if err := req.Unmarshal(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
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

// reply proves to the client that the server could open its ticket: it has the time stamp
// of the client, encrypted with the key in the ticket (RFC 4120, section 3.2.4).
func reply(req *messages.APReq) ([]byte, error) {
	part, err := application(asnAppTag.EncAPRepPart, messages.EncAPRepPart{
		CTime:          req.Authenticator.CTime,
		Cusec:          req.Authenticator.Cusec,
		SequenceNumber: sequence(),
	})
	if err != nil {
		return nil, err
	}
	sealed, err := crypto.GetEncryptedData(part, req.Ticket.DecryptedEncPart.Key, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	rep, err := application(asnAppTag.APREP, messages.APRep{PVNO: iana.PVNO, MsgType: msgtype.KRB_AP_REP, EncPart: sealed})
	if err != nil {
		return nil, err
	}
	return frame(idReply, rep), nil
}

// frame wraps a message of Kerberos as a token of GSS-API.
func frame(id string, message []byte) []byte {
	return asn1tools.AddASNAppTag(append([]byte(mechanism+id), message...), 0)
}

// application encodes v in DER with an application tag.
func application(tag int, v any) ([]byte, error) {
	b, err := asn1.Marshal(v)
	return asn1tools.AddASNAppTag(b, tag), err
}

// sequence returns the server's first sequence number. It has thirty bits, because some
// clients read a number with the highest bit as negative. It is not 0, because the
// encoding would omit that.
func sequence() int64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint32(b[:])>>2) + 1
}
