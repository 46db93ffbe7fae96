package embedded

import (
	"context"
	"errors"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"berth/directory"
)

// A query is a search request (RFC 4511, section 4.5.1).
type query struct {
	id      int64 // of the request
	base    directory.DN
	scope   int64
	limit   int // of entries; 0: none
	matches filter
	wanted  []string // attributes; none: all
}

func (q *query) inScope(e *entry) bool {
	switch q.scope {
	case ldap.ScopeBaseObject:
		return e.name.Equal(q.base)
	case ldap.ScopeSingleLevel:
		return !e.name.IsZero() && e.name.Parent().Equal(q.base)
	}
	return e.name.Within(q.base)
}

func (c *conn) search(_ context.Context, m *message) result {
	q, r := parseQuery(m.op)
	if r.code != ldap.LDAPResultSuccess {
		return r
	}
	q.id = m.id
	by := c.who()
	if q.base.IsZero() && q.scope == ldap.ScopeBaseObject {
		return c.sendMatches(q, []*entry{c.rootDSE()}, by)
	}
	switch {
	case by.kind == anonymous:
		return answer(ldap.LDAPResultInsufficientAccessRights, "bind first: only the root DSE is open to everyone")
	case by.kind == user && by.entry.mustChange():
		// An administrator has set the password: nothing else is possible before a change.
		return answer(ldap.LDAPResultInsufficientAccessRights, "Operations are restricted to bind/unbind/abandon/StartTLS/modify password").because(ldap.BeheraChangeAfterReset)
	}
	t := c.store.tree()
	within := func(e *entry) bool { return e.name.Within(q.base) } // entries between it and the base need not exist
	if !t.base.Within(q.base) && t.find(q.base.Key()) == nil && !slices.ContainsFunc(t.entries, within) {
		return answer(ldap.LDAPResultNoSuchObject, "no entry at or below the search base")
	}
	return c.sendMatches(q, t.entries, by)
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
	for names.more() {
		q.wanted = append(q.wanted, names.text())
	}
	if errors.Join(f.err, err, names.err) != nil || q.scope < 0 || q.scope > ldap.ScopeWholeSubtree || q.limit < 0 {
		return nil, answer(ldap.LDAPResultProtocolError, "bad search request")
	}
	if q.base, err = directory.ParseDN(base); err != nil {
		return nil, answer(ldap.LDAPResultInvalidDNSyntax, "the search base is not a DN")
	}
	q.matches = matches
	return q, done(ldap.LDAPResultSuccess)
}

func (c *conn) sendMatches(q *query, entries []*entry, by identity) result {
	sent := 0
	for _, e := range entries {
		v := view{e, by}
		if !q.inScope(e) || q.matches(v) != yes {
			continue
		}
		if q.limit > 0 && sent == q.limit {
			return done(ldap.LDAPResultSizeLimitExceeded)
		}
		sent++
		if c.sendEntry(q, v) != nil {
			break // so will the answer
		}
	}
	return done(ldap.LDAPResultSuccess)
}

const searchResultEntry = asn1.Tag(ber.ClassApplication) | asn1.Tag(ber.TypeConstructed) | ldap.ApplicationSearchResultEntry

// sendEntry sends those attributes of an entry that the client asked for and may read. A
// search may find a thousand, so each is written into one buffer, not as a tree of
// packets.
func (c *conn) sendEntry(q *query, v view) error {
	var message cryptobyte.Builder
	message.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(q.id)
		b.AddASN1(searchResultEntry, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString([]byte(v.name.String()))
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { q.addAttributes(b, v) })
		})
	})
	return c.send(message.BytesOrPanic())
}

func (q *query) addAttributes(b *cryptobyte.Builder, v view) {
	var added []string
	for _, fields := range [2][]field{v.fields, v.computed} {
		for i := range fields {
			name := fields[i].name
			same := func(other string) bool { return strings.EqualFold(name, other) }
			if !q.wants(name) || !v.readable(typeOf(name)) || slices.ContainsFunc(added, same) {
				continue
			}
			added = append(added, name)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1OctetString([]byte(name))
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
					v.any(name, func(value string) bool { b.AddASN1OctetString([]byte(value)); return false })
				})
			})
		}
	}
}

// wants reports whether the search asks for an attribute. A search for all gets the
// operational ones too.
func (q *query) wants(name string) bool {
	return len(q.wanted) == 0 || slices.ContainsFunc(q.wanted, func(w string) bool { return w == "*" || w == "+" || strings.EqualFold(w, name) })
}

// rootDSE is the entry that a client may read before it binds (RFC 4512,
// section 5.1).
func (c *conn) rootDSE() *entry {
	e := &entry{fields: []field{{name: "objectClass", value: "top"}}}
	e.set("namingContexts", c.Base())
	e.set("supportedLDAPVersion", "3")
	e.set("supportedControl", supportedControls...)
	e.set("supportedExtension", oidPasswordModify)
	e.set("vendorName", "Berth")
	return e
}
