package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Found is what a server says about itself to anybody.
type Found struct {
	Kind  string   // empty: none that is known here
	Bases []string // where people may be; one, if the server names its default
	URLs  []string // of the servers
}

// Discover asks the servers of s, one after the other, what they are, without the
// service account. It needs URLs or a domain, and what TLS needs.
func Discover(ctx context.Context, s Settings) (Found, error) {
	s.Base, s.BindDN, s.Bind, s.BindAs = "dc=unknown", "", Bind{}, ""
	c, err := Open(s, nil)
	if err != nil {
		return Found{}, err
	}
	defer c.Close()
	servers, err := c.pool.listed(ctx)
	if err != nil {
		return Found{}, err
	}
	var found Found
	for _, srv := range servers {
		found.URLs = append(found.URLs, srv.url)
	}
	var errs []error
	for _, srv := range servers {
		cn, err := c.pool.connectTo(ctx, srv, c.settings.ConnectTimeout, asNobody())
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w%s", srv.url, err, advice(srv, err)))
			continue
		}
		defer cn.close()
		root, _, err := read(ctx, c.searchOn(cn), "", append(rootAttributes, "defaultNamingContext", "namingContexts")...)
		if err != nil && !answered(err) {
			errs = append(errs, fmt.Errorf("%s: %w", srv.url, err))
			continue
		}
		b, _ := brandOf(root)
		found.Kind, found.Bases = b.kind, basesOf(root, b.kind) // none: the server shows it to nobody
		return found, nil
	}
	return Found{}, errors.Join(errs...)
}

// basesOf returns the naming contexts that may hold people.
func basesOf(root entry, kind string) []string {
	bases := slices.DeleteFunc(root.all("namingContexts"), func(dn string) bool {
		dn = strings.ToLower(dn)
		return strings.HasPrefix(dn, "cn=") || dn == "o=netscaperoot" || dn == "o=ipaca"
	})
	if root.has("defaultNamingContext") {
		bases = root.all("defaultNamingContext")
	}
	if kind == "freeipa" && len(bases) == 1 {
		return []string{"cn=users,cn=accounts," + bases[0]}
	}
	return bases
}

// A FoundGroup is a group, and how many members its entry lists.
type FoundGroup struct {
	DN      string
	Members int
}

// FindGroups returns up to limit groups with a DN, SID or plain name, as rules name
// them.
func (c *Client) FindGroups(ctx context.Context, name string, limit int) ([]FoundGroup, error) {
	dns, err := c.groupsCalled(ctx, c.search, name, limit)
	var found []FoundGroup
	for _, dn := range dns {
		attributes := c.settings.memberAttributes()
		e, _, err := read(ctx, c.search, dn, attributes...)
		if err != nil {
			return nil, err
		}
		g := FoundGroup{DN: dn}
		for _, a := range attributes {
			g.Members += len(e.all(a))
		}
		found = append(found, g)
	}
	return found, err
}
