package ldap

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

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
// ([MS-ADTS] 6.3.3). The first answer counts. Nothing proves who sent the answer.
// So it decides only which controllers are tried first, and each of them is
// verified.
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
	cn := ldap.NewConn(&boundedConn{Conn: datagrams{nc, bufio.NewReaderSize(nc, 64<<10)}}, false)
	cn.Start()
	defer cn.Close()
	// NtVer is NETLOGON_NT_VERSION_5 and NETLOGON_NT_VERSION_5EX ([MS-ADTS] 6.3.1.1):
	// the answer contains sites.
	filter := "(&(DnsDomain=" + ldap.EscapeFilter(domain) + `)(NtVer=\06\00\00\00))`
	reply := cn.SearchAsync(ctx, request("", ldap.ScopeBaseObject, filter, 0, "Netlogon"), 1)
	if !reply.Next() || reply.Entry() == nil {
		return "", fmt.Errorf("ping %s over UDP: no answer: %w", at, cmp.Or(reply.Err(), context.Cause(ctx), errNotNetlogon))
	}
	site, err := siteInNetlogon([]byte(newEntry(reply.Entry()).first("Netlogon"))) // Samba calls it netlogon
	if err != nil {
		return "", fmt.Errorf("ping %s over UDP: %w", at, err)
	}
	return site, nil
}

// datagrams are read in pieces, as a stream is.
type datagrams struct {
	net.Conn
	in *bufio.Reader
}

func (d datagrams) Read(p []byte) (int, error) { return d.in.Read(p) }

var errNotNetlogon = errors.New("the answer is not one of a domain controller of this domain")

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
