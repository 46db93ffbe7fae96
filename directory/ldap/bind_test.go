package ldap

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/directory"
)

// TestSelfReadAges follows a user without a service account through the day.
func TestSelfReadAges(t *testing.T) {
	c := testClient(Settings{Kind: "openldap", BindAs: "uid=%u,dc=example"})
	now := noon
	c.now = func() time.Time { return now }
	c.self.max = 10
	u := &directory.User{Name: "alice", Identity: directory.Identity{ID: "1"}, Keys: make([]directory.Key, 1), State: directory.State{Status: directory.StatusActive}}
	c.self.remember("alice", selfRead{u, "alice", now}, now.Add(selfKept))
	tests := []struct {
		after    time.Duration
		id       string
		keys     int
		cached   bool
		mayLogin bool
	}{
		{0, "1", 1, false, true},
		{selfFor, "1", 0, true, true},
		{selfKept, "", 0, false, false},
	}
	for _, tt := range tests {
		now = noon.Add(tt.after)
		got, err := c.Lookup(t.Context(), "ALICE")
		if err != nil || got.ID != tt.id || len(got.Keys) != tt.keys || got.Cached != tt.cached || (got.State.Err() == nil) != tt.mayLogin {
			t.Errorf("after %v: got %+v, %v; want id %q, %d keys, cached %t", tt.after, got, err, tt.id, tt.keys, tt.cached)
		}
	}
}

func TestBindName(t *testing.T) {
	tests := []struct{ bindAs, name, dn, want string }{
		{"", "alice", "uid=alice", "uid=alice"},
		{"", "alice", "", ""},
		{"%u@corp.example", "alice", "uid=alice", "alice@corp.example"},
		{"uid=%u,dc=x", "a,ou+b", "", `uid=a\,ou\+b,dc=x`},
		{"uid=%u,dc=x", "", "", ""},
		{"uid=%u,dc=x", "a\x00b", "", ""},
		{"%u@x", strings.Repeat("a", 300), "", ""},
	}
	for _, tt := range tests {
		c := testClient(Settings{BindAs: tt.bindAs})
		if got := c.bindName(&directory.User{Name: tt.name, DN: tt.dn}); got != tt.want {
			t.Errorf("bind_as %q, name %q: got %q, want %q", tt.bindAs, tt.name, got, tt.want)
		}
	}
	c := testClient(Settings{})
	for _, u := range []*directory.User{{Name: "x"}, {}} {
		if err := c.Authenticate(t.Context(), u, "pw"); !errors.Is(err, directory.ErrBadPassword) {
			t.Errorf("Authenticate(%+v) = %v, want ErrBadPassword without asking: an empty name binds as nobody", u, err)
		}
	}
}

// TestNewPasswordIsText has Active Directory not asked for a password that UTF-16
// cannot hold.
func TestNewPasswordIsText(t *testing.T) {
	c := testClient(Settings{Kind: "active_directory"})
	err := c.changeUnicodePwd(t.Context(), &conn{tls: &tls.ConnectionState{}}, &directory.User{Name: "alice"}, "old", "new\xff")
	if !errors.Is(err, directory.ErrPasswordWeak) || !directory.Proved(err) {
		t.Errorf("got %v, want ErrPasswordWeak, and that the old password is right", err)
	}
}
