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
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/sshd/privatefile"
)

// A Client is one directory, reached over one or more servers. It is safe for
// concurrent use. It implements directory.Directory.
type Client struct {
	settings Settings
	kind     kind
	log      hclog.Logger
	caFile   *privatefile.File[authorities]
	system   authorities // without a CA file
	pool     *pool
	now      func() time.Time
	searches atomic.Int64 // sent so far, for tests

	sids          memory[directory.Group]   // by binary SID; a SID is never used again for another group
	nested        memory[[]directory.Group] // the groups that contain some groups, by filter
	self          memory[selfRead]          // by name in lower case
	policyEntries memory[entry]             // by the key of the DN
	policies      memory[policies]
	hidden        memory[[]string] // attributes that the service account may not read
	short         memory[string]   // NetBIOS name of the domain
	tokens        memory[[]string] // SIDs of the service account (Active Directory)
}

// Open checks the settings and returns a Client. It works while no server is up,
// because it asks none. The error contains all mistakes, each with its key.
func Open(s Settings, log hclog.Logger) (*Client, error) {
	return open(s, nil, log)
}

// A Dialer connects to a directory in this process.
type Dialer func(context.Context) (net.Conn, error)

// OpenLocal is Open for a directory in this process, which has no URL.
func OpenLocal(s Settings, dial Dialer, log hclog.Logger) (*Client, error) {
	return open(s, &server{url: "embedded directory " + s.LDIF, dial: dial}, log)
}

func open(s Settings, local *server, log hclog.Logger) (*Client, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s = s.Complete()
	c := &Client{settings: s, kind: kinds[s.Kind], log: log.With("directory", s.Name), now: time.Now}
	c.sids.max, c.nested.max, c.self.max, c.policyEntries.max = maxSIDs, maxNested, maxSelfs, maxNested
	c.caFile, c.system.sessions = s.authorities(), tls.NewLRUClientSessionCache(0)
	var servers []*server
	for _, raw := range s.URLs {
		servers = append(servers, newServer(raw))
	}
	if local != nil {
		servers = append(servers, local)
	}
	c.pool = newPool(c, servers)
	return c, nil
}

// Close ends all connections. Requests under way may fail.
func (c *Client) Close() error {
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
	return c.find(ctx, c.search, name)
}

// Ping returns nil when a server answers searches as the service account: of the
// base, and for a login name.
func (c *Client) Ping(ctx context.Context) error {
	if c.settings.BindAs != "" {
		cn, err := c.pool.connect(ctx, func(ctx context.Context, cn *conn) error {
			return cn.ping(ctx, c.settings.RequestTimeout)
		})
		if err == nil {
			cn.close()
		}
		return err
	}
	_, found, err := read(ctx, c.search, c.settings.Base, "1.1")
	if err == nil && !found {
		err = fmt.Errorf("base %q does not exist, or the service account may not see it", c.settings.Base)
	}
	if err != nil {
		return err
	}
	filter, err := c.userFilter(ctx, c.search, "ping", []string{c.settings.NameAttribute}) // who this is does not matter
	if err == nil {
		_, err = c.search(ctx, request(c.settings.Base, ldap.ScopeWholeSubtree, filter, maxMatches, "1.1"))
	}
	return err
}
