package embedded

import (
	"context"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
)

// compare is the Compare operation (RFC 4511, section 4.10).
func (c *conn) compare(_ context.Context, m *message) result {
	f := partsOf(m.op)
	name := f.text()
	ava := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	attribute, value := ava.text(), ava.text()
	if f.err != nil || ava.err != nil {
		return answer(protocolError, "bad compare request")
	}
	by := c.who()
	switch {
	case by.kind == anonymous:
		return answer(insufficientAccessRights, "bind first")
	case by.kind == user && by.entry.mustChange():
		return mustChangeFirst()
	}
	dn, err := directory.ParseDN(name)
	if err != nil {
		return answer(invalidDNSyntax, "the entry's name is not a DN")
	}
	e := c.store.tree().find(dn.Key())
	if e == nil {
		return done(noSuchObject)
	}
	v := view{e, by}
	if !v.readable(typeOf(attribute)) {
		return answer(insufficientAccessRights, "the attribute cannot be read")
	}
	if len(v.values(attribute)) == 0 {
		return done(noSuchAttribute)
	}
	if assertion(attribute, value, assertions[3])(v) == yes {
		return done(compareTrue)
	}
	return done(compareFalse)
}
