package gssapi

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	krb5 "github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"berth/sshd/privatefile"
)

// Tickets gets Kerberos tickets of the service account with the keys in a keytab. It is
// safe for concurrent use.
type Tickets struct {
	file *privatefile.File[*credentials]
	kdcs func(ctx context.Context, realm string) ([]string, error)

	mu      sync.Mutex
	client  *client.Client
	of      *credentials               // the keytab that client was made from
	realm   messages.ASRep             // the ticket for other tickets
	tickets map[string]messages.TGSRep // by service
}

// NewTickets returns a source of tickets. kdcs returns the addresses of the KDCs of a realm.
// The keys that the file has now are used as long as the file cannot be read later.
func NewTickets(k Keytab, kdcs func(ctx context.Context, realm string) ([]string, error)) *Tickets {
	t := &Tickets{file: k.file(), kdcs: kdcs}
	_, _ = t.file.Current()
	return t
}

// A Ticket is for one service. key is known to the service account and the service.
type Ticket struct {
	messages.Ticket
	key types.EncryptionKey
	of  *credentials
}

// Of is whose ticket it is.
func (t Ticket) Of() string { return t.of.String() }

// Get returns a ticket for a service, such as ldap/dc1.corp.example. The library
// takes no context; it gives up by itself after some seconds for each KDC.
func (t *Tickets) Get(ctx context.Context, service string) (Ticket, error) {
	of, err := t.file.Current()
	if of == nil {
		return Ticket{}, fmt.Errorf("bind.keytab: %s: %w", t.file.Path, err)
	}
	type result struct {
		Ticket
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := t.ask(ctx, of, service)
		done <- result{got, err}
	}()
	select {
	case r := <-done:
		return r.Ticket, r.err
	case <-ctx.Done():
		return Ticket{}, fmt.Errorf("ask for a ticket of %s: %w", of, context.Cause(ctx))
	}
}

// ask returns a ticket that is known and not about to end, or asks a KDC for one. The
// library would renew tickets itself, in a goroutine of its own, where a panic about what a
// KDC sends would end the server.
func (t *Tickets) ask(ctx context.Context, of *credentials, service string) (got Ticket, err error) {
	defer noPanic(&err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == nil || t.of != of || !lasting(t.realm.DecryptedEncPart) {
		kdcs, err := t.kdcs(ctx, of.realm)
		if err != nil {
			return Ticket{}, fmt.Errorf("find the KDC of %s: %w", of.realm, err)
		}
		t.client = nil // until there is a ticket
		c := client.NewWithKeytab(of.name, of.realm, of.keys, configOf(of.realm, kdcs), client.DisablePAFXFAST(true))
		request, err := messages.NewASReqForTGT(of.realm, c.Config, c.Credentials.CName())
		if err != nil {
			return Ticket{}, err
		}
		if t.realm, err = c.ASExchange(of.realm, request, 0); err != nil {
			return Ticket{}, ticketError(of, service, err)
		}
		t.client, t.of, t.tickets = c, of, map[string]messages.TGSRep{}
	}
	reply, known := t.tickets[service]
	if !known || !lasting(reply.DecryptedEncPart) {
		name := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, service)
		if _, reply, err = t.client.TGSREQGenerateAndExchange(name, of.realm, t.realm.Ticket, t.realm.DecryptedEncPart.Key, false); err != nil {
			t.client = nil // DNS may name other KDCs now
			return Ticket{}, ticketError(of, service, err)
		}
		t.tickets[service] = reply
	}
	return Ticket{reply.Ticket, reply.DecryptedEncPart.Key, of}, nil
}

// lasting reports whether more than a sixth of the life of a ticket is left.
func lasting(t messages.EncKDCRepPart) bool {
	return time.Until(t.EndTime) > t.EndTime.Sub(t.AuthTime)/6
}

// configOf returns the settings that krb5.conf would have.
func configOf(realm string, kdcs []string) *krb5.Config {
	c := krb5.New()
	c.LibDefaults.DefaultRealm = realm
	c.LibDefaults.UDPPreferenceLimit = 1 // TCP only
	c.LibDefaults.DefaultTktEnctypeIDs, c.LibDefaults.DefaultTGSEnctypeIDs, c.LibDefaults.PermittedEnctypeIDs = strong, strong, strong
	c.Realms = []krb5.Realm{{Realm: realm, KDC: kdcs}}
	return c
}

// A Refusal is a "no" of a KDC about the service account. Other servers of the
// directory would not help, and asking again can lock the account.
type Refusal struct{ text string }

func (r *Refusal) Error() string { return r.text }

// kdcCode finds the code of an error. The library does not return it otherwise.
var kdcCode = regexp.MustCompile(`\((\d+)\) K[A-Z0-9_]+`)

// ticketError says in words why there is no ticket.
func ticketError(of *credentials, service string, err error) error {
	code := int32(-1)
	if found := kdcCode.FindStringSubmatch(err.Error()); found != nil {
		n, _ := strconv.ParseInt(found[1], 10, 32)
		code = int32(n)
	}
	switch text := err.Error(); { // an error of the library, about an answer of a KDC without pre-authentication
	case strings.Contains(text, "clock skew with KDC too large"):
		code = errorcode.KRB_AP_ERR_SKEW
	case strings.Contains(text, "client password/keytab incorrect"):
		code = errorcode.KDC_ERR_PREAUTH_FAILED
	}
	if why, no := refusals[code]; no {
		return &Refusal{fmt.Sprintf("ticket of %s: %s: %v", of, why, err)}
	}
	why := ""
	if code == errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN { // no refusal: another server may be known
		why = "the realm has no such service: add this service name (SPN) to the account of the server, or use the name of the server that the realm knows: "
	}
	return fmt.Errorf("ticket of %s for %s: %s%w", of, service, why, err)
}

const wrongKey = "the key in the keytab is not that of the account. The password may have changed since the keytab was made (another kvno): make it anew"

// refusals are what the codes of a KDC mean for the service account.
var refusals = map[int32]string{
	errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: "the realm has no such account. bind.principal must be the name that logs in, such as svc-berth@CORP.EXAMPLE or HOST$@CORP.EXAMPLE, not a service name (SPN)",
	errorcode.KDC_ERR_CLIENT_REVOKED:      "the account is disabled, locked or expired",
	errorcode.KDC_ERR_KEY_EXPIRED:         "the password of the account has expired: give it one that does not expire, and make the keytab anew",
	errorcode.KDC_ERR_PREAUTH_FAILED:      wrongKey,
	errorcode.KRB_AP_ERR_BAD_INTEGRITY:    wrongKey,
	errorcode.KDC_ERR_ETYPE_NOSUPP:        "the KDC does not support AES for the account: set msDS-SupportedEncryptionTypes of the account to 24 and its password anew, then make the keytab anew",
	errorcode.KRB_AP_ERR_SKEW:             "the clock here differs from that of the KDC by more than five minutes: synchronize both",
}
