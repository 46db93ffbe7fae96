// Package gssapi is the client's side of Kerberos 5 for LDAP: tickets by a keytab, the
// security context of a connection bound to its certificate (SASL GSSAPI, RFC 4752), and
// messages that are sealed with the key of the ticket (RFC 4121) where there is no TLS.
// Start at Tickets and NewContext.
package gssapi

import (
	"bytes"
	"crypto"
	"crypto/md5" // #nosec: RFC 4121 wants it, and the value is signed
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	krbcrypto "github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// channelBindings are the "tls-server-end-point" of RFC 5929, section 4, in the form
// of RFC 4121, section 4.1.1.2. They prevent that somebody in the middle, who has
// another certificate, passes the ticket on.
func channelBindings(state *tls.ConnectionState) []byte {
	cert := state.PeerCertificates[0]
	hash := crypto.SHA256 // also in place of MD5 and SHA-1
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write(cert.Raw)
	data := slices.Concat([]byte("tls-server-end-point:"), h.Sum(nil))
	noAddresses := make([]byte, 16)
	sum := md5.Sum(slices.Concat(noAddresses, binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data)) // #nosec
	return sum[:]
}

// A Context makes the security context of one connection. It has the methods of
// ldap.GSSAPIClient.
type Context struct {
	ticket   Ticket
	bindings []byte // empty: the connection has no TLS, and will be sealed
	request  types.Authenticator
	wrapping
}

// NewContext returns the context in which t is shown to a server. state is the TLS of the
// connection; without TLS, nil, everything after the bind is to be sealed.
func NewContext(t Ticket, state *tls.ConnectionState) *Context {
	g := &Context{ticket: t}
	if state != nil {
		g.bindings = channelBindings(state)
	}
	return g
}

// What is asked of the context (RFC 4121, section 4.1.1.1).
const (
	wantsMutual = 2
	wantsReplay = 4
	wantsOrder  = 8
	wantsSeal   = 16
	wantsSign   = 32
)

// Security layers (RFC 4752, section 3.3).
const (
	layerNone = 1
	layerSeal = 4
)

// oidKerberos is Kerberos 5 among the mechanisms of GSS-API (RFC 1964, section 1).
var oidKerberos = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

// Token ids of RFC 4121, section 4.1.
const (
	idRequest = "\x01\x00"
	idReply   = "\x02\x00"
	idError   = "\x03\x00"
)

// InitSecContext is InitSecContextWithOptions without options.
func (g *Context) InitSecContext(service string, token []byte) ([]byte, bool, error) {
	return g.InitSecContextWithOptions(service, token, nil)
}

// InitSecContextWithOptions returns the first token and, given the answer of the server,
// an empty second one.
func (g *Context) InitSecContextWithOptions(_ string, answer []byte, _ []int) ([]byte, bool, error) {
	if answer != nil {
		return []byte{}, false, g.accept(answer)
	}
	token, err := g.initiate()
	return token, true, err
}

func (g *Context) initiate() ([]byte, error) {
	var err error
	of := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, g.ticket.of.name)
	if g.request, err = types.NewAuthenticator(g.ticket.of.realm, of); err != nil {
		return nil, err
	}
	etype, err := krbcrypto.GetEtype(g.ticket.key.KeyType)
	if err != nil {
		return nil, err
	}
	if err := g.request.GenerateSeqNumberAndSubKey(g.ticket.key.KeyType, etype.GetKeyByteSize()); err != nil {
		return nil, err
	}
	bindings, wants := g.bindings, uint32(wantsMutual|wantsSign)
	if len(bindings) == 0 {
		bindings, wants = make([]byte, md5.Size), wants|wantsReplay|wantsOrder|wantsSeal
	}
	sum := binary.LittleEndian.AppendUint32(nil, md5.Size)
	sum = binary.LittleEndian.AppendUint32(append(sum, bindings...), wants)
	g.request.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	req, err := messages.NewAPReq(g.ticket.Ticket, g.ticket.key, g.request)
	if err != nil {
		return nil, err
	}
	types.SetFlag(&req.APOptions, flags.APOptionMutualRequired)
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	mechanism, err := asn1.Marshal(oidKerberos)
	return asn1tools.AddASNAppTag(slices.Concat(mechanism, []byte(idRequest), body), 0), err
}

var errNotKerberos = errors.New("the answer is not one of Kerberos 5")

// accept reads the answer to the first token. It proves that the server could open
// the ticket: it has the time stamp of the request (RFC 4120, section 3.2.5).
func (g *Context) accept(token []byte) (err error) {
	defer noPanic(&err) // the library reads what the server sends
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(token, &outer); err != nil {
		return errNotKerberos
	}
	mechanism, err := asn1.Marshal(oidKerberos)
	body, ok := bytes.CutPrefix(outer.Bytes, mechanism)
	if err != nil || !ok || len(body) < len(idReply) {
		return errNotKerberos
	}
	id, body := string(body[:len(idReply)]), body[len(idReply):]
	if id == idError {
		var no messages.KRBError
		if err := no.Unmarshal(body); err != nil {
			return errNotKerberos
		}
		return ticketError(g.ticket.of, g.ticket.SName.PrincipalNameString(), no)
	}
	var reply messages.APRep
	if err := reply.Unmarshal(body); err != nil || id != idReply {
		return errNotKerberos
	}
	plain, err := krbcrypto.DecryptEncPart(reply.EncPart, g.ticket.key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return err
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return err
	}
	if part.CTime.Unix() != g.request.CTime.Unix() || part.Cusec != g.request.Cusec {
		return errors.New("the server could not open the ticket")
	}
	g.wrapping = wrapping{key: g.request.SubKey, sent: uint64(g.request.SeqNumber), received: uint64(uint32(part.SequenceNumber))} // some send it as negative
	if len(part.Subkey.KeyValue) > 0 {
		g.wrapping.key, g.bySubkey = part.Subkey, flagSubkey
	}
	g.etype, err = krbcrypto.GetEtype(g.wrapping.key.KeyType)
	return err
}

// NegotiateSaslAuth chooses the security layer: none inside TLS, and otherwise
// encryption.
func (g *Context) NegotiateSaslAuth(token []byte, _ string) (answer []byte, err error) {
	defer noPanic(&err)
	offer, err := g.unwrap(token)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, errNotKerberos
	}
	choice := uint32(layerNone) << 24
	if len(g.bindings) == 0 {
		choice = layerSeal<<24 | maxSealed
		g.most = int(binary.BigEndian.Uint32(offer) & 0xffffff)
	}
	if uint32(offer[0])<<24&choice == 0 {
		return nil, fmt.Errorf("the server offers the security layers %#x, and none of them fits this connection", offer[0])
	}
	return g.sign(binary.BigEndian.AppendUint32(nil, choice))
}

// DeleteSecContext does nothing: a sealed connection goes on with the context.
func (g *Context) DeleteSecContext() error { return nil }

func noPanic(err *error) {
	if recover() != nil {
		*err = errNotKerberos
	}
}
