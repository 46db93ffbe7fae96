package embedded

import (
	"slices"
	"strings"
	"sync"

	"berth/directory"
)

// An entry is one object of the directory. It is not changed once a tree holds
// it: a change is made to a copy, which takes its place.
type entry struct {
	name     directory.DN
	comments []string
	fields   []field // as in the file, in its order
	computed []field // memberOf and the like: not in the file
	virtual  bool    // the whole entry is not in the file

	// guard is held from before a password is verified until the failure or the
	// change is recorded, so that guesses made at the same time are all counted.
	guard *sync.Mutex
}

// any reports whether a value of an attribute, by any spelling of its name, passes the
// test. It allocates nothing: a search asks this of every entry.
func (e *entry) any(name string, test func(value string) bool) bool {
	for _, fields := range [2][]field{e.fields, e.computed} {
		for i := range fields {
			f := &fields[i]
			if len(f.name) == len(name) && strings.EqualFold(f.name, name) && test(f.value) {
				return true
			}
		}
	}
	return false
}

// values returns the values of an attribute, by any spelling of its name.
func (e *entry) values(name string) (all []string) {
	e.any(name, func(v string) bool { all = append(all, v); return false })
	return all
}

// first returns the first value of an attribute, or "".
func (e *entry) first(name string) string {
	if v := e.values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (e *entry) has(name string) bool { return len(e.values(name)) > 0 }

// set replaces the values of an attribute in a copy. No values remove it.
func (e *entry) set(name string, values ...string) {
	i := slices.IndexFunc(e.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
	if i < 0 {
		i = len(e.fields)
	} else {
		name = e.fields[i].name // as the administrator spells it
	}
	e.fields = slices.DeleteFunc(e.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
	fresh := make([]field, len(values))
	for j, v := range values {
		fresh[j] = field{name: name, value: v}
	}
	e.fields = slices.Insert(e.fields, i, fresh...)
}

// A view is an entry as one client may see it. A client cannot search by an
// attribute that it may not read.
type view struct {
	*entry
	by identity
}

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

// superclass has the parent of each class: a search for persons finds
// inetOrgPersons though their entries do not say so (RFC 4512, section 2.4).
var superclass = map[string]string{
	"inetorgperson":        "organizationalPerson",
	"organizationalperson": "person",
	"residentialperson":    "person",
	"person":               "top",
}

// asserts reports whether a value passes the test of a filter. The values of objectClass
// include all classes that they are kinds of.
func (v view) asserts(name string, test func(value string) bool) bool {
	if !strings.EqualFold(name, "objectClass") {
		return v.any(name, test)
	}
	return test("top") || v.any(name, func(class string) bool {
		for ; class != ""; class = superclass[strings.ToLower(class)] {
			if test(class) {
				return true
			}
		}
		return false
	})
}
