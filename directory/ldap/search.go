package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	pageSize   = 500     // AD gives no more than 1000 at once
	maxEntries = 200_000 // of one search, over all pages
	maxPages   = 10_000  // of one search: a page may be empty
	maxParts   = 200     // of a search that the server limits
	maxRanges  = 100     // further pieces of one attribute; AD gives 1500 values a piece
)

// A searchFunc runs one search. It is the pool's, or that of one connection
// bound as a user. With a paging control (RFC 2696) it returns all pages.
type searchFunc func(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error)

// search asks over the pool.
func (c *Client) search(ctx context.Context, req *ldap.SearchRequest) (res *ldap.SearchResult, err error) {
	err = c.overPool(ctx, func(cn *conn) error {
		res, err = c.searchOn(cn)(ctx, req)
		return err
	})
	return res, err
}

// overPool makes a request that changes nothing. If the connection is spent, the request
// is sent again over a new one, because all idle connections may have the same problem. If the
// new connection breaks too, its server is going down, and another server is asked.
func (c *Client) overPool(ctx context.Context, request func(*conn) error) error {
	for try := 1; ; try++ {
		cn, err := c.pool.take(ctx, try > 1)
		taken := err == nil
		if taken {
			err = request(cn)
			c.pool.put(cn, err)
		}
		broke := taken && !answered(err) && !errors.Is(err, errNoAnswer)
		if !spent(err) || try == 2 && !broke || try == 3 || ctx.Err() != nil {
			return err
		}
	}
}

// searchOn searches over one connection. All pages must use it, because the
// cookie of a page is valid on its connection only.
func (c *Client) searchOn(cn *conn) searchFunc {
	return func(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		if slices.Contains(req.Attributes, descriptorAttribute) && ldap.FindControl(req.Controls, ldap.ControlTypeMicrosoftSDFlags) == nil {
			req.Controls = append(req.Controls, &ldap.ControlMicrosoftSDFlags{ControlValue: 4}) // the DACL: to read all takes more rights
		}
		start := time.Now()
		res, err := pages(req, func() (res *ldap.SearchResult, err error) {
			c.searches.Add(1)
			err = c.run(ctx, cn, func() (err error) {
				res, err = cn.Search(req)
				if errors.Is(err, ldap.ErrSizeLimitExceeded) { // go-ldap counts it as an error of the network
					err = ldap.NewError(ldap.LDAPResultSizeLimitExceeded, errors.New("the server sends more entries than it was asked for"))
				}
				return err
			})
			return res, err
		})
		// With bind_as people search, who may not see the base.
		if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject) && req.BaseDN == c.settings.Base && c.settings.BindAs == "" {
			err = &noBaseError{req.BaseDN}
			c.pool.fail(cn.server, err, time.Since(start))
		}
		if err != nil {
			err = fmt.Errorf("%s: search below %q: %w", cn.server.url, req.BaseDN, err)
		}
		return res, err
	}
}

// A noBaseError is the answer of a server that lacks the base, such as a replica without its
// data. Everybody would be unknown there, so it is taken for down.
type noBaseError struct{ base string }

func (e *noBaseError) Error() string {
	return fmt.Sprintf("base %q does not exist, or the service account may not see it", e.base)
}

// pages runs ask once, or once for each page if req has a paging control. Beside
// an error it returns the entries that came before the error.
func pages(req *ldap.SearchRequest, ask func() (*ldap.SearchResult, error)) (*ldap.SearchResult, error) {
	paging, paged := ldap.FindControl(req.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
	if !paged {
		return ask()
	}
	paging.SetCookie(nil)
	sum := &ldap.SearchResult{}
	for range maxPages {
		res, err := ask()
		if res != nil {
			sum.Entries = append(sum.Entries, res.Entries...)
		}
		if err != nil {
			return sum, err
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		switch {
		case len(sum.Entries) > maxEntries:
			return sum, errTooMany
		case !ok || len(next.Cookie) == 0:
			return sum, nil
		}
		paging.SetCookie(next.Cookie)
	}
	return sum, errTooMany
}

// run makes one request over cn. If the server failed, it is marked as down.
func (c *Client) run(ctx context.Context, cn *conn, request func() error) error {
	start := time.Now()
	err := cn.do(ctx, c.settings.RequestTimeout, request)
	if err != nil {
		c.blame(ctx, cn, err, time.Since(start))
	}
	return err
}

// runOnce is run for a bind or a change. An answer such as "busy" may be about that alone, so
// it does not mark the server.
func (c *Client) runOnce(ctx context.Context, cn *conn, request func() error) error {
	start := time.Now()
	err := cn.do(ctx, c.settings.RequestTimeout, request)
	if err != nil && !answered(err) {
		c.blame(ctx, cn, err, time.Since(start))
	}
	return err
}

// anyOf matches the entries that have one of the values in one of the attributes, as
// a list of alternatives.
func anyOf(attributes []string, values ...string) string {
	var b strings.Builder
	for _, a := range attributes {
		for _, v := range values {
			if a != none {
				fmt.Fprintf(&b, "(%s=%s)", a, ldap.EscapeFilter(v))
			}
		}
	}
	return b.String()
}

// anyLike matches the entries that have a value like pattern, such as "a*", in one of the
// attributes, as a list of alternatives.
func anyLike(attributes []string, pattern string) string {
	filter := ""
	for _, a := range attributes {
		filter += "(" + a + "=" + pattern + ")"
	}
	return filter
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

const anyEntry = "(objectClass=*)"

var errTooMany = fmt.Errorf("more than %d entries", maxEntries)

// all returns every entry below base that matches filter. Beside an error it
// returns the entries that came before the error. Referrals are ignored.
//
// A server may limit the entries of one search over all pages, as OpenLDAP does
// by default. The search is then split in two at the middle of the entryUUIDs that
// came, again and again until each part is small enough.
func all(ctx context.Context, search searchFunc, base, filter string, attributes ...string) ([]entry, error) {
	type part struct{ from, before string }
	var entries []entry
	todo := []part{{}}
	for tries := 0; len(todo) > 0; tries++ {
		p, filter := todo[0], filter
		todo = todo[1:]
		if p.from != "" {
			filter = "(&" + filter + "(entryUUID>=" + ldap.EscapeFilter(p.from) + "))"
		}
		if p.before != "" {
			filter = "(&" + filter + "(!(entryUUID>=" + ldap.EscapeFilter(p.before) + ")))"
		}
		req := request(base, ldap.ScopeWholeSubtree, filter, 0, append(attributes, "entryUUID")...)
		req.EnforceSizeLimit = false
		req.Controls = []ldap.Control{ldap.NewControlPaging(pageSize)}
		res, err := search(ctx, req)
		if res == nil {
			return entries, err
		}
		var ids []string
		for _, e := range res.Entries {
			ids = append(ids, e.GetAttributeValue("entryUUID"))
		}
		slices.Sort(ids)
		limited := ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded) && tries < maxParts
		if limited && len(ids) > 0 && ids[0] != "" && ids[0] != ids[len(ids)/2] {
			middle := ids[len(ids)/2]
			todo = append(todo, part{p.from, middle}, part{middle, p.before})
			continue
		}
		for _, e := range res.Entries {
			entries = append(entries, newEntry(e))
		}
		if err == nil && len(entries) > maxEntries {
			err = errTooMany
		}
		if err != nil {
			return entries, err
		}
	}
	return entries, nil
}

// upTo returns at most limit entries below base that match filter, and whether there
// are more.
func upTo(ctx context.Context, search searchFunc, base, filter string, limit int, attributes ...string) (entries []entry, more bool, err error) {
	res, err := search(ctx, request(base, ldap.ScopeWholeSubtree, filter, limit, attributes...))
	if more = ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded); more {
		err = nil
	}
	if err != nil || res == nil {
		return nil, more, err
	}
	for _, e := range res.Entries {
		entries = append(entries, newEntry(e))
	}
	return entries, more, nil
}

// read returns the entry dn itself; found is false if it is not there.
func read(ctx context.Context, search searchFunc, dn string, attributes ...string) (e entry, found bool, err error) {
	res, err := search(ctx, request(dn, ldap.ScopeBaseObject, anyEntry, 1, attributes...))
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject) {
		return entry{}, false, nil
	}
	if err != nil || len(res.Entries) == 0 {
		return entry{}, false, err
	}
	e = newEntry(res.Entries[0])
	return e, true, e.readRanges(ctx, search)
}

// An entry is one entry as a server sent it. Attribute names are in lower case
// and without options, because servers spell them differently.
type entry struct {
	dn     string
	attrs  map[string][]string
	ranges map[string]int // attributes of which not all values came, and how many came
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
		if span, ok := strings.CutPrefix(option, "range="); ok { // "member;range=0-1499"; "1500-*" is the last
			_, to, _ := strings.Cut(span, "-")
			last, err := strconv.Atoi(to)
			if e.ranges[name] = last + 1; err != nil || last < 0 || last > maxMessage {
				delete(e.ranges, name)
			}
		}
	}
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
		res, err := search(ctx, request(e.dn, ldap.ScopeBaseObject, anyEntry, 1, ask...))
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
