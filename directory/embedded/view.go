package embedded

import (
	"slices"
	"strings"
)

// A view is an entry as one client may see it: what it may not read, it cannot
// search by either.
type view struct {
	*entry
	by identity
}

// readable reports whether the client may read an attribute of that type.
func (v view) readable(t attributeType) bool {
	switch t.readers {
	case everyone:
		return v.by.kind != anonymous || v.name.IsZero() // the root DSE is for all
	case serviceOnly:
		return v.by.kind == serviceAccount
	case owner:
		return v.by.kind == serviceAccount || v.by.kind == user && v.by.entry.name.Equal(v.name)
	}
	return false
}

// superclass is what a class is a kind of: a search for persons finds
// inetOrgPersons though their entries do not say so (RFC 4512, section 2.4).
var superclass = map[string]string{
	"inetorgperson":        "organizationalPerson",
	"organizationalperson": "person",
	"residentialperson":    "person",
	"person":               "top",
}

// classes returns the object classes of the entry and all they are kinds of.
func (v view) classes() []string {
	all := v.values("objectClass")
	for i := 0; i < len(all); i++ {
		if above, ok := superclass[strings.ToLower(all[i])]; ok {
			all = append(all, above)
		}
	}
	return append(all, "top")
}

// asserted returns the values that a filter compares with.
func (v view) asserted(name string) []string {
	if strings.EqualFold(name, "objectClass") {
		return v.classes()
	}
	return v.values(name)
}

// A selection is the attributes that a search asks for (RFC 4511, section
// 4.5.1.8, and RFC 3673).
type selection struct {
	user, operational bool
	names             []string
}

func selected(names []string) selection {
	s := selection{user: len(names) == 0}
	for _, n := range names {
		switch n {
		case "*":
			s.user = true
		case "+":
			s.operational = true
		case "1.1":
		default:
			s.names = append(s.names, n)
		}
	}
	return s
}

// includes reports whether an attribute is asked for.
func (s selection) includes(name string) bool {
	if typeOf(name).operational && s.operational || !typeOf(name).operational && s.user {
		return true
	}
	return slices.ContainsFunc(s.names, func(n string) bool { return strings.EqualFold(n, name) })
}
