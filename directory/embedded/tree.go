package embedded

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"berth/directory"
)

// A tree is all entries at one moment. It is never changed, so a search continues in
// the tree in which it began.
type tree struct {
	base    directory.DN // of which all entries are part
	entries []*entry
	byKey   map[string]int // index in entries

	doc       *document // header and footer of the file
	completed bool      // it has what the file lacks: ids, hashed passwords
}

// find returns the entry with a DN's key, or nil.
func (t *tree) find(key string) *entry {
	if i, ok := t.byKey[key]; ok {
		return t.entries[i]
	}
	return nil
}

// with returns a tree in which e has taken the place of the entry of that name.
func (t *tree) with(e *entry) *tree {
	next := *t
	next.entries = slices.Clone(t.entries)
	next.entries[t.byKey[e.name.Key()]] = e
	return &next
}

// document is the file that holds t.
func (t *tree) document() *document {
	d := &document{header: t.doc.header, footer: t.doc.footer}
	for _, e := range t.entries {
		if !e.virtual {
			d.records = append(d.records, record{comments: e.comments, dn: e.name.String(), fields: e.fields})
		}
	}
	return d
}

// newTree checks the records of a file and makes entries of them. An error is a
// *lineError or about the whole file.
func newTree(d *document, p Policy, log hclog.Logger) (*tree, error) {
	if len(d.records) == 0 {
		return nil, fmt.Errorf("no entries: an entry begins with its dn, such as dn: dc=example,dc=org")
	}
	t := &tree{doc: d, byKey: map[string]int{}}
	lines := map[string]int{} // where each name was seen
	for i, r := range d.records {
		e, err := newEntry(r)
		if err != nil {
			return nil, err
		}
		if line, twice := lines[e.name.Key()]; twice {
			return nil, at(r.line, "%s is already at line %d: keep one of them", r.dn, line)
		}
		lines[e.name.Key()] = r.line
		t.add(e)
		if i == 0 {
			t.base = e.name
		}
		for !e.name.Within(t.base) {
			t.base = t.base.Parent()
		}
		if t.base.IsZero() {
			return nil, at(r.line, "%s has no parent in common with %s: all entries must be below one DN, such as dc=example,dc=org", r.dn, d.records[0].dn)
		}
	}
	if err := t.identify(); err != nil {
		return nil, err
	}
	policy := p.entry(t.base.String())
	if line, taken := lines[policy.name.Key()]; taken {
		return nil, at(line, "%s is where the server shows its password policy: give the entry another name", policy.name.String())
	}
	t.add(policy)
	if t.find(t.base.Key()) == nil { // clients look whether the base is there
		t.add(&entry{name: t.base, fields: []field{{name: "objectClass", value: "top"}}, virtual: true, guard: new(sync.Mutex)})
	}
	for _, e := range t.entries {
		if e.has("userPassword") {
			e.computed = append(e.computed, field{name: "pwdPolicySubentry", value: policy.name.String()})
		}
	}
	t.computeMembers(log)
	return t, nil
}

// identify checks that each entry has an id of its own, and adds missing ids. These
// are made from the DN, so they are the same at the next start even if the file
// cannot be written.
func (t *tree) identify() error {
	lines := map[string]int{}
	for i, e := range t.entries {
		id, line := directory.FoldValue(e.first("entryUUID")), t.doc.records[i].line
		if other, twice := lines[id]; twice && id != "" {
			return at(line, "%s has the entryUUID of the entry at line %d: remove it from the copy, and the server makes another", e.name.String(), other)
		}
		lines[id] = line
	}
	for i, e := range t.entries {
		if e.has("entryUUID") {
			continue
		}
		id := uuid.NewSHA1(uuid.NameSpaceX500, []byte(e.name.Key()))
		for lines[id.String()] != 0 { // the id of an entry that had this name before
			id = uuid.NewSHA1(id, []byte(e.name.Key()))
		}
		lines[id.String()] = t.doc.records[i].line
		e.set("entryUUID", id.String())
		t.completed = true
	}
	return nil
}

func (t *tree) add(e *entry) {
	t.byKey[e.name.Key()] = len(t.entries)
	t.entries = append(t.entries, e)
}

func newEntry(r record) (*entry, error) {
	name, err := directory.ParseDN(r.dn)
	if err != nil {
		return nil, at(r.line, "%q %w", clip(r.dn), err)
	}
	if name.IsZero() {
		return nil, at(r.line, "the dn is empty: want one such as uid=alice,ou=people,dc=example,dc=org")
	}
	e := &entry{name: name, comments: r.comments, guard: new(sync.Mutex)}
	for _, f := range r.fields {
		if strings.EqualFold(f.name, "memberOf") || strings.EqualFold(f.name, "pwdPolicySubentry") {
			continue // computed here; a dump of another server may hold them
		}
		_, err := typeOf(f.name).compare.form(f.value)
		if strings.EqualFold(f.name, "userPassword") {
			err = checkStored(f.value)
		}
		if err != nil {
			return nil, at(f.line, "%s: %w", f.name, err)
		}
		e.fields = append(e.fields, f)
	}
	if !e.has("objectClass") {
		return nil, at(r.line, "%s has no objectClass: add one, such as objectClass: inetOrgPerson", r.dn)
	}
	for _, p := range name.Own() {
		if !slices.ContainsFunc(e.values(p.Name), func(v string) bool { return directory.FoldValue(v) == directory.FoldValue(p.Value) }) {
			return nil, at(r.line, "%s lacks the attribute it is named by: add the line %s: %s", r.dn, p.Name, p.Value)
		}
	}
	if v := e.values("userPassword"); len(v) > 1 {
		return nil, at(r.line, "%s has %d values of userPassword: keep one", r.dn, len(v))
	}
	e.computed = []field{{name: "entryDN", value: e.name.String()}}
	return e, nil
}

// computeMembers gives each member of a group its memberOf, for direct groups
// as the overlay of OpenLDAP does.
func (t *tree) computeMembers(log hclog.Logger) {
	for _, group := range t.entries {
		for _, m := range slices.Concat(group.values("member"), group.values("uniqueMember")) {
			name := directory.DNOf(m)
			if name.IsZero() {
				continue // groupOfNames needs a member; an empty one means none
			}
			member := t.find(name.Key())
			if member == nil {
				log.Warn("group has a member that does not exist", "group", group.name.String(), "member", m)
				continue
			}
			of := field{name: "memberOf", value: group.name.String()}
			if !slices.Contains(member.computed, of) {
				member.computed = append(member.computed, of)
			}
		}
	}
}
