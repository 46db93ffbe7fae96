package ldap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// A forest is the domains of an Active Directory forest. Its global catalogue has
// everybody, but not all of their attributes. Berth asks it who somebody is and in
// which domain, and asks a controller of that domain for everything else.
//
//	name -> catalogue -> DN, objectGUID -> the client of the domain in the DN -> User
//
// The service account belongs to the domain of the settings, which is called the own
// domain. People and groups of other domains are called NAME@DOMAIN: a name is unique
// within a domain only.
type forest struct {
	own *Client

	mu      sync.Mutex
	domains []domain
	asked   time.Time // when domains were read
	clients map[string]*Client
	closed  bool
}

// A domain is one of those that the forest lists.
type domain struct {
	dns   string // in lower case
	short string // NetBIOS name
	dn    string
}

// domainsFor is how long the list of domains is used.
const domainsFor = time.Hour

// forestRoot is the key of the catalogue among the clients of a forest. No domain has
// this name.
const forestRoot = ""

// list returns the domains of the forest, the root first. If they cannot be read now, the
// last list is used: domains rarely change.
func (f *forest) list(ctx context.Context) ([]domain, error) {
	f.mu.Lock()
	last, asked := f.domains, f.asked
	f.mu.Unlock()
	if f.own.now().Sub(asked) < domainsFor && len(last) > 0 {
		return last, nil
	}
	read, err := f.read(ctx)
	if err != nil && len(last) == 0 {
		return nil, fmt.Errorf("domains of the forest: %w", err)
	}
	if err != nil {
		f.own.log.Warn("the domains of the forest cannot be read: those that are known are still used", "error", err)
		return last, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.domains, f.asked = read, f.own.now()
	return read, nil
}

// read asks for the cross-references to domains ([MS-ADTS] 6.1.1.2.1.1). The flags are
// FLAG_CR_NTDS_NC and FLAG_CR_NTDS_DOMAIN.
func (f *forest) read(ctx context.Context) ([]domain, error) {
	search := f.own.search
	root, _, err := read(ctx, search, "", "configurationNamingContext", "rootDomainNamingContext")
	if err != nil {
		return nil, err
	}
	first := foldDN(root.first("rootDomainNamingContext"))
	found, err := all(ctx, search, "CN=Partitions,"+root.first("configurationNamingContext"),
		"(&(objectClass=crossRef)(systemFlags:1.2.840.113556.1.4.803:=3))", "nCName", "dnsRoot", "nETBIOSName")
	if err != nil {
		return nil, err
	}
	var domains []domain
	for _, e := range found {
		d := domain{strings.ToLower(e.first("dnsRoot")), e.first("nETBIOSName"), e.first("nCName")}
		if !domainName.MatchString(d.dns) || dnsName(d.dn) != d.dns {
			return nil, fmt.Errorf("%q has the name %q in DNS: not usable", d.dn, d.dns)
		}
		if foldDN(d.dn) == first {
			domains = slices.Insert(domains, 0, d)
		} else {
			domains = append(domains, d)
		}
	}
	if len(domains) == 0 || foldDN(domains[0].dn) != first {
		return nil, fmt.Errorf("the service account does not see the root %q among the domains", root.first("rootDomainNamingContext"))
	}
	return domains, nil
}

// client returns the client of a domain of the forest, or of the catalogue. It is opened
// when it is first needed.
func (f *forest) client(name string, d domain) (*Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c := f.clients[name]; {
	case f.closed:
		return nil, errClosed
	case c != nil:
		return c, nil
	}
	s := f.own.settings
	s.GlobalCatalog, s.URLs, s.Domain, s.Base, s.GroupBase = false, nil, d.dns, d.dn, d.dn
	c, err := open(s, nil, name == forestRoot, f.own.log)
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", d.dns, err)
	}
	c.forest = f
	if name == forestRoot {
		c.settings.Base, c.settings.GroupBase = "", "" // the whole forest
	}
	f.clients[name] = c
	return c, nil
}

func (f *forest) catalog(ctx context.Context) (*Client, error) {
	domains, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	return f.client(forestRoot, domains[0])
}

// of returns the client of the domain that an entry belongs to. Only domains that the
// forest lists are asked.
func (f *forest) of(ctx context.Context, dn string) (*Client, error) {
	domains, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	name := dnsName(dn)
	i := slices.IndexFunc(domains, func(d domain) bool { return d.dns == name })
	if i < 0 {
		return nil, fmt.Errorf("%q is in no domain of the forest", dn)
	}
	return f.client(name, domains[i])
}

// domains returns the clients of all domains, the own one first; c if there is no forest.
func (c *Client) domains(ctx context.Context) ([]*Client, error) {
	f := c.forest
	if f == nil {
		return []*Client{c}, nil
	}
	domains, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	clients := []*Client{f.own}
	for _, d := range domains {
		c, err := f.client(d.dns, d)
		if err != nil {
			return nil, err
		}
		if c != f.own {
			clients = append(clients, c)
		}
	}
	return clients, nil
}

// others returns the catalogue and the clients of other domains that are open, in the
// order of their names.
func (f *forest) others() []*Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	var open []*Client
	for _, name := range slices.Sorted(maps.Keys(f.clients)) {
		if c := f.clients[name]; c != f.own {
			open = append(open, c)
		}
	}
	return open
}

func (f *forest) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, c := range f.others() {
		c.pool.close()
	}
}

// lookup finds people anywhere in the forest, with one search of the catalogue and one of
// each domain for perBatch names.
func (f *forest) lookup(ctx context.Context, names []string) map[string]directory.Answer {
	answers := make(map[string]directory.Answer, len(names))
	for some := range slices.Chunk(names, perBatch) {
		in, err := f.locate(ctx, some, answers)
		for _, name := range some {
			if _, answered := answers[name]; err != nil && !answered {
				answers[name] = directory.Answer{Err: err}
			}
		}
		for c, people := range in {
			c.fetch(ctx, people, answers)
		}
	}
	return answers
}

// locate asks the catalogue for people, and returns which of their entries are in which
// domain, by the name that was looked up. Names that nobody has get their answer here.
func (f *forest) locate(ctx context.Context, names []string, answers map[string]directory.Answer) (map[*Client]map[string]entry, error) {
	domains, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	catalog, err := f.catalog(ctx)
	if err != nil {
		return nil, err
	}
	s, filter := &f.own.settings, ""
	wanted := make(map[string]typedName, len(names))
	for _, name := range names {
		t, err := f.parse(domains, name)
		if err != nil {
			answers[name] = directory.Answer{Err: err}
			continue
		}
		wanted[name] = t
		filter += anyOf([]string{s.NameAttribute}, t.user) + anyOf(s.LoginAttributes, t.whole)
	}
	if filter == "" {
		return nil, nil
	}
	entries, err := all(ctx, catalog.search, "", "(&(|"+filter+")"+s.UserFilter+")", append(slices.Clone(s.LoginAttributes), s.NameAttribute, s.IDAttribute)...)
	if err != nil {
		return nil, fmt.Errorf("global catalogue: %w", err)
	}
	in := map[*Client]map[string]entry{}
	for name, t := range wanted {
		e, err := t.choose(s, entries)
		var c *Client
		if err == nil {
			c, err = f.of(ctx, e.dn)
		}
		if err != nil {
			answers[name] = directory.Answer{Err: err}
			continue
		}
		if in[c] == nil {
			in[c] = map[string]entry{}
		}
		in[c][name] = e
	}
	return in, nil
}

// A typedName is a login name: alice, CORP\alice, alice@corp.example or another value of a
// login attribute.
type typedName struct {
	whole  string
	user   string // without a domain
	domain string // that user is of, in DNS
	only   bool   // no other attribute may have the whole name
}

func (f *forest) parse(domains []domain, name string) (typedName, error) {
	if err := checkName(name); err != nil {
		return typedName{}, err
	}
	t := typedName{whole: name, user: name, domain: dnsName(f.own.settings.Base)}
	called := func(text string) bool {
		return slices.ContainsFunc(domains, func(d domain) bool {
			if !strings.EqualFold(d.dns, text) && !strings.EqualFold(d.short, text) {
				return false
			}
			t.domain = d.dns
			return true
		})
	}
	if short, user, found := strings.Cut(name, `\`); found {
		if t.user, t.only = user, true; user == "" || !called(short) {
			return t, fmt.Errorf("name %q: not of a domain of this forest: %w", name, directory.ErrNoUser)
		}
	} else if i := strings.LastIndexByte(name, '@'); i > 0 && called(name[i+1:]) {
		t.user = name[:i]
	}
	return t, nil
}

// choose returns the entry that t means. A person's own name takes precedence over other
// attributes with that value, and a name without a domain is first one of the own domain.
func (t typedName) choose(s *Settings, entries []entry) (entry, error) {
	has := func(e entry, attribute, value string) bool {
		return slices.ContainsFunc(e.all(attribute), func(v string) bool { return strings.EqualFold(v, value) })
	}
	var named, matching []entry
	for _, e := range entries {
		switch {
		case has(e, s.NameAttribute, t.user) && dnsName(e.dn) == t.domain:
			named = append(named, e)
		case t.only:
		case has(e, s.NameAttribute, t.whole), slices.ContainsFunc(s.LoginAttributes, func(a string) bool { return has(e, a, t.whole) }):
			matching = append(matching, e)
		}
	}
	if len(named) == 0 {
		named = matching
	}
	switch len(named) {
	case 0:
		return entry{}, fmt.Errorf("name %q: %w", t.whole, directory.ErrNoUser)
	case 1:
		return named[0], nil
	}
	return entry{}, &directory.Refusal{
		Why:    directory.ErrAmbiguous,
		Detail: fmt.Sprintf(`%q matches %q and %q: with a domain, as in DOMAIN\%s, it means one of them`, t.whole, named[0].dn, named[1].dn, t.user),
	}
}

// fetch reads people of one domain, whom the catalogue has found, and adds the answers.
func (c *Client) fetch(ctx context.Context, people map[string]entry, answers map[string]directory.Answer) {
	ids := map[string]bool{}
	for _, e := range people {
		ids[e.first(c.settings.IDAttribute)] = true
	}
	entries, err := all(ctx, c.search, c.settings.Base, "(|"+anyOf([]string{c.settings.IDAttribute}, slices.Collect(maps.Keys(ids))...)+")", c.userAttributes()...)
	for name, e := range people {
		answers[name] = c.answer(ctx, e, entries, err)
	}
}

// answer returns the answer about the person whose entry in the catalogue is e.
// found are entries of the domain, and err is why there are none.
func (c *Client) answer(ctx context.Context, e entry, found []entry, err error) directory.Answer {
	if err != nil {
		return directory.Answer{Err: err}
	}
	id := e.first(c.settings.IDAttribute)
	i := slices.IndexFunc(found, func(f entry) bool { return f.first(c.settings.IDAttribute) == id && id != "" })
	if i < 0 { // not "no": the catalogue is a copy, and older or newer than the domain
		return directory.Answer{Err: fmt.Errorf("the global catalogue has %q, which the domain %s does not show the service account", e.dn, c.settings.Domain)}
	}
	u, err := c.user(ctx, c.search, found[i])
	return directory.Answer{User: u, Err: err}
}

// home returns the client of u's domain, which is asked for everything about
// u.
func (c *Client) home(ctx context.Context, u *directory.User) (*Client, error) {
	if c.forest == nil {
		return c, nil
	}
	return c.forest.of(ctx, u.DN)
}

// homeOfGroup returns the client of the domain of a group, as rules call it, and what the
// group is called there.
func (c *Client) homeOfGroup(ctx context.Context, group string) (*Client, string) {
	if c.forest == nil {
		return c, group
	}
	at, plain := group, group
	if i := strings.LastIndexByte(group, '@'); i >= 0 {
		at, plain = "dc="+strings.ReplaceAll(group[i+1:], ".", ",dc="), group[:i]
	}
	if home, err := c.forest.of(ctx, at); err == nil {
		return home, plain
	}
	return c, group
}

// qualified returns the name of a person or group with the domain, unless that is the own
// one or there is no other. A name of the own domain that looks like one of another domain
// gets the domain too: otherwise two people, or two groups, would have one name.
func (c *Client) qualified(name, dn string) string {
	if c.forest == nil || name == "" {
		return name
	}
	own := dnsName(c.forest.own.settings.Base)
	if d := dnsName(dn); d != own || c.forest.elsewhere(name) {
		return name + "@" + d
	}
	return name
}

// elsewhere reports whether name looks like one of another domain.
func (f *forest) elsewhere(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	suffix := strings.ToLower(name[strings.LastIndexByte(name, '@')+1:])
	return suffix != dnsName(f.own.settings.Base) && len(suffix) < len(name) &&
		slices.ContainsFunc(f.domains, func(d domain) bool { return d.dns == suffix })
}

// report finds out whether the catalogue and the other domains can be used.
func (f *forest) report(ctx context.Context) []Finding {
	r := reporter{c: f.own}
	domains, err := f.list(ctx)
	if err != nil {
		r.add(Bad, "forest", err.Error())
		return r.findings
	}
	names := make([]string, len(domains))
	for i, d := range domains {
		names[i] = d.dns
	}
	r.add(OK, "forest", "domains: "+strings.Join(names, ", "))
	catalog, err := f.catalog(ctx)
	clients, more := f.own.domains(ctx)
	if err = errors.Join(err, more); err != nil {
		r.add(Bad, "forest", err.Error())
		return r.findings
	}
	for _, c := range append(clients[1:], catalog) {
		part := reporter{c: c}
		servers, err := c.pool.listed(ctx)
		part.domain(err)
		for _, s := range servers {
			part.server(ctx, s)
		}
		if part.reached {
			if _, err := c.search(ctx, request(c.settings.Base, ldap.ScopeWholeSubtree, "(&"+f.own.settings.UserFilter+"("+c.settings.NameAttribute+"=*))", 1, "1.1")); err != nil && !ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded) {
				part.add(Bad, "people of "+c.settings.Domain, err.Error())
			}
		}
		r.findings = append(r.findings, part.findings...)
	}
	return r.findings
}
