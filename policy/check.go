package policy

import (
	iofs "io/fs"
	"slices"
	"sort"
	"strings"
)

// Check reports whether p permits op on name, an absolute, clean path of the
// view. A refusal is an *io/fs.PathError that wraps io/fs.ErrPermission. If op
// is several operations, all of them must be permitted. A check that permits op
// allocates nothing.
func (p *Policy) Check(op Op, name string) error {
	a := p.Rights(name)
	if op != 0 && a.Ops&op == op && a.names(op, name) {
		return nil
	}
	return &iofs.PathError{Op: op.String(), Path: name, Err: iofs.ErrPermission}
}

// Rights returns the one entry that decides about name: the longest path that
// is name itself or leads to it. If there is none, it returns the zero Access,
// which permits nothing.
func (p *Policy) Rights(name string) Access {
	if i := p.decider(name); i >= 0 {
		return p.Access[i]
	}
	return Access{}
}

// decider is the index of the entry that decides about name, or -1. The entries
// of a Policy that Resolve made are sorted. So the decider is the last entry whose
// path is not greater than name, or one of the entries above that entry.
func (p *Policy) decider(name string) int {
	if len(p.above) != len(p.Access) {
		return p.search(name)
	}
	i := sort.Search(len(p.Access), func(i int) bool { return p.Access[i].Path > name }) - 1
	for i >= 0 && !Below(p.Access[i].Path, name) {
		i = int(p.above[i])
	}
	return i
}

// search is decider for a Policy that Resolve did not make.
func (p *Policy) search(name string) int {
	best, length := -1, 0
	for i := range p.Access {
		if path := p.Access[i].Path; len(path) > length && Below(path, name) {
			best, length = i, len(path)
		}
	}
	return best
}

// index fills in above. Access is sorted by path.
func (p *Policy) index() {
	p.above = make([]int32, len(p.Access))
	for i := range p.Access {
		j := int32(i) - 1
		for j >= 0 && !strings.HasPrefix(p.Access[i].Path, p.Access[j].Path) {
			j = p.above[j]
		}
		p.above[i] = j
	}
}

// Below reports whether name is dir itself or lies under it. Both are absolute and
// clean.
func Below(dir, name string) bool {
	return strings.HasPrefix(name, dir) && (len(name) == len(dir) || dir == "/" || name[len(dir)] == '/')
}

// Allows reports whether service may be used.
func (p *Policy) Allows(service string) bool {
	return slices.Contains(p.Services, canonicalService(service))
}

// Hides reports whether name, which a decides about, must look as if it did not
// exist.
func (a Access) Hides(name string) bool {
	return a.Hide && !a.names(Full, name)
}

// forDirectories are the operations that Names.Allow does not restrict: a list
// of allowed file names would else make all directories unusable.
const forDirectories = List | Mkdir | Rmdir | SetAttr

// names reports whether the names under a.Path permit op on name. The name of
// a.Path itself is the administrator's choice and is not checked.
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
	for len(a.Names.Deny) > 0 {
		end := strings.IndexByte(rest, '/')
		if end < 0 {
			return !matchAny(a.Names.Deny, rest)
		}
		if matchAny(a.Names.Deny, rest[:end]) {
			return false
		}
		rest = rest[end+1:]
	}
	return true
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, name) })
}
