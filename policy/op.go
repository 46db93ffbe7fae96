package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Op is a set of operations on files.
type Op uint16

// The operations a rule can permit.
const (
	List      Op = 1 << iota // see the names in a directory, and the attributes of what exists
	Read                     // read a file, a link
	Create                   // make a new file
	Overwrite                // write to a file that exists
	Mkdir
	Rename
	Delete // a file or a link
	Rmdir
	SetAttr // mode and times; the size needs Overwrite
	Symlink // and hard links
)

// Names for sets of operations.
const (
	Write    = Create | Overwrite
	ReadOnly = List | Read
	DropBox  = Create
	Full     = List | Read | Write | Mkdir | Rename | Delete | Rmdir | SetAttr | Symlink
)

type permission struct {
	name string
	op   Op
}

// permissions are the words that a rule may use. The single operations come
// first, in the order of their bits. The names of sets follow, the largest
// set first.
var permissions = []permission{
	{"list", List},
	{"read", Read},
	{"create", Create},
	{"overwrite", Overwrite},
	{"mkdir", Mkdir},
	{"rename", Rename},
	{"delete", Delete},
	{"rmdir", Rmdir},
	{"setattr", SetAttr},
	{"symlink", Symlink},
	{"full", Full},
	{"read_only", ReadOnly},
	{"write", Write},
	{"drop_box", DropBox},
}

// singles is how many of permissions are single operations.
const singles = 10

// ParseOps reads a list of permissions such as [list, read] or [read_only]. An
// empty list permits nothing.
func ParseOps(names []string) (Op, error) {
	var ops Op
	for _, name := range names {
		i := slices.IndexFunc(permissions, func(p permission) bool { return p.name == name })
		if i < 0 {
			return 0, fmt.Errorf("%q is not a permission: use some of %s", name, permissionNames())
		}
		ops |= permissions[i].op
	}
	return ops, nil
}

func permissionNames() string {
	names := make([]string, len(permissions))
	for i, p := range permissions {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// Names returns the single operations of o in the words of a rule.
func (o Op) Names() []string {
	names := []string{}
	for _, p := range permissions[:singles] {
		if o&p.op != 0 {
			names = append(names, p.name)
		}
	}
	return names
}

// String returns the operations of o in the words of a rule: "list, read". No
// operation is "nothing", all of them are "full".
func (o Op) String() string {
	switch {
	case o&Full == 0:
		return "nothing"
	case o&Full == Full:
		return "full"
	}
	return strings.Join(o.Names(), ", ")
}
