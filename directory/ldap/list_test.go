package ldap_test

import (
	"testing"

	"berth/test/peers"
)

// TestUsers lists a directory: each user is what a look-up of the name gives.
func TestUsers(t *testing.T) {
	c := open(t, settings(peers.OpenLDAP(t)))
	n := 0
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		same, err := c.Lookup(t.Context(), u.Name)
		if err != nil || same.DN != u.DN || same.State.Status != u.State.Status || len(same.Groups) != len(u.Groups) || len(same.Keys) != len(u.Keys) {
			t.Errorf("listed %+v, but looked up %+v, %v", u, same, err)
		}
	}
	if n < 3 {
		t.Errorf("listed %d users, want all", n)
	}
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Errorf("the first user: %v, %v", u, err)
		}
		break
	}
}
