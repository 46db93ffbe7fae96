package kerberos

import (
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"slices"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// reply proves to the client that we could open its ticket: its own time
// stamp, encrypted with the key inside (RFC 4120, section 3.2.4).
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
	return frame(idReply, rep)
}

// frame wraps a message of Kerberos as a token of GSS-API.
func frame(id string, message []byte) ([]byte, error) {
	mechanism, err := asn1.Marshal(oid)
	return asn1tools.AddASNAppTag(slices.Concat(mechanism, []byte(id), message), 0), err
}

// application encodes v in DER under a tag of the application's own.
func application(tag int, v any) ([]byte, error) {
	b, err := asn1.Marshal(v)
	return asn1tools.AddASNAppTag(b, tag), err
}

// sequence returns our first sequence number. It has thirty bits, because some
// clients read a number with the highest bit as negative, and is not 0, which the
// encoding would leave out.
func sequence() int64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint32(b[:])>>2) + 1
}
