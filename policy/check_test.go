package policy

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	p := &Policy{Access: []Access{
		{Path: "/", Ops: Full},
		{Path: "/in", Ops: Create | Mkdir, Names: Names{Deny: []string{"*.exe"}}},
		{Path: "/in/old", Ops: ReadOnly},
		{Path: "/csv", Ops: Full, Names: Names{Allow: []string{"*.csv"}}},
		{Path: "/none"},
	}}
	tests := []struct {
		op   Op
		name string
		want bool
	}{
		{List, "/", true},
		{List, "/in", false}, // the longer path decides alone
		{Create, "/in/a", true},
		{Create | Overwrite, "/in/a", false}, // all of them are needed
		{Overwrite, "/inner/a", true},        // not below /in
		{Create, "/in/old/a", false},
		{Read, "/in/old/a", true},
		{Read, "/none", false},
		{0, "/", false},
		{Create, "/in/a.EXE", false},
		{Create, "/in/a.exe.txt", true},
		{Create, "/in/a.exe/b", false}, // a denied directory on the way
		{Read, "/csv/a.csv", true},
		{Read, "/csv/a.txt", false},
		{List, "/csv/sub", true},
		{Mkdir, "/csv/sub", true},
		{Read, "/csv/sub/a.csv", true},
		{Create, "/csv/sub/a.txt", false},
	}
	for _, tt := range tests {
		err := p.Check(tt.op, tt.name)
		if (err == nil) != tt.want {
			t.Errorf("Check(%s, %q) = %v, want allowed: %t", tt.op, tt.name, err, tt.want)
		}
		var pe *iofs.PathError
		if err != nil && (!errors.As(err, &pe) || pe.Path != tt.name || !errors.Is(err, iofs.ErrPermission)) {
			t.Errorf("Check(%s, %q) = %#v, want an *io/fs.PathError of that path that wraps ErrPermission", tt.op, tt.name, err)
		}
	}
}

func TestCheckWithoutAccess(t *testing.T) {
	p := new(Policy)
	if err := p.Check(List, "/"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("Check of an empty policy = %v, want ErrPermission", err)
	}
}

func TestHides(t *testing.T) {
	deny := Names{Deny: []string{".*"}}
	tests := []struct {
		access Access
		name   string
		want   bool
	}{
		{Access{Path: "/", Names: deny, Hide: true}, "/.git", true},
		{Access{Path: "/", Names: deny, Hide: true}, "/.git/config", true},
		{Access{Path: "/", Names: deny, Hide: true}, "/git", false},
		{Access{Path: "/", Names: deny, Hide: true}, "/", false},
		{Access{Path: "/", Names: deny}, "/.git", false},
		{Access{Path: "/.x", Names: deny, Hide: true}, "/.x", false}, // the entry's own path is not filtered
		{Access{Path: "/", Names: Names{Allow: []string{"*.csv"}}, Hide: true}, "/a.txt", true},
		{Access{Path: "/", Names: Names{Allow: []string{"*.csv"}}, Hide: true}, "/a.CSV", false},
		{Access{}, "/a", false},
	}
	for _, tt := range tests {
		if got := tt.access.Hides(tt.name); got != tt.want {
			t.Errorf("%+v.Hides(%q) = %t, want %t", tt.access, tt.name, got, tt.want)
		}
	}
}

func TestAllows(t *testing.T) {
	p := &Policy{Services: []string{"sftp", "passwd"}}
	for service, want := range map[string]bool{
		"sftp": true, "passwd": true, "change-password": true, "scp": false, "": false, "shell": false,
	} {
		if got := p.Allows(service); got != want {
			t.Errorf("Allows(%q) = %t, want %t", service, got, want)
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	p := &Policy{Access: []Access{
		{Path: "/", Ops: Full, Names: Names{Allow: []string{"*.txt"}, Deny: []string{"~$*", "*.[Ee]xe"}}},
	}}
	allocs := testing.AllocsPerRun(100, func() {
		if err := p.Check(Read, "/A/Long/Path/With/CAPITALS.txt"); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("a permitted Check makes %v allocations, want 0", allocs)
	}
}

// TestRightsAgree holds the quick way to find the entry that decides to the
// plain one, on paths that sort in odd places: a minus sign comes before a
// slash, and letters after it.
func TestRightsAgree(t *testing.T) {
	parts := []string{"", "a", "a-b", "a.c", "ab", "b", "a b", "\xff", "!"}
	rnd := rand.New(rand.NewPCG(1, 2))
	path := func() string {
		var b strings.Builder
		for range 1 + rnd.IntN(4) {
			if part := parts[rnd.IntN(len(parts))]; part != "" {
				b.WriteString("/" + part)
			}
		}
		return cmp.Or(b.String(), "/")
	}
	for range 500 {
		p := new(Policy)
		for range rnd.IntN(20) {
			if name := path(); !slices.ContainsFunc(p.Access, func(a Access) bool { return a.Path == name }) {
				p.Access = append(p.Access, Access{Path: name})
			}
		}
		slices.SortFunc(p.Access, func(a, b Access) int { return strings.Compare(a.Path, b.Path) })
		p.index()
		for range 50 {
			if name := path(); p.decider(name) != p.search(name) {
				t.Fatalf("%q is decided by entry %d of %+v, want %d", name, p.decider(name), p.Access, p.search(name))
			}
		}
	}
}
