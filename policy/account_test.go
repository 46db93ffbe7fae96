package policy

import (
	"errors"
	"strings"
	"testing"

	"berth/directory"
)

// TestAccounts has folders that belong to accounts of the host.
func TestAccounts(t *testing.T) {
	set := compile(t,
		Rule{Name: "a", Owner: "ftp", Home: &Home{Host: "/srv"}, Folders: []Mount{{Path: "/x", Host: "/x", Owner: "5000:6000"}, {Path: "/s", Host: "/s", Owner: Service}}})
	if _, err := set.Resolve(aliceFrom("10.1.2.3")); err == nil || !strings.Contains(err.Error(), "has owner: ftp: the account has not been looked up") {
		t.Errorf("before accounts are looked up, Resolve = %v", err)
	}
	known := map[string]directory.POSIX{"ftp": {UID: 2000, GID: 2001, Groups: []uint32{2002}}, "5000:6000": {UID: 5000, GID: 6000}}
	find := func(name string) (directory.POSIX, error) {
		if p, found := known[name]; found {
			return p, nil
		}
		return directory.POSIX{}, errors.New("no such account")
	}
	if err := set.FindAccounts(find); err != nil || !set.Acting() {
		t.Fatalf("FindAccounts = %v; Acting = %v", err, set.Acting())
	}
	p, err := set.Resolve(aliceFrom("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	e := set.Explain(aliceFrom("10.1.2.3"))
	for i, want := range []struct {
		path string
		uid  uint32
		is   Owner
	}{{"/", 2000, "ftp"}, {"/s", 0, Service}, {"/x", 5000, "5000:6000"}} {
		f := p.Folders[i]
		if f.Path != want.path || f.Belongs != want.is || e.Folders[i].Owner != want.is || (f.Owner == nil) != (want.uid == 0) || f.Owner != nil && f.Owner.UID != want.uid {
			t.Errorf("folder %+v of %v, explained %+v; want %+v", f, f.Owner, e.Folders[i], want)
		}
	}
	var text strings.Builder
	if err := e.WriteText(&text); err != nil || !strings.Contains(text.String(), "files belong to ftp") || !strings.Contains(text.String(), "files belong to 5000:6000") {
		t.Errorf("%v; explained:\n%s", err, text.String())
	}
	known["ftp"] = directory.POSIX{}
	delete(known, "5000:6000")
	err = set.FindAccounts(find)
	for _, want := range []string{`rules[0].owner: "ftp": `, `rules[0].folders[0].owner: "5000:6000": no such account (rule "a")`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FindAccounts = %v, want %s", err, want)
		}
	}
}
