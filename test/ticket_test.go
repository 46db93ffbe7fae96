package test

import (
	"encoding/asn1"
	"encoding/binary"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/ssh"
)

// tickets writes a keytab and returns a method that logs in with tickets for it, as a KDC
// issued them before anything happened to the account. before is called first.
func tickets(t *testing.T, file string) func(user string, before func()) ssh.AuthMethod {
	t.Helper()
	const realm, enctype, version = "TICKETS.TEST", etypeID.AES256_CTS_HMAC_SHA1_96, 1
	keys := keytab.New()
	if err := keys.AddEntry("host/127.0.0.1", realm, "service-Passw0rd", time.Now(), version, enctype); err != nil {
		t.Fatal(err)
	}
	b, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	service := types.NewPrincipalName(nametype.KRB_NT_SRV_HST, "host/127.0.0.1")
	return func(user string, before func()) ssh.AuthMethod {
		name := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, user)
		now := time.Now().UTC()
		ticket, key, err := messages.NewTicket(name, realm, service, realm, types.NewKrbFlags(), keys, enctype, version, now, now, now.Add(time.Hour), now)
		if err != nil {
			t.Error(err)
		}
		return ssh.GSSAPIWithMICAuthMethod(&ticketClient{ticket, key, realm, name, before}, "127.0.0.1")
	}
}

// A ticketClient is the client's side of RFC 4462 with a ticket.
type ticketClient struct {
	ticket messages.Ticket
	key    types.EncryptionKey
	realm  string
	name   types.PrincipalName
	before func()
}

func (c *ticketClient) InitSecContext(string, []byte, bool) (token []byte, more bool, err error) {
	c.before()
	auth, err := types.NewAuthenticator(c.realm, c.name)
	if err != nil {
		return nil, false, err
	}
	// RFC 4121, section 4.1.1: no channel bindings, and integrity.
	const bindings, wantsIntegrity = 16, 32
	sum := binary.LittleEndian.AppendUint32(nil, bindings)
	sum = binary.LittleEndian.AppendUint32(append(sum, make([]byte, bindings)...), wantsIntegrity)
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	req, err := messages.NewAPReq(c.ticket, c.key, auth)
	if err != nil {
		return nil, false, err
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, false, err
	}
	mechanism, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2})
	return asn1tools.AddASNAppTag(slices.Concat(mechanism, []byte("\x01\x00"), body), 0), false, err
}

func (c *ticketClient) GetMIC(field []byte) ([]byte, error) {
	m, err := gssapi.NewInitiatorMICToken(field, c.key)
	if err != nil {
		return nil, err
	}
	return m.Marshal()
}

func (c *ticketClient) DeleteSecContext() error { return nil }
