package ldap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	pageSize   = 500    // AD gives no more than 1000 at once
	maxEntries = 20_000 // of one search, over all pages
	maxRanges  = 100    // further pieces of one attribute; AD gives 1500 values a piece
)

// A searchFunc runs one search. It is the pool's, or that of one connection
// bound as a user.
type searchFunc func(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error)

// search asks over the pool. When the connection turns out dead or the server
// unwell it is asked once more, over another connection. Active Directory calls
// it an operations error when a connection has lost its bind.
func (c *Client) search(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	res, err := c.searchOnce(ctx, req)
	again := err != nil && (unwell(err) || ldap.IsErrorAnyOf(err, ldap.LDAPResultOperationsError))
	if again && ctx.Err() == nil {
		res, err = c.searchOnce(ctx, req)
	}
	return res, err
}

func (c *Client) searchOnce(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	cn, err := c.pool.take(ctx)
	if err != nil {
		return nil, err
	}
	res, err := c.searchOn(cn)(ctx, req)
	c.pool.put(cn, err)
	return res, err
}

// searchOn searches over one connection, and says so when its server failed.
func (c *Client) searchOn(cn *conn) searchFunc {
	return func(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		c.searches.Add(1)
		var res *ldap.SearchResult
		start := time.Now()
		err := cn.do(ctx, c.settings.RequestTimeout, func() (err error) {
			res, err = cn.Search(req)
			return err
		})
		if err != nil {
			c.blame(ctx, cn, err, time.Since(start))
			err = fmt.Errorf("%s: search below %q: %w", cn.server.url, req.BaseDN, err)
		}
		return res, err
	}
}

// blame marks the server of cn as down if err, which came after took, shows that
// it is. A pooled connection that was closed meanwhile shows nothing: the next
// one will.
func (c *Client) blame(ctx context.Context, cn *conn, err error, took time.Duration) {
	hangs := errors.Is(err, errNoAnswer) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case !unwell(err), errors.Is(ctx.Err(), context.Canceled):
	case cn.pooled && !hangs && !answered(err):
	default:
		c.pool.fail(cn.server, err, took)
	}
}

// request returns a search for all entries below base that match filter, at
// most limit. Aliases are not followed.
func request(base string, scope int, filter string, limit int, attributes ...string) *ldap.SearchRequest {
	return &ldap.SearchRequest{
		BaseDN:     base,
		Scope:      scope,
		Filter:     filter,
		SizeLimit:  limit,
		Attributes: attributes,
		// A server that sends more than it was asked for must not fill the memory.
		EnforceSizeLimit: true,
	}
}

// errTooMany tells of more entries than anybody can have meant.
var errTooMany = fmt.Errorf("more than %d entries", maxEntries)

// all runs a search over all of its pages (RFC 2696). Referrals to other
// servers are ignored.
func all(ctx context.Context, search searchFunc, base, filter string, attributes ...string) ([]entry, error) {
	var entries []entry
	paging := ldap.NewControlPaging(pageSize)
	for {
		req := request(base, ldap.ScopeWholeSubtree, filter, 0, attributes...)
		req.EnforceSizeLimit = false
		req.Controls = []ldap.Control{paging}
		res, err := search(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, e := range res.Entries {
			entries = append(entries, newEntry(e))
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		switch {
		case len(entries) > maxEntries:
			return nil, errTooMany
		case !ok || len(next.Cookie) == 0 || len(res.Entries) == 0:
			return entries, nil
		}
		paging.SetCookie(next.Cookie)
	}
}

// read returns the entry dn itself; found is false if it is not there.
func read(ctx context.Context, search searchFunc, dn, filter string, attributes ...string) (e entry, found bool, err error) {
	res, err := search(ctx, request(dn, ldap.ScopeBaseObject, filter, 1, attributes...))
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject) {
		return entry{}, false, nil
	}
	if err != nil || len(res.Entries) == 0 {
		return entry{}, false, err
	}
	e = newEntry(res.Entries[0])
	return e, true, e.readRanges(ctx, search)
}

// An entry is what a server told of one DN. Attribute names are in lower case
// and without options, because a server may spell them its own way.
type entry struct {
	dn     string
	attrs  map[string][]string
	ranges map[string]int // attributes that came in part, and how many values came
}

func newEntry(e *ldap.Entry) entry {
	out := entry{dn: e.DN, attrs: make(map[string][]string, len(e.Attributes)), ranges: map[string]int{}}
	for _, a := range e.Attributes {
		out.add(a.Name, a.Values)
	}
	return out
}

func (e entry) add(name string, values []string) {
	name, options, _ := strings.Cut(strings.ToLower(name), ";")
	if secret[name] {
		return
	}
	e.attrs[name] = append(e.attrs[name], values...)
	for option := range strings.SplitSeq(options, ";") {
		if span, ok := strings.CutPrefix(option, "range="); ok {
			e.addRange(name, span)
		}
	}
}

// addRange notes how far "member;range=0-1499" reached; "1500-*" is the last.
func (e entry) addRange(name, span string) {
	_, to, _ := strings.Cut(span, "-")
	last, err := strconv.Atoi(to)
	if err != nil || last < 0 || last > maxMessage {
		delete(e.ranges, name)
		return
	}
	e.ranges[name] = last + 1
}

// readRanges reads the rest of the attributes of which Active Directory gave
// only the first values ([MS-ADTS] 3.1.1.3.1.3.3).
func (e entry) readRanges(ctx context.Context, search searchFunc) error {
	for range maxRanges {
		if len(e.ranges) == 0 {
			return nil
		}
		var ask []string
		for name, from := range e.ranges {
			ask = append(ask, fmt.Sprintf("%s;range=%d-*", name, from))
		}
		clear(e.ranges)
		res, err := search(ctx, request(e.dn, ldap.ScopeBaseObject, "(objectClass=*)", 1, ask...))
		if err != nil {
			return err
		}
		if len(res.Entries) == 0 {
			return fmt.Errorf("%q went away while it was read", e.dn)
		}
		for _, a := range res.Entries[0].Attributes {
			e.add(a.Name, a.Values)
		}
	}
	return fmt.Errorf("%q: an attribute has more than %d pieces", e.dn, maxRanges)
}

// first returns the first value of an attribute, or "".
func (e entry) first(name string) string {
	if values := e.all(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (e entry) all(name string) []string { return e.attrs[strings.ToLower(name)] }

func (e entry) has(name string) bool { return len(e.all(name)) > 0 }
