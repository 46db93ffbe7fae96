package embedded

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
)

// A query is a search request (RFC 4511, section 4.5.1), paged or not.
type query struct {
	id        int64 // of the request
	base      directory.DN
	scope     int64
	limit     int // of entries; 0: none
	typesOnly bool
	matches   filter
	wanted    selection

	paged   bool
	page    int // how many entries a page holds
	start   int // index in the tree's entries where the page begins
	reading int // of the tree
}

// The scopes of a search.
const (
	scopeBase = iota
	scopeOne
	scopeSub
	scopeChildren // draft-sermersheim-ldap-subordinate-scope, as in OpenLDAP
)

// inScope reports whether the entry is in the scope of the search.
func (q *query) inScope(e *entry) bool {
	switch q.scope {
	case scopeBase:
		return e.name.Equal(q.base)
	case scopeOne:
		return !e.name.IsZero() && e.name.Parent().Equal(q.base)
	case scopeChildren:
		return !e.name.Equal(q.base) && e.name.Within(q.base)
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
		return mustChangeFirst()
	}
	t := c.store.tree()
	if !t.reaches(q.base) {
		return answer(noSuchObject, "no entry at or below the search base")
	}
	if r := q.readPaging(m, t); r.code != success {
		return r
	}
	return c.sendMatches(q, t.entries, by)
}

// mustChangeFirst refuses all else to a user whose password an administrator
// set.
func mustChangeFirst() result {
	return answer(insufficientAccessRights, "Operations are restricted to bind/unbind/abandon/StartTLS/modify password").because(changeAfterReset)
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
	q.typesOnly = f.boolean()
	matches, err := parseFilter(f.any())
	names := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	var attributes []string
	for names.more() {
		attributes = append(attributes, names.text())
	}
	if errors.Join(f.err, err, names.err) != nil || q.scope < 0 || q.scope > scopeChildren || q.limit < 0 {
		return nil, answer(protocolError, "bad search request")
	}
	if q.base, err = directory.ParseDN(base); err != nil {
		return nil, answer(invalidDNSyntax, "the search base is not a DN")
	}
	q.matches, q.wanted = matches, selected(attributes)
	return q, done(success)
}

// sendMatches sends the entries that match, of a paged search one page.
func (c *conn) sendMatches(q *query, entries []*entry, by identity) result {
	sent, next := 0, ""
	for i := q.start; i < len(entries); i++ {
		v := view{entries[i], by}
		if !q.inScope(v.entry) || q.matches(v) != yes {
			continue
		}
		if q.paged && sent == q.page {
			next = cookie(q.reading, i)
			break
		}
		if q.limit > 0 && sent == q.limit {
			return done(sizeLimitExceeded)
		}
		sent++
		if c.sendEntry(q, v) != nil {
			break // so will the answer
		}
	}
	r := done(success)
	if q.paged {
		value := sequence(number(ber.TagInteger, 0), octets(next))
		r.controls = append(r.controls, newControl(oidPaging, value))
	}
	return r
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
		for _, f := range slices.DeleteFunc(slices.Clone(fields[i:]), func(g field) bool { return !f.sameName(g) }) {
			if !q.typesOnly {
				values.AppendChild(octets(f.value))
			}
		}
		list.AppendChild(sequence(octets(f.name), values))
	}
	op := constructed(ber.ClassApplication, tagSearchEntry, octets(v.name.String()), list)
	return c.send(sequence(number(ber.TagInteger, q.id), op))
}

// sameName reports whether two values are of one attribute.
func (f field) sameName(g field) bool { return strings.EqualFold(f.name, g.name) }

// readPaging reads the control of paged results (RFC 2696). The cookie says
// where the next page begins, so the server remembers nothing.
func (q *query) readPaging(m *message, t *tree) result {
	ctl, asked := m.control(oidPaging)
	if !asked {
		return done(success)
	}
	p, err := decodeBER([]byte(ctl.value))
	f := partsOf(p)
	page, from := f.integer(ber.TagInteger), f.text()
	if err != nil || f.err != nil || page < 0 {
		return answer(protocolError, "bad control of paged results")
	}
	q.paged, q.page, q.reading = true, int(page), t.reading
	switch {
	case page == 0: // the client has had enough
		q.start = len(t.entries)
	case from != "":
		reading, start, ok := parseCookie(from)
		if !ok || reading != t.reading || start > len(t.entries) {
			return answer(unwillingToPerform, "the directory was read again meanwhile: begin the search anew")
		}
		q.start = start
	}
	return done(success)
}

func cookie(reading, start int) string { return strconv.Itoa(reading) + " " + strconv.Itoa(start) }

func parseCookie(s string) (reading, start int, ok bool) {
	left, right, _ := strings.Cut(s, " ")
	reading, err1 := strconv.Atoi(left)
	start, err2 := strconv.Atoi(right)
	return reading, start, errors.Join(err1, err2) == nil && start >= 0
}

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
