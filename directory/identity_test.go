package directory

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMovedPerson has right passwords sent with what the directory says now: a
// person moved to another place has another DN.
func TestMovedPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice")
		f.lockAt, f.window = 3, time.Hour
		d := NewCache(NewShield(f, 0, 0), time.Hour, time.Hour)
		u, err := d.Lookup(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		moved := *f.users["alice"]
		moved.DN = "uid=alice,ou=elsewhere"
		f.users["alice"] = &moved
		time.Sleep(2 * time.Second)
		for range 3 {
			if err := d.Authenticate(t.Context(), u, "alice-right"); err != nil {
				t.Errorf("Authenticate with the right password = %v, want nil", err)
			}
		}
		if err := d.ChangePassword(t.Context(), u, "alice-right", "new"); err != nil {
			t.Errorf("ChangePassword = %v, want nil", err)
		}
		if got := f.binds["alice"]; got != 4 {
			t.Errorf("%d binds, want 4: none with the old DN", got)
		}
		f.down = true
		if err := d.Authenticate(t.Context(), u, "new"); !errors.Is(err, errDown) {
			t.Errorf("Authenticate without a server = %v, want %v", err, errDown)
		}
	})
}

// TestNewOwnerOfAName gives a name to somebody else: what was begun for the old
// owner must not be done to the new one, and the old owner's groups and keys
// must not come back by another name.
func TestNewOwnerOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("alice", "other")
		c := NewCache(f, time.Minute, time.Hour)
		f.users["mail@corp"] = f.users["alice"]
		old, err := c.Lookup(t.Context(), "mail@corp")
		if err != nil {
			t.Fatal(err)
		}
		next := *f.users["other"]
		next.Name = "alice"
		f.users["alice"] = &next
		time.Sleep(2 * time.Second)
		tries := map[string]error{
			"Authenticate":   c.Authenticate(t.Context(), old, "alice-right"),
			"ChangePassword": c.ChangePassword(t.Context(), old, "alice-right", "new"),
			"AddKey":         c.AddKey(t.Context(), old, newKey(t)),
			"RemoveKey":      c.RemoveKey(t.Context(), old, "SHA256:x"),
		}
		for name, err := range tries {
			if !errors.Is(err, ErrNoUser) || !Refused(err) {
				t.Errorf("%s for the old owner of a name = %v, want ErrNoUser", name, err)
			}
		}
		if len(f.binds) > 0 || len(next.Keys) > 0 {
			t.Errorf("the directory was asked for the new owner: %v, %d keys", f.binds, len(next.Keys))
		}
		time.Sleep(2 * time.Minute)
		f.down = true
		if u, err := c.Lookup(t.Context(), "alice"); err != nil || u.Identity != next.Identity {
			t.Errorf("Lookup of the name in an outage = %v, %v, want the new owner", u, err)
		}
		if u, err := c.Lookup(t.Context(), "mail@corp"); !errors.Is(err, errDown) {
			t.Errorf("Lookup in an outage by another name of the old owner = %v, %v, want %v", u, err, errDown)
		}
	})
}

// TestCacheForgetsOnePerson: a change makes the cache forget the person by all
// names, and nobody else.
func TestCacheForgetsOnePerson(t *testing.T) {
	f := newFake("alice", "bob")
	f.users["a@corp"] = f.users["alice"]
	c := NewCache(f, time.Hour, 0)
	for _, name := range []string{"alice", "a@corp", "bob"} {
		if _, err := c.Lookup(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	u, _ := c.Lookup(t.Context(), "alice")
	if err := c.RemoveKey(t.Context(), u, ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"bob": 0, "a@corp": 1} {
		before := f.lookups
		if _, err := c.Lookup(t.Context(), name); err != nil || f.lookups-before != want {
			t.Errorf("Lookup(%s): %d look-ups, %v; want %d", name, f.lookups-before, err, want)
		}
	}
}

// TestShieldCountsPeople has all spellings of a person counted as one, and
// people of two directories apart, whatever else is equal.
func TestShieldCountsPeople(t *testing.T) {
	tests := []struct {
		name       string
		a, b       User
		oneAccount bool
	}{
		{"moved", User{Identity: Identity{"corp", "1"}, Name: "alice", DN: "uid=alice,ou=a"}, User{Identity: Identity{"corp", "1"}, Name: "alice", DN: "uid=alice,ou=b"}, true},
		{"renamed", User{Identity: Identity{"corp", "1"}, Name: "alice"}, User{Identity: Identity{"corp", "1"}, Name: "anna"}, true},
		{"same name", User{Identity: Identity{"corp", "1"}, Name: "alice", DN: "uid=alice"}, User{Identity: Identity{"corp", "2"}, Name: "alice", DN: "uid=alice"}, false},
		{"copied", User{Identity: Identity{"corp", "1"}, Name: "alice"}, User{Identity: Identity{"partner", "1"}, Name: "alice"}, false},
		{"typed", User{Identity: Identity{Source: "corp"}, Name: "alice"}, User{Identity: Identity{Source: "corp"}, Name: "ALICE"}, true},
		{"typed with spaces", User{Identity: Identity{Source: "corp"}, Name: "alice smith"}, User{Identity: Identity{Source: "corp"}, Name: " Alice\u00a0 smith "}, true},
		{"typed wide", User{Identity: Identity{Source: "corp"}, Name: "alice"}, User{Identity: Identity{Source: "corp"}, Name: "\uff41lice"}, true},
		{"typed with an invisible letter", User{Identity: Identity{Source: "corp"}, Name: "alice"}, User{Identity: Identity{Source: "corp"}, Name: "ali\u200bce"}, true},
		{"typed without accent", User{Identity: Identity{Source: "corp"}, Name: "jörg"}, User{Identity: Identity{Source: "corp"}, Name: "JORG"}, true},
		{"typed in two directories", User{Identity: Identity{Source: "corp"}, Name: "alice"}, User{Identity: Identity{Source: "partner"}, Name: "alice"}, false},
		{"others typed", User{Identity: Identity{Source: "corp"}, Name: "alice"}, User{Identity: Identity{Source: "corp"}, Name: "bob"}, false},
	}
	for _, tt := range tests {
		f := newFake()
		s := NewShield(f, 2, time.Hour)
		if err := s.Authenticate(t.Context(), &tt.a, "wrong"); !errors.Is(err, ErrBadPassword) {
			t.Fatal(err)
		}
		if err := s.Authenticate(t.Context(), &tt.b, "wrong"); errors.Is(err, ErrShielded) != tt.oneAccount {
			t.Errorf("%s: second try = %v, want shielded: %t", tt.name, err, tt.oneAccount)
		}
	}
}

// TestShieldByName checks that a person is counted under the name, before and
// after the id is known.
func TestShieldByName(t *testing.T) {
	s := NewShield(newFake(), 3, time.Hour)
	s.ByName = true
	known, typed := &User{Identity: Identity{"corp", "1"}, Name: "Alice"}, &User{Identity: Identity{Source: "corp"}, Name: "alice"}
	for i, u := range []*User{known, typed, known, typed} {
		if err := s.Authenticate(t.Context(), u, "wrong"); errors.Is(err, ErrShielded) != (i > 1) {
			t.Errorf("try %d = %v, want shielded: %t", i+1, err, i > 1)
		}
	}
}

// TestShieldFlood has a name whose wrong passwords are remembered whatever other
// names are tried after it.
func TestShieldFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShield(newFake(), 2, time.Hour)
		typed := func(name string) error {
			return s.Authenticate(t.Context(), &User{Identity: Identity{Source: "corp"}, Name: name}, "wrong")
		}
		if err := typed("victim"); !errors.Is(err, ErrBadPassword) {
			t.Fatal(err)
		}
		for i := range maxAccounts + 1 {
			time.Sleep(time.Microsecond)
			_ = typed(fmt.Sprint("nobody", i))
		}
		if err := typed("victim"); !errors.Is(err, ErrShielded) {
			t.Errorf("after %d other names: %v, want ErrShielded", maxAccounts+1, err)
		}
	})
}

// TestShieldOfTypedNames fills the shield with names that nobody has. Its
// memory is bounded, and known people are not forgotten.
func TestShieldOfTypedNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShield(newFake(), 2, time.Hour)
		alice := &User{Identity: Identity{"corp", "1"}, Name: "alice"}
		typed := func(i int) *User { return &User{Identity: Identity{Source: "corp"}, Name: fmt.Sprint("nobody", i)} }
		if err := s.Authenticate(t.Context(), alice, "wrong"); !errors.Is(err, ErrBadPassword) {
			t.Fatal(err)
		}
		const last = 5 * maxAccounts
		for i := range last + 1 {
			time.Sleep(time.Microsecond)
			_ = s.Authenticate(t.Context(), typed(i), "wrong")
			if got := len(s.Tries.(*MemoryTries).accounts); got > maxAccounts+1 {
				t.Fatalf("%d accounts are remembered, want at most %d", got, maxAccounts)
			}
		}
		for name, u := range map[string]*User{"somebody known": alice, "the last name": typed(last)} {
			if err := s.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, ErrShielded) {
				t.Errorf("%s: %v, want ErrShielded", name, err)
			}
		}
	})
}

// TestOneNameOnePerson holds that no two people of several directories have the
// same canonical name, and that a copy of an entry is not a second person.
func TestOneNameOnePerson(t *testing.T) {
	corp, partner := newFake("bob", "bob@partner.example", "carol", "eve"), newFake("bob", "carol", "dora", "eve")
	corp.users["bob7"] = corp.users["bob@partner.example"] // logs in by it; the mail address is the name
	partner.users["carol"].ID = corp.users["carol"].ID     // copied
	partner.users["mail"] = partner.users["carol"]
	corp.users["eve"].ID, partner.users["eve"].ID = "", "" // no ids: not the same
	j, err := Join(Member{Name: "corp", Directory: corp}, Member{Name: "partner", Suffixes: []string{"partner.example"}, Directory: partner})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"bob": "bob corp", "bob7": "ambiguous partner", "bob@partner.example": "bob@partner.example partner",
		"carol": "carol corp", "carol@partner.example": "ambiguous corp", "mail": "ambiguous corp",
		"dora": "dora@partner.example partner", "dora@partner.example": "dora@partner.example partner",
		"eve": "eve corp", "eve@partner.example": "eve@partner.example partner",
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	seen := map[string]Identity{}
	for name, a := range j.LookupMany(t.Context(), names) {
		single, err := j.Lookup(t.Context(), name)
		if (err == nil) != (a.Err == nil) || (err == nil && single.Identity != a.User.Identity) {
			t.Errorf("Lookup(%s) = %v, %v; LookupMany: %v, %v", name, single, err, a.User, a.Err)
		}
		result, other, _ := strings.Cut(want[name], " ")
		if result == "ambiguous" {
			if !errors.Is(a.Err, ErrAmbiguous) || !Refused(a.Err) || !strings.Contains(a.Err.Error(), "directory "+other) {
				t.Errorf("%s: %v, %v; want ErrAmbiguous that names directory %s", name, a.User, a.Err, other)
			}
			continue
		}
		if a.Err != nil || a.User.Name != result || a.User.Source != other {
			t.Errorf("%s: %v, %v; want %s of %s", name, a.User, a.Err, result, other)
			continue
		}
		if id, ok := seen[a.User.Name]; ok && id != a.User.Identity {
			t.Errorf("%s is the name of %v and of %v", a.User.Name, id, a.User.Identity)
		}
		seen[a.User.Name] = a.User.Identity
	}
	corp.down = true
	if u, err := j.Lookup(t.Context(), "dora@partner.example"); err != nil || u.Source != "partner" {
		t.Errorf("Lookup while the first directory is down = %v, %v; want dora", u, err)
	}
}
