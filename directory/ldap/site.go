package ldap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/miekg/dns"
)

// Domain controllers are asked for the site of this host all at once, because the
// first login waits for the answer. A firewall may drop UDP.
const (
	sitePings    = 5
	sitePatience = time.Second
)

// siteOf asks domain controllers in which site this host is: a "LDAP ping" over UDP
// ([MS-ADTS] 6.3.3). The first answer counts. Nothing proves who sent it. So it
// decides only which controllers are tried first, and each of them is verified.
func siteOf(ctx context.Context, r *resolver, domain string, controllers []service) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sitePatience)
	defer cancel()
	type answer struct {
		site string
		err  error
	}
	controllers = controllers[:min(len(controllers), sitePings)]
	answers := make(chan answer, len(controllers))
	for _, dc := range controllers {
		if dc.port == catalogPort {
			dc.port = 389 // the catalogue does not answer over UDP
		}
		go func() {
			site, err := pingSite(ctx, r, domain, dc)
			answers <- answer{site, err}
		}()
	}
	var errs []error
	for range controllers {
		a := <-answers
		if a.err == nil {
			return a.site, nil
		}
		errs = append(errs, a.err)
	}
	return "", errors.Join(errs...)
}

func pingSite(ctx context.Context, r *resolver, domain string, dc service) (string, error) {
	at := net.JoinHostPort(dc.host, strconv.Itoa(int(dc.port)))
	nc, err := (&net.Dialer{Resolver: r.hosts}).DialContext(ctx, "udp", at)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	ping, err := sitePing(domain)
	if err != nil {
		return "", err
	}
	if _, err := nc.Write(ping); err != nil {
		return "", err
	}
	reply := make([]byte, 64<<10)
	n, err := nc.Read(reply)
	if err != nil {
		return "", fmt.Errorf("ping %s over UDP: no answer: %w", at, err)
	}
	site, err := siteIn(reply[:n])
	if err != nil {
		return "", fmt.Errorf("ping %s over UDP: %w", at, err)
	}
	return site, nil
}

// sitePing is a search for the attribute Netlogon of the root DSE.
func sitePing(domain string) ([]byte, error) {
	// NtVer is NETLOGON_NT_VERSION_5 and NETLOGON_NT_VERSION_5EX ([MS-ADTS] 6.3.1.1):
	// the answer contains sites.
	filter, err := ldap.CompileFilter(`(&(DnsDomain=` + ldap.EscapeFilter(domain) + `)(NtVer=\06\00\00\00))`)
	if err != nil {
		return nil, err
	}
	search := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchRequest, nil, "")
	search.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	for _, tag := range []ber.Tag{ber.TagEnumerated, ber.TagEnumerated, ber.TagInteger, ber.TagInteger} { // scope, aliases, limits
		search.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, tag, 0, ""))
	}
	search.AppendChild(ber.NewBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, false, ""))
	search.AppendChild(filter)
	attributes := ber.NewSequence("")
	attributes.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "Netlogon", ""))
	search.AppendChild(attributes)
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	message.AppendChild(search)
	return message.Bytes(), nil
}

var errNotNetlogon = errors.New("the answer is not one of a domain controller of this domain")

// siteIn returns the site of the client in an answer to a sitePing.
func siteIn(reply []byte) (string, error) {
	if err := new(berScanner).write(reply); err != nil {
		return "", err
	}
	p, err := ber.DecodePacketErr(reply)
	if err != nil {
		return "", err
	}
	// message, entry, attributes, the only attribute, its values, the only value
	for _, child := range []int{1, 1, 0, 1, 0} {
		if len(p.Children) <= child {
			return "", errNotNetlogon
		}
		p = p.Children[child]
	}
	return siteInNetlogon(p.ByteValue)
}

// siteInNetlogon returns the name of the client's site in a
// NETLOGON_SAM_LOGON_RESPONSE_EX ([MS-ADTS] 6.3.1.9).
func siteInNetlogon(b []byte) (string, error) {
	const samLogonResponseEx, names, clientSite = 23, 24, 8 // opcode, where names begin, which of them
	if len(b) < names || binary.LittleEndian.Uint16(b) != samLogonResponseEx {
		return "", errNotNetlogon
	}
	name, offset := "", names
	for range clientSite {
		var err error
		if name, offset, err = dns.UnpackDomainName(b, offset); err != nil {
			return "", err
		}
	}
	if dns.CountLabel(name) != 1 { // "." is no site: the address is in no subnet
		return "", errors.New("the domain has no site for the address of this host")
	}
	return name[:len(name)-1], nil
}
