package ldap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A resolver asks name servers. Unlike net.Resolver it returns how long an answer
// is valid.
type resolver struct {
	address string        // of the name server; empty: those of the system
	hosts   *net.Resolver // for addresses of hosts
}

// dnsPort is where name servers listen (RFC 1035, section 4.2).
const dnsPort = "53"

// systemResolvers lists the name servers of the system.
const systemResolvers = "/etc/resolv.conf"

// newResolver returns a resolver that asks the name server at address, an IP address
// with or without a port. An empty address means the name servers of the system.
func newResolver(address string) *resolver {
	r := &resolver{hosts: net.DefaultResolver}
	if address == "" {
		return r
	}
	r.address = address
	if _, err := netip.ParseAddr(address); err == nil {
		r.address = net.JoinHostPort(address, dnsPort)
	}
	r.hosts = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, r.address)
	}}
	return r
}

// oneTry bounds one question to one name server.
const oneTry = 2 * time.Second

// errNoRecords means that a name server answered: DNS has no such records.
var errNoRecords = errors.New("DNS has no such records")

// A service is a host that offers a service, as DNS names it (RFC 2782).
type service struct {
	host             string // without the dot at the end
	port             uint16
	priority, weight uint16
}

// services returns the SRV records of name, and how long they are valid.
func (r *resolver) services(ctx context.Context, name string) ([]service, time.Duration, error) {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeSRV)
	question.SetEdns0(dns.DefaultMsgSize, false)
	reply, err := r.ask(ctx, question)
	if err != nil {
		return nil, 0, fmt.Errorf("ask DNS for %s: %w", name, err)
	}
	var found []service
	valid := time.Duration(math.MaxInt64)
	for _, record := range reply.Answer {
		valid = min(valid, time.Duration(record.Header().Ttl)*time.Second)
		// "." as the host means that the service is not offered.
		if srv, ok := record.(*dns.SRV); ok && srv.Target != "." {
			found = append(found, service{strings.ToLower(strings.TrimSuffix(srv.Target, ".")), srv.Port, srv.Priority, srv.Weight})
		}
	}
	if len(found) == 0 {
		return nil, 0, fmt.Errorf("ask DNS for %s: %w", name, errNoRecords)
	}
	return found, valid, nil
}

// ask sends a question to one name server after the other until one answers it.
func (r *resolver) ask(ctx context.Context, question *dns.Msg) (*dns.Msg, error) {
	servers := []string{r.address}
	if r.address == "" {
		system, err := dns.ClientConfigFromFile(systemResolvers)
		if err != nil {
			return nil, err
		}
		servers = nil
		for _, host := range system.Servers {
			servers = append(servers, net.JoinHostPort(host, system.Port))
		}
	}
	var errs []error
	for _, server := range servers {
		reply, err := exchange(ctx, "udp", question, server)
		if err == nil && reply.Truncated {
			reply, err = exchange(ctx, "tcp", question, server)
		}
		switch {
		case err == nil && reply.Rcode == dns.RcodeNameError:
			return nil, errNoRecords
		case err == nil && reply.Rcode == dns.RcodeSuccess:
			return reply, nil
		case err == nil:
			err = fmt.Errorf("name server %s answers %s", server, dns.RcodeToString[reply.Rcode])
		}
		errs = append(errs, err)
	}
	return nil, cmp.Or(errors.Join(errs...), errors.New(systemResolvers+" names no name server"))
}

func exchange(ctx context.Context, network string, question *dns.Msg, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	reply, _, err := (&dns.Client{Net: network}).ExchangeContext(ctx, question, server)
	return reply, err
}

// inOrder sorts services by priority, and those of one priority at random by weight
// (RFC 2782). chance returns a number above 0 and below 1 for a host. If it is
// always the same for a host, a change of one record does not change the order of
// the others.
//
// The smallest of -ln(chance)/weight is the host with a probability in
// proportion to its weight, because these are exponentially distributed.
func inOrder(services []service, chance func(host string) float64) []service {
	rank := func(s service) float64 {
		return -math.Log(chance(s.host)) / max(float64(s.weight), 0.01) // 0 is a very small chance
	}
	return slices.SortedStableFunc(slices.Values(services), func(a, b service) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(rank(a), rank(b)))
	})
}

// kdcs returns the addresses of the KDCs of a realm (RFC 4120, section 7.2.3.2).
func (r *resolver) kdcs(ctx context.Context, realm string) ([]string, error) {
	found, _, err := r.services(ctx, "_kerberos._tcp."+strings.ToLower(realm))
	if err != nil {
		return nil, err
	}
	var addresses []string
	var errs []error
	for _, s := range inOrder(found, func(string) float64 { return .5 }) {
		hosts, err := r.hosts.LookupHost(ctx, s.host)
		for _, host := range hosts {
			addresses = append(addresses, net.JoinHostPort(host, strconv.Itoa(int(s.port))))
		}
		errs = append(errs, err)
	}
	if len(addresses) == 0 {
		return nil, errors.Join(errs...)
	}
	return addresses, nil
}
