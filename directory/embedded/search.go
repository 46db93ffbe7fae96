package embedded

import (
	"context"
	"errors"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
)

// A query is a search request (RFC 4511, section 4.5.1).
type query struct {
	id      int64 // of the request
	base    directory.DN
	scope   int64
	limit   int // of entries; 0: none
	matches filter
	wanted  selection
}

// The scopes of a search.
const (
	scopeBase = iota
	scopeOne
	scopeSub
)

// inScope reports whether the entry is in the scope of the search.
func (q *query) inScope(e *entry) bool {
	switch q.scope {
	case scopeBase:
		return e.name.Equal(q.base)
	case scopeOne:
		return !e.name.IsZero() && e.name.Parent().Equal(q.base)
	}
	return e.name.Within(q.base)
}

// search is the Search operation.
func (c *conn) search(_ context.Context, m *message) result {
	q, r := parseQuery(m.op)
	if r.code != success {
		return r
	}
	q.id = m.id
	by := c.who()
	if q.base.IsZero() && q.scope == scopeBase {
		return c.sendMatches(q, []*entry{c.rootDSE()}, by)
	}
	switch {
	case by.kind == anonymous:
		return answer(insufficientAccessRights, "bind first: only the root DSE is open to everyone")
	case by.kind == user && by.entry.mustChange():
		// An administrator has set the password: nothing else is possible before a change.
		return answer(insufficientAccessRights, "Operations are restricted to bind/unbind/abandon/StartTLS/modify password").because(changeAfterReset)
	}
	t := c.store.tree()
	if !t.reaches(q.base) {
		return answer(noSuchObject, "no entry at or below the search base")
	}
	return c.sendMatches(q, t.entries, by)
}

// reaches reports whether there is an entry at or below base. The entries that
// are between need not exist.
func (t *tree) reaches(base directory.DN) bool {
	within := func(e *entry) bool { return e.name.Within(base) }
	return t.base.Within(base) || t.find(base.Key()) != nil || slices.ContainsFunc(t.entries, within)
}

// parseQuery reads a search request; a refusal if it is none.
func parseQuery(p *ber.Packet) (*query, result) {
	f := partsOf(p)
	base := f.text()
	q := &query{scope: f.integer(ber.TagEnumerated)}
	f.integer(ber.TagEnumerated) // aliases: there are none
	q.limit = int(f.integer(ber.TagInteger))
	f.integer(ber.TagInteger) // time limit: it takes milliseconds
	f.boolean()               // types only: not done
	matches, err := parseFilter(f.any())
	names := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	var attributes []string
	for names.more() {
		attributes = append(attributes, names.text())
	}
	if errors.Join(f.err, err, names.err) != nil || q.scope < 0 || q.scope > scopeSub || q.limit < 0 {
		return nil, answer(protocolError, "bad search request")
	}
	if q.base, err = directory.ParseDN(base); err != nil {
		return nil, answer(invalidDNSyntax, "the search base is not a DN")
	}
	q.matches, q.wanted = matches, selected(attributes)
	return q, done(success)
}

// sendMatches sends the entries that match.
func (c *conn) sendMatches(q *query, entries []*entry, by identity) result {
	sent := 0
	for _, e := range entries {
		v := view{e, by}
		if !q.inScope(e) || q.matches(v) != yes {
			continue
		}
		if q.limit > 0 && sent == q.limit {
			return done(sizeLimitExceeded)
		}
		sent++
		if c.sendEntry(q, v) != nil {
			break // so will the answer
		}
	}
	return done(success)
}

// sendEntry sends what the client asked for and may read of one entry.
func (c *conn) sendEntry(q *query, v view) error {
	list := sequence()
	fields := v.all()
	for i, f := range fields {
		if !q.wanted.includes(f.name) || !v.readable(typeOf(f.name)) || slices.ContainsFunc(fields[:i], f.sameName) {
			continue
		}
		values := constructed(ber.ClassUniversal, ber.TagSet)
		for _, value := range v.values(f.name) {
			values.AppendChild(octets(value))
		}
		list.AppendChild(sequence(octets(f.name), values))
	}
	op := constructed(ber.ClassApplication, tagSearchEntry, octets(v.name.String()), list)
	return c.send(sequence(number(ber.TagInteger, q.id), op))
}

// sameName reports whether two values are of one attribute.
func (f field) sameName(g field) bool { return strings.EqualFold(f.name, g.name) }

// rootDSE is what a client may ask before it binds (RFC 4512, section 5.1).
func (c *conn) rootDSE() *entry {
	e := &entry{fields: []field{{name: "objectClass", value: "top"}}}
	e.set("namingContexts", c.Base())
	e.set("supportedLDAPVersion", "3")
	e.set("supportedControl", supportedControls...)
	e.set("supportedExtension", oidPasswordModify)
	e.set("vendorName", "Berth")
	return e
}
