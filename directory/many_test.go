package directory

import (
	"errors"
	"testing"
	"time"
)

func TestLookupMany(t *testing.T) {
	corp, partners := newFake("alice", "bob", "mail@corp"), newFake("alice", "dora", "erik")
	j, err := Join(
		Member{Name: "corp", Directory: NewCache(NewShield(corp, 0, 0), time.Minute, time.Hour)},
		Member{Name: "partners", Directory: partners},
	)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"alice", "bob", "dora", "erik", "nobody", `corp\alice`, "mail@corp", "alice@partners", "erik@partners", "nobody@partners", "x@elsewhere"}
	answers := j.LookupMany(t.Context(), names)
	if len(corp.asked) > 4 || len(partners.asked) > 3 {
		t.Errorf("asked %q and %q, want at most four times (once for copies of entries) and three times", corp.asked, partners.asked)
	}
	for _, name := range names {
		want, err := j.Lookup(t.Context(), name)
		got := answers[name]
		if errors.Is(err, ErrNoUser) != errors.Is(got.Err, ErrNoUser) || (err == nil) != (got.Err == nil) {
			t.Errorf("%s: %v, want %v", name, got.Err, err)
		}
		if err == nil && (got.User.Name != want.Name || got.User.Source != want.Source) {
			t.Errorf("%s: %s of %s, want %s of %s", name, got.User.Name, got.User.Source, want.Name, want.Source)
		}
	}
	corp.asked = nil
	j.LookupMany(t.Context(), []string{"alice", "bob"})
	if len(corp.asked) > 0 {
		t.Errorf("asked for %q again, which the cache has", corp.asked)
	}
}

func TestLookupManyInAnOutage(t *testing.T) {
	f := newFake("alice", "bob", "carol")
	f.users["bob"].State.Status = StatusDisabled
	c := NewCache(f, 0, time.Hour)
	c.LookupMany(t.Context(), []string{"alice", "bob"})
	f.down = true
	answers := c.LookupMany(t.Context(), []string{"alice", "bob", "carol"})
	if a := answers["alice"]; a.Err != nil || !a.User.Cached {
		t.Errorf("alice = %v, want what was kept", a)
	}
	for _, name := range []string{"bob", "carol"} {
		if a := answers[name]; a.Err == nil || Refused(a.Err) {
			t.Errorf("%s = %v, want an error that is no refusal", name, a)
		}
	}
}
