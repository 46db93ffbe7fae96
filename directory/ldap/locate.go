package ldap

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A locator finds the servers of a domain by DNS.
type locator struct {
	settings Settings
	dns      *resolver
	catalog  bool          // of the global catalogue, not of the domain
	seed     maphash.Seed  // random, so that several processes use different servers
	again    chan struct{} // a server has failed: DNS may have another list
	first    chan struct{} // closed when DNS has been asked once

	// guarded by pool.mu
	last located
	err  error // why the last question got no answer; last is then from an earlier one
}

// located is the answer of DNS about the servers of a domain.
type located struct {
	urls  []string
	site  string // of this host, on Active Directory; empty: not known
	near  int    // how many of urls are in the site
	valid time.Duration
	notes []string // oddities, for Report
}

func newLocator(s Settings, dns *resolver) *locator {
	return &locator{settings: s, dns: dns, seed: maphash.MakeSeed(), again: make(chan struct{}, 1), first: make(chan struct{})}
}

// serviceName is the name of the service in DNS. Only domain controllers of
// Active Directory are below dc._msdcs: other LDAP servers may have the name
// _ldap._tcp.
func (l *locator) serviceName(site string) string {
	if l.settings.Kind != "active_directory" {
		return "_ldap._tcp." + l.settings.Domain
	}
	if site != "" {
		site = "." + site + "._sites"
	}
	role := ".dc._msdcs."
	if l.catalog {
		role = ".gc._msdcs."
	}
	return "_ldap._tcp" + site + role + l.settings.Domain
}

// locate asks DNS for the servers, and on Active Directory a server for the site of
// this host: the servers of the site come first.
func (l *locator) locate(ctx context.Context) (located, error) {
	ctx, cancel := context.WithTimeout(ctx, l.settings.ConnectTimeout)
	defer cancel()
	all, valid, err := l.dns.services(ctx, l.serviceName(""))
	if err != nil {
		return located{}, err
	}
	all = inOrder(all, l.chance)
	found := located{valid: valid}
	if l.settings.Kind == "active_directory" {
		if found.site, err = siteOf(ctx, l.dns, l.settings.Domain, all); err != nil {
			found.notes = append(found.notes, fmt.Sprintf("the site of this host is not known, so no server is preferred: %v", err))
		}
	}
	var near []service
	if found.site != "" {
		var nearValid time.Duration
		if near, nearValid, err = l.dns.services(ctx, l.serviceName(found.site)); err == nil {
			found.valid = min(valid, nearValid)
		} else {
			found.notes = append(found.notes, fmt.Sprintf("site %s: %v", found.site, err))
		}
	}
	for i, s := range slices.Concat(inOrder(near, l.chance), all) {
		url := l.url(s)
		switch {
		case slices.Contains(found.urls, url):
		case !l.trusted(s.host):
			found.notes = append(found.notes, fmt.Sprintf("%s is not used: it is not in the domain, so ca_file must say who signs its certificate", s.host))
		default:
			found.urls = append(found.urls, url)
		}
		if i == len(near)-1 {
			found.near = len(found.urls)
		}
	}
	if len(found.urls) == 0 {
		return located{}, fmt.Errorf("domain %s: DNS names no server that can be used: %s", l.settings.Domain, strings.Join(found.notes, "; "))
	}
	return found, nil
}

// chance is the same for a host as long as the process runs, so that connections
// stay with their server when DNS is asked again.
func (l *locator) chance(host string) float64 {
	return (float64(maphash.String(l.seed, host)) + 1) / (math.MaxUint64 + 2)
}

// trusted reports whether the certificate of a host proves anything. DNS can be
// forged. Anybody can have a certificate of a public authority for a domain of their
// own, so such a host must be in the domain of the directory (RFC 6125, section
// 6.2.1). With ca_file only the authorities of the directory's owner count.
func (l *locator) trusted(host string) bool {
	domain := strings.ToLower(l.settings.Domain)
	return l.settings.CAFile != "" || l.settings.ServerName != "" || host == domain || strings.HasSuffix(host, "."+domain)
}

// url is how to connect to a server. DNS names the ports without TLS. Those with TLS
// are next to them.
func (l *locator) url(s service) string {
	scheme, port := "ldap", int(s.port)
	if !l.settings.StartTLS {
		scheme = "ldaps"
		switch port {
		case 389:
			port = 636
		case catalogPort:
			port = catalogTLSPort
		}
	}
	if usualPort[scheme] == strconv.Itoa(port) {
		return scheme + "://" + s.host
	}
	return scheme + "://" + net.JoinHostPort(s.host, strconv.Itoa(port))
}

// The ports of the global catalogue ([MS-ADTS] 3.1.1.3.1.10).
const (
	catalogPort    = 3268
	catalogTLSPort = 3269
)

// follow keeps the servers of the pool as DNS names them, until the pool is closed.
func (p *pool) follow(l *locator) {
	for {
		next := time.After(p.relocate(l))
		select {
		case <-p.ctx.Done():
			return
		case <-next:
		case <-l.again:
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(p.c.settings.ProbeEvery):
			}
		}
	}
}

// relocate asks DNS once and returns when to ask again. If DNS does not answer, or
// names no server, the last list is kept: a mistake in DNS must not end all
// logins.
func (p *pool) relocate(l *locator) time.Duration {
	found, err := l.locate(p.ctx)
	if p.ctx.Err() != nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	failed, changed := l.err == nil, !slices.Equal(l.last.urls, found.urls)
	l.err = err
	select {
	case <-l.first:
	default:
		close(l.first)
	}
	if err != nil {
		if failed {
			p.c.log.Warn("servers of the domain cannot be found: those that are known are still used", "domain", l.settings.Domain, "error", err)
		}
		return p.c.settings.ProbeEvery
	}
	l.last = found
	if changed {
		p.c.log.Info("servers of the domain", "domain", l.settings.Domain, "site", found.site, "urls", found.urls, "notes", found.notes)
		p.list(found.urls)
	}
	return max(found.valid, p.c.settings.ProbeEvery)
}

// list sets the servers that DNS names, after those of the settings. A server that
// is listed already keeps what is known of it. mu is held.
func (p *pool) list(urls []string) {
	servers := slices.Clone(p.fixed)
	for _, url := range urls {
		at := func(s *server) bool { return s.url == url }
		switch i := slices.IndexFunc(p.servers, at); {
		case slices.ContainsFunc(servers, at):
		case i >= 0:
			servers = append(servers, p.servers[i])
		default:
			s := newServer(url, p.locator.dns)
			s.found = true
			servers = append(servers, s)
		}
	}
	p.servers = servers
}

// listed returns the servers. If none is known, it waits until DNS has been asked for
// the first time.
func (p *pool) listed(ctx context.Context) ([]*server, error) {
	p.mu.Lock()
	servers := p.servers
	p.mu.Unlock()
	if p.locator == nil || len(servers) > 0 {
		return servers, nil
	}
	select {
	case <-p.locator.first:
	case <-ctx.Done():
		return nil, fmt.Errorf("finding the servers of %s: %w", p.locator.settings.Domain, context.Cause(ctx))
	case <-p.ctx.Done():
		return nil, errClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.servers) == 0 {
		return nil, p.locator.err
	}
	return p.servers, nil
}
