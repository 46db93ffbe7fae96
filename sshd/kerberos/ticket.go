package kerberos

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/addrtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// skew is how far the clocks of client and server may be apart, the same 5
// minutes as everywhere in Kerberos.
const skew = 5 * time.Minute

// verify checks a request of a client at remote: RFC 4120, section 3.2.3. The library's
// function is not used: it accepts the realm that the client states, and remembers every
// authenticator for ever.
func (k *Keytab) verify(req *messages.APReq, remote netip.Addr) error {
	if err := k.open(&req.Ticket); err != nil {
		return err
	}
	ticket := &req.Ticket.DecryptedEncPart
	if err := strong(ticket.Key); err != nil {
		return err
	}
	plain, err := crypto.DecryptEncPart(req.EncryptedAuthenticator, ticket.Key, keyusage.AP_REQ_AUTHENTICATOR)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if err := req.Authenticator.Unmarshal(plain); err != nil {
		return fmt.Errorf("%w: authenticator: %w", ErrMalformed, err)
	}
	if err := cmp.Or(
		sameClient(ticket, &req.Authenticator),
		inTime(ticket, time.Now()),
		fresh(&req.Authenticator, time.Now()),
		boundTo(ticket.CAddr, remote),
		k.trustworthy(ticket, req.Ticket.Realm),
	); err != nil {
		return err
	}
	// Without the session key nobody can write one authenticator in two ways.
	if !k.replays.add(sha256.Sum256(req.EncryptedAuthenticator.Cipher)) {
		return ErrReplayed
	}
	return nil
}

// open decrypts the ticket. The version of the key is only a hint, because tools
// put wrong versions into keytabs. A wrong key cannot decrypt the ticket.
func (k *Keytab) open(t *messages.Ticket) error {
	if len(t.SName.NameString) == 0 {
		return fmt.Errorf("%w: ticket for a service without a name", ErrMalformed)
	}
	service := principal(t.SName.NameString, t.Realm)
	var all, ours []string
	for _, key := range k.current() {
		all = append(all, key.service)
		if !strings.EqualFold(key.service, service) { // Active Directory keeps the client's spelling
			continue
		}
		ours = append(ours, key.String())
		if key.KeyType == t.EncPart.EType && t.Decrypt(key.EncryptionKey) == nil {
			return nil
		}
	}
	if len(ours) == 0 {
		return fmt.Errorf("%w: %.200q, while the keytab holds %s", ErrNotForUs, service, list(all))
	}
	err := fmt.Errorf("%w: it needs %.200q version %d %s, while the keytab holds %s",
		ErrWrongKey, service, t.EncPart.KVNO, enctype(t.EncPart.EType), list(ours))
	if stale := k.Err(); stale != nil {
		err = fmt.Errorf("%w; the present keytab cannot be used: %w", err, stale)
	}
	return err
}

// sameClient compares the client that the KDC names with the one that the client
// names.
func sameClient(t *messages.EncTicketPart, a *types.Authenticator) error {
	if t.CRealm != a.CRealm || !t.CName.Equal(a.CName) {
		return fmt.Errorf("%w: %.200q and %.200q", ErrMismatch,
			principal(t.CName.NameString, t.CRealm), principal(a.CName.NameString, a.CRealm))
	}
	return nil
}

// inTime returns nil if the ticket is valid at now.
func inTime(t *messages.EncTicketPart, now time.Time) error {
	start := t.StartTime
	if start.IsZero() {
		start = t.AuthTime
	}
	if now.Add(skew).Before(start) || t.Flags.At(flags.Invalid) != 0 {
		return fmt.Errorf("%w: from %s on", ErrNotYetValid, start.UTC().Format(time.RFC3339))
	}
	if now.Add(-skew).After(t.EndTime) {
		return fmt.Errorf("%w: at %s", ErrExpired, t.EndTime.UTC().Format(time.RFC3339))
	}
	return nil
}

// fresh returns nil if the client made the authenticator just now.
func fresh(a *types.Authenticator, now time.Time) error {
	if a.Cusec < 0 || a.Cusec > 999_999 {
		return fmt.Errorf("%w: %d microseconds", ErrMalformed, a.Cusec)
	}
	off := a.CTime.Add(time.Duration(a.Cusec) * time.Microsecond).Sub(now)
	if off.Abs() > skew {
		return fmt.Errorf("%w: off by %v, more than %v", ErrClockSkew, off.Round(time.Second), skew)
	}
	return nil
}

// boundTo checks the addresses that a ticket is for. Few tickets have any. The NetBIOS names
// that Windows adds are not addresses.
func boundTo(addresses types.HostAddresses, remote netip.Addr) error {
	var bound bool
	for _, a := range addresses {
		if a.AddrType != addrtype.IPv4 && a.AddrType != addrtype.IPv6 {
			continue
		}
		if a.Equal(types.HostAddressFromNetIP(net.IP(remote.Unmap().AsSlice()))) {
			return nil
		}
		bound = true
	}
	if bound {
		return fmt.Errorf("%w: not for %v", ErrAddress, remote)
	}
	return nil
}

// trustworthy checks the realms through which a ticket from another realm came, unless
// our KDC has checked them: each of them could have invented the client (RFC 4120,
// section 2.7).
func (k *Keytab) trustworthy(t *messages.EncTicketPart, ours string) error {
	if t.CRealm == ours || len(t.Transited.Contents) == 0 || t.Flags.At(flags.TransitedPolicyChecked) != 0 {
		return nil
	}
	for via := range strings.SplitSeq(string(t.Transited.Contents), ",") {
		if !slices.ContainsFunc(k.realms(), func(r Realm) bool { return r.Name == via }) {
			return fmt.Errorf("%w: the ticket came by way of %.200q", ErrForeignRealm, via)
		}
	}
	return nil
}

// enctypes are encryption types by their names in krb5.conf and klist. Sessions may use
// those that have a size, which is that of their keys in bytes. With any other type, tokens
// would have the layout and the strength of RFC 1964.
var enctypes = map[int32]struct {
	name string
	size int
}{
	etypeID.AES128_CTS_HMAC_SHA1_96:    {"aes128-cts-hmac-sha1-96", 16},
	etypeID.AES256_CTS_HMAC_SHA1_96:    {"aes256-cts-hmac-sha1-96", 32},
	etypeID.AES128_CTS_HMAC_SHA256_128: {"aes128-cts-hmac-sha256-128", 16},
	etypeID.AES256_CTS_HMAC_SHA384_192: {"aes256-cts-hmac-sha384-192", 32},
	etypeID.DES3_CBC_SHA1_KD:           {name: "des3-cbc-sha1"},
	etypeID.RC4_HMAC:                   {name: "rc4-hmac"},
}

func enctype(id int32) string {
	return cmp.Or(enctypes[id].name, fmt.Sprintf("encryption type %d", id))
}

// strong returns nil for an AES key of the right length.
func strong(k types.EncryptionKey) error {
	size := enctypes[k.KeyType].size
	if size == 0 {
		return fmt.Errorf("%w: %s for the session: AES is needed", ErrWeak, enctype(k.KeyType))
	}
	if len(k.KeyValue) != size {
		return fmt.Errorf("%w: %s key of %d bytes", ErrMalformed, enctype(k.KeyType), len(k.KeyValue))
	}
	return nil
}
