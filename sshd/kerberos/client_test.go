package kerberos

import (
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	krbasn1 "github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

const (
	realm   = "CORP.EXAMPLE"
	service = "host/sftp.corp.example"
	secret  = "service-Passw0rd"
	aes256  = etypeID.AES256_CTS_HMAC_SHA1_96
)

var remote = netip.MustParseAddr("192.0.2.1")

// entry is a line of a keytab.
type entry struct {
	name, realm, password string
	version               uint8
	enctype               int32
}

var ours = entry{service, realm, secret, 2, aes256}

func writeKeytab(t testing.TB, path string, entries ...entry) {
	t.Helper()
	kt := keytab.New()
	for _, e := range entries {
		if err := kt.AddEntry(e.name, e.realm, e.password, time.Unix(1, 0), e.version, e.enctype); err != nil {
			t.Fatal(err)
		}
	}
	b, err := kt.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	next := path + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// open opens a keytab with entries, or with ours.
func open(t testing.TB, s Settings, entries ...entry) *Keytab {
	t.Helper()
	if len(entries) == 0 {
		entries = []entry{ours}
	}
	s.Keytab = filepath.Join(t.TempDir(), "keytab")
	writeKeytab(t, s.Keytab, entries...)
	k, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// client is everything that a KDC and a client put into a token. Tests spoil it.
type client struct {
	key     entry // of the service, as the KDC knows it
	asked   string
	enctype int32 // of the session
	ticket  messages.EncTicketPart
	auth    types.Authenticator
}

// alice is a client with nothing wrong.
func alice() *client {
	now := time.Now().UTC()
	name := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "alice")
	return &client{
		key: ours, asked: service, enctype: aes256,
		ticket: messages.EncTicketPart{
			Flags: types.NewKrbFlags(), CRealm: realm, CName: name,
			AuthTime: now.Add(-time.Minute), StartTime: now.Add(-time.Minute), EndTime: now.Add(time.Hour),
		},
		auth: types.Authenticator{
			AVNO: iana.PVNO, CRealm: realm, CName: name,
			CTime: now.Truncate(time.Second), Cusec: now.Nanosecond() / 1000, SeqNumber: 1,
			Cksum: types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: gssChecksum(wantsMutual | wantsIntegrity)},
		},
	}
}

func gssChecksum(flags uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 16)
	b = append(b, make([]byte, 16)...)
	return binary.LittleEndian.AppendUint32(b, flags)
}

// randomKey returns a key of an encryption type.
func randomKey(t testing.TB, enctype int32) types.EncryptionKey {
	t.Helper()
	size := map[int32]int{etypeID.RC4_HMAC: 16, etypeID.DES3_CBC_SHA1_KD: 24}[enctype]
	if size == 0 {
		size = enctypes[enctype].size
	}
	k := types.EncryptionKey{KeyType: enctype, KeyValue: make([]byte, size)}
	if _, err := rand.Read(k.KeyValue); err != nil {
		t.Fatal(err)
	}
	return k
}

// seal encrypts v, DER under an application tag.
func seal(t testing.TB, tag int, v any, key types.EncryptionKey, usage uint32) types.EncryptedData {
	t.Helper()
	b, err := krbasn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return sealBytes(t, wrap(t, tag, b), key, usage)
}

func sealBytes(t testing.TB, b []byte, key types.EncryptionKey, usage uint32) types.EncryptedData {
	t.Helper()
	ed, err := crypto.GetEncryptedData(b, key, usage, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ed
}

func wrap(t testing.TB, tag int, b []byte) []byte {
	t.Helper()
	return asn1tools.AddASNAppTag(b, tag)
}

// serviceKey is the key of an entry.
func serviceKey(t testing.TB, e entry) types.EncryptionKey {
	t.Helper()
	name, _ := types.ParseSPNString(e.name)
	k, _, err := crypto.GetKeyFromPassword(e.password, name, e.realm, e.enctype, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// token is what the client sends first. It chooses a session key.
func (c *client) token(t testing.TB) []byte {
	t.Helper()
	if c.ticket.Key.KeyValue == nil {
		c.ticket.Key = randomKey(t, c.enctype)
	}
	return c.request(t, seal(t, asnAppTag.Authenticator, c.auth, c.ticket.Key, keyusage.AP_REQ_AUTHENTICATOR))
}

// request frames an authenticator.
func (c *client) request(t testing.TB, authenticator types.EncryptedData) []byte {
	t.Helper()
	sealed := seal(t, asnAppTag.EncTicketPart, c.ticket, serviceKey(t, c.key), keyusage.KDC_REP_TICKET)
	sealed.KVNO = int(c.key.version)
	req := messages.APReq{
		PVNO: iana.PVNO, MsgType: msgtype.KRB_AP_REQ, APOptions: types.NewKrbFlags(),
		Ticket: messages.Ticket{
			TktVNO: iana.PVNO, Realm: c.key.realm,
			SName: types.NewPrincipalName(nametype.KRB_NT_SRV_HST, c.asked), EncPart: sealed,
		},
		EncryptedAuthenticator: authenticator,
	}
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return frame(idRequest, b)
}

// sign makes the MIC of a session, with the sub-key if there is one.
func (c *client) sign(t testing.TB, session string) []byte {
	t.Helper()
	key := c.ticket.Key
	if c.auth.SubKey.KeyType != 0 {
		key = c.auth.SubKey
	}
	m, err := gssapi.NewInitiatorMICToken([]byte(session), key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// believes reports whether the client takes answer for that of its service.
func (c *client) believes(t testing.TB, answer []byte) bool {
	t.Helper()
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(answer, &outer); err != nil {
		t.Fatal(err)
	}
	var mechanism asn1.ObjectIdentifier
	body, err := asn1.Unmarshal(outer.Bytes, &mechanism)
	if err != nil || !mechanism.Equal(asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}) || string(body[:2]) != idReply {
		t.Fatalf("answer is of %v, %v", mechanism, err)
	}
	var rep messages.APRep
	if err := rep.Unmarshal(body[2:]); err != nil {
		t.Fatal(err)
	}
	b, err := crypto.DecryptEncPart(rep.EncPart, c.ticket.Key, keyusage.AP_REP_ENCPART)
	if err != nil {
		t.Fatal(err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	return part.CTime.Equal(c.auth.CTime) && part.Cusec == c.auth.Cusec
}
