package embedded

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// truth is the value of a filter (RFC 4511, section 4.5.1.7): true, false, or
// undefined. The opposite of undefined is undefined.
type truth int

const (
	undefined truth = iota
	no
	yes
)

// A filter decides about an entry as the client may see it.
type filter func(view) truth

func parseFilter(p *ber.Packet) (filter, error) {
	if p == nil || p.ClassType != ber.ClassContext {
		return nil, fmt.Errorf("%w: no filter", errProtocol)
	}
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr:
		return parseSet(p)
	case ldap.FilterNot:
		inner, err := parseFilter(partsOf(p).any())
		opposite := map[truth]truth{yes: no, no: yes}
		return func(v view) truth { return opposite[inner(v)] }, err
	case ldap.FilterSubstrings:
		return parseSubstrings(p)
	case ldap.FilterPresent:
		return anyValue(content(p), func(string) bool { return true }), nil
	case ldap.FilterExtensibleMatch: // a matching rule is named, and none is known
		return func(view) truth { return undefined }, nil
	}
	test, ok := assertions[p.Tag]
	if !ok {
		return nil, fmt.Errorf("%w: filter of kind %d", errProtocol, p.Tag)
	}
	f := partsOf(p)
	name, value := f.text(), f.text()
	compare := typeOf(name).compare
	want, err := compare.form(value)
	if err != nil {
		return func(view) truth { return undefined }, f.err
	}
	return anyValue(name, func(value string) bool {
		have, err := compare.form(value)
		return err == nil && test(have, want)
	}), f.err
}

// parseSet reads an and, or an or. Without members they are true and
// false (RFC 4526).
func parseSet(p *ber.Packet) (filter, error) {
	members := make([]filter, len(p.Children))
	for i, child := range p.Children {
		m, err := parseFilter(child)
		if err != nil {
			return nil, err
		}
		members[i] = m
	}
	decisive, otherwise := no, yes
	if p.Tag == ldap.FilterOr {
		decisive, otherwise = yes, no
	}
	return func(v view) truth {
		result := otherwise
		for _, m := range members {
			switch m(v) {
			case decisive:
				return decisive
			case undefined:
				result = undefined
			}
		}
		return result
	}, nil
}

// assertions are the filters that compare with one value: the test is given the
// forms of the entry's value and of the filter's.
var assertions = map[ber.Tag]func(have, want string) bool{
	ldap.FilterEqualityMatch:  func(have, want string) bool { return have == want },
	ldap.FilterGreaterOrEqual: func(have, want string) bool { return have >= want },
	ldap.FilterLessOrEqual:    func(have, want string) bool { return have <= want },
	ldap.FilterApproxMatch:    func(have, want string) bool { return have == want }, // the server has no other approximation
}

// anyValue is a filter that holds if one value of an attribute passes the test.
// Nothing is known of an attribute that the client may not read.
func anyValue(name string, test func(value string) bool) filter {
	kind := typeOf(name)
	return func(v view) truth {
		switch {
		case !v.readable(kind):
			return undefined
		case v.asserts(name, test):
			return yes
		}
		return no
	}
}

// parseSubstrings reads a filter such as (cn=a*b*c): initial, any and final
// parts.
func parseSubstrings(p *ber.Packet) (filter, error) {
	f := partsOf(p)
	name := f.text()
	list := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	form, begins := func(s string) string { return s }, strings.HasPrefix
	if typeOf(name).compare != exact {
		form, begins = strings.ToLower, beginsLower // spaces at the ends of a part matter
	}
	var initial, final string
	var middle []string
	for list.more() {
		switch part := list.any(); part.Tag {
		case ldap.FilterSubstringsInitial:
			initial = form(content(part))
		case ldap.FilterSubstringsAny:
			middle = append(middle, form(content(part)))
		case ldap.FilterSubstringsFinal:
			final = form(content(part))
		}
	}
	if f.err != nil || list.err != nil {
		return nil, fmt.Errorf("%w: bad substring filter", errProtocol)
	}
	return anyValue(name, func(value string) bool {
		return begins(value, initial) && hasParts(form(value), initial, middle, final)
	}), nil
}

// beginsLower reports whether strings.ToLower(s) begins with prefix. It allocates nothing:
// most values that a search compares begin otherwise.
func beginsLower(s, prefix string) bool {
	for _, r := range s {
		if prefix == "" {
			break
		}
		want, size := utf8.DecodeRuneInString(prefix)
		if unicode.ToLower(r) != want {
			return false
		}
		prefix = prefix[size:]
	}
	return prefix == ""
}

// hasParts reports whether the parts are in s in this order.
func hasParts(s, initial string, middle []string, final string) bool {
	s, ok := strings.CutPrefix(s, initial)
	if !ok {
		return false
	}
	for _, m := range middle {
		_, s, ok = strings.Cut(s, m)
		if !ok {
			return false
		}
	}
	return strings.HasSuffix(s, final)
}
