// Package ldap is the client of LDAP directories: Active Directory, OpenLDAP,
// FreeIPA, 389 DS and others. A Client is a directory.Directory that looks users
// up, checks and changes their passwords, over a pool of connections to several
// servers.
//
// Only this package knows LDAP. The differences between servers are in tables:
// defaults in kind.go, account states in state.go, answers in answer.go. Start at
// Settings and Open.
package ldap

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/directory/ldap/gssapi"
	"berth/sshd/privatefile"
)

// A Client is one directory, reached over one or more servers. It is safe for
// concurrent use. It implements directory.Directory.
type Client struct {
	settings    Settings
	kind        kind
	log         hclog.Logger
	caFile      *privatefile.File[authorities]
	system      authorities // without a CA file
	password    *privatefile.File[string]
	tickets     *gssapi.Tickets
	certificate *clientCertificate
	pool        *pool
	forest      *forest       // finds people in all domains; nil: there is one domain
	foreign     *Client       // of another forest, whose groups count too; nil: there is none
	changing    chan struct{} // one change of keys at a time, so that max_keys holds
	now         func() time.Time
	searches    atomic.Int64 // sent so far, for tests

	sids          memory[directory.Group]   // by binary SID; a SID is never used again for another group
	nested        memory[[]directory.Group] // the groups that contain some groups, by filter
	self          memory[selfRead]          // by name in lower case
	policyEntries memory[entry]             // by the key of the DN
	policies      memory[policies]
	hidden        memory[[]string] // attributes that the service account may not read
	short         memory[string]   // NetBIOS name of the domain
	tokens        memory[[]string] // SIDs of the service account (Active Directory)
	whoAmI        memory[string]   // DN of the service account, if bind_dn does not say it
}

// Open checks the settings and returns a Client. It works while no server is up,
// because it waits for none. The error contains all mistakes, each with its key.
func Open(s Settings, log hclog.Logger) (*Client, error) {
	return open(s, nil, false, log)
}

// A Dialer connects to a directory in this process.
type Dialer func(context.Context) (net.Conn, error)

// OpenLocal is Open for a directory in this process, which has no URL.
func OpenLocal(s Settings, dial Dialer, log hclog.Logger) (*Client, error) {
	return open(s, &server{url: "embedded directory " + s.LDIF, dial: dial}, false, log)
}

// open opens a client. local is a server in this process, catalog says that DNS is asked
// for servers of the global catalogue.
func open(s Settings, local *server, catalog bool, log hclog.Logger) (*Client, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s = s.Complete()
	c := &Client{settings: s, kind: kinds[s.Kind], log: log.With("directory", s.Name), changing: make(chan struct{}, 1), now: time.Now}
	c.sids.max, c.nested.max, c.self.max, c.policyEntries.max = maxSIDs, maxNested, maxSelfs, maxNested
	if s.BindAs != "" { // one person's rights must not decide what is known of another
		c.sids.max, c.nested.max, c.policyEntries.max, c.policies.max = nothing, nothing, nothing, nothing
	}
	c.caFile, c.system.sessions = s.authorities(), tls.NewLRUClientSessionCache(0)
	if account, err := s.keytab().Account(); err == nil {
		s.Bind.Principal, c.settings.Bind.Principal = account, account
	}
	dns := newResolver(s.Resolver)
	c.password, c.certificate = s.passwordFile(), s.Bind.clientCertificate()
	c.tickets = gssapi.NewTickets(s.keytab(), dns.kdcs)
	// Read the files now. Their content is used as long as a file cannot be read later.
	// Check has reported errors.
	_, _ = c.password.Current()
	_, _ = c.certificate.current()
	var servers []*server
	for _, raw := range s.URLs {
		servers = append(servers, newServer(raw, dns))
	}
	if local != nil {
		servers = append(servers, local)
	}
	c.pool = newPool(c, servers)
	if s.Domain != "" {
		c.pool.locator = newLocator(s, dns)
		c.pool.locator.catalog = catalog
		c.pool.probes.Go(func() { c.pool.follow(c.pool.locator) })
	}
	if s.GlobalCatalog {
		c.forest = &forest{own: c, clients: map[string]*Client{dnsName(s.Base): c}}
	}
	return c, nil
}

// Close ends all connections. Requests under way may fail.
func (c *Client) Close() error {
	if c.forest != nil {
		c.forest.close()
	}
	c.pool.close()
	return nil
}

// Settings returns the settings with all defaults filled in.
func (c *Client) Settings() Settings { return c.settings }

// Lookup finds a user by any spelling of a login name. See
// directory.Directory.
//
// With bind_as there is no account to search with. Lookup then returns a User
// with a Name only, in an unknown state, until Authenticate has checked the
// password and read the entry. For a minute Lookup then returns the user that was
// read, and for twelve hours the same user without keys, marked as Cached.
func (c *Client) Lookup(ctx context.Context, name string) (*directory.User, error) {
	if c.settings.BindAs != "" {
		return c.lookupSelf(name)
	}
	if c.forest != nil {
		a := c.forest.lookup(ctx, []string{name})[name]
		return a.User, a.Err
	}
	return c.find(ctx, c.search, name)
}

// Ping returns nil when a server answers searches as the service account: of the
// base, and for a login name. In a forest the global catalogue must answer, too.
func (c *Client) Ping(ctx context.Context) error {
	err := c.ping(ctx)
	if err == nil && c.forest != nil {
		var catalog *Client
		if catalog, err = c.forest.catalog(ctx); err == nil {
			err = catalog.ping(ctx)
		}
	}
	return err
}

func (c *Client) ping(ctx context.Context) error {
	if c.settings.BindAs != "" {
		cn, err := c.pool.connect(ctx, use{prepare: func(ctx context.Context, cn *conn) error {
			return cn.ping(ctx, c.settings.RequestTimeout)
		}})
		if err == nil {
			cn.close()
		}
		return err
	}
	_, found, err := read(ctx, c.search, c.settings.Base, "1.1")
	if err == nil && !found {
		err = &noBaseError{c.settings.Base}
	}
	if err != nil {
		return err
	}
	filter, err := c.userFilter(ctx, c.search, "ping", []string{c.settings.NameAttribute}) // which user this is does not matter
	if err == nil {
		_, err = c.search(ctx, request(c.settings.Base, ldap.ScopeWholeSubtree, filter, maxMatches, "1.1"))
	}
	return err
}
