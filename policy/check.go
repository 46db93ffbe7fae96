package policy

import (
	iofs "io/fs"
	"slices"
	"strings"
)

// Check reports whether p permits op on name, an absolute, clean path of the
// view. A refusal is an *io/fs.PathError that wraps io/fs.ErrPermission. Of an
// op that is several operations all must be permitted. A permitted one costs no
// allocation.
func (p *Policy) Check(op Op, name string) error {
	a := p.Rights(name)
	if op != 0 && a.Ops&op == op && a.names(op, name) {
		return nil
	}
	return &iofs.PathError{Op: op.String(), Path: name, Err: iofs.ErrPermission}
}

// Rights returns the one entry that decides about name: the longest path that
// is name itself or leads to it. It is the zero Access, which permits nothing,
// when there is none.
func (p *Policy) Rights(name string) Access {
	best, length := -1, 0
	for i := range p.Access {
		if path := p.Access[i].Path; len(path) > length && below(path, name) {
			best, length = i, len(path)
		}
	}
	if best < 0 {
		return Access{}
	}
	return p.Access[best]
}

// below reports whether name is dir itself or lies under it.
func below(dir, name string) bool {
	if !strings.HasPrefix(name, dir) {
		return false
	}
	return len(name) == len(dir) || dir == "/" || name[len(dir)] == '/'
}

// Allows reports whether service may be used.
func (p *Policy) Allows(service string) bool {
	return slices.Contains(p.Services, canonicalService(service))
}

// Hides reports whether name, which a decides about, is to be treated as if it
// were not there.
func (a Access) Hides(name string) bool {
	return a.Hide && !a.names(Full, name)
}

// forDirectories are the operations that Names.Allow does not restrict: a list
// of allowed file names would else make all directories unusable.
const forDirectories = List | Mkdir | Rmdir | SetAttr

// names reports whether the names under a.Path permit op on name. The name of
// a.Path itself is the administrator's choice and not looked at.
func (a Access) names(op Op, name string) bool {
	if len(a.Names.Allow) == 0 && len(a.Names.Deny) == 0 {
		return true
	}
	rest := strings.Trim(name[len(a.Path):], "/")
	if rest == "" {
		return true
	}
	base := rest[strings.LastIndexByte(rest, '/')+1:]
	if len(a.Names.Allow) > 0 && op&^forDirectories != 0 && !matchAny(a.Names.Allow, base) {
		return false
	}
	for found := len(a.Names.Deny) > 0; found; {
		var part string
		part, rest, found = strings.Cut(rest, "/")
		if matchAny(a.Names.Deny, part) {
			return false
		}
	}
	return true
}

func matchAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if match(pattern, name) {
			return true
		}
	}
	return false
}
