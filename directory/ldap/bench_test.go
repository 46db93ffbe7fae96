package ldap_test

import (
	"fmt"
	"testing"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

func benchPeer(b *testing.B) *peers.Peer {
	b.Helper()
	peers.Need(b, "openldap")
	p, err := peers.StartOpenLDAP(b.TempDir(), peers.Company(""))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Kill)
	return p
}

// BenchmarkLookup reads users of a big directory one after another, and reports
// the searches each takes.
func BenchmarkLookup(b *testing.B) {
	benchmarkLookup(b, open(b, settings(benchPeer(b))), func(i int) string { return fmt.Sprintf("u%d", i*7%peers.CompanyUsers) })
}

func BenchmarkLookupSamba(b *testing.B) {
	names := []string{"alice", "bob", "carol", "jörg"}
	benchmarkLookup(b, open(b, settings(peers.Samba(b))), func(i int) string { return names[i%len(names)] })
}

func benchmarkLookup(b *testing.B, c *ldap.Client, name func(int) string) {
	b.Helper()
	before := c.Searches()
	i := 0
	for b.Loop() {
		if _, err := c.Lookup(b.Context(), name(i)); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(c.Searches()-before)/float64(i), "searches/op")
}

// BenchmarkLogin looks a user up and checks the password, over TLS.
func BenchmarkLogin(b *testing.B) {
	c := open(b, settings(benchPeer(b)))
	i := 0
	for b.Loop() {
		name := fmt.Sprintf("u%d", i%peers.CompanyUsers)
		u, err := c.Lookup(b.Context(), name)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Authenticate(b.Context(), u, peers.Password(name)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkCached is a look-up that the cache answers.
func BenchmarkCached(b *testing.B) {
	d := directory.NewCache(open(b, settings(benchPeer(b))), 1<<62, 0)
	for b.Loop() {
		if _, err := d.Lookup(b.Context(), "u1"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCostOfALookup holds look-ups to what the design says: one search for the
// user and one for the groups, when the nesting of the groups is known.
func TestCostOfALookup(t *testing.T) {
	costs(t, open(t, settings(peers.OpenLDAP(t))))
}

func TestCostOfALookupSamba(t *testing.T) {
	costs(t, open(t, settings(peers.Samba(t))))
}

func costs(t *testing.T, c *ldap.Client) {
	t.Helper()
	for _, first := range []bool{true, false} {
		before := c.Searches()
		if _, err := c.Lookup(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		cost := c.Searches() - before
		if !first && cost != 2 {
			t.Errorf("a look-up cost %d searches, want 2", cost)
		}
		t.Logf("first %t: %d searches", first, cost)
	}
}

// BenchmarkFind searches 50,000 users by what a name begins with, for at most 1,000.
func BenchmarkFind(b *testing.B) {
	peers.Need(b, "openldap")
	p, err := peers.StartOpenLDAP(b.TempDir(), peers.CompanyOf(50_000, 100, ""))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Kill)
	c := open(b, settings(p))
	for _, begin := range []string{"u", "u12", "u1234", "nobody"} {
		b.Run(begin, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := c.Find(b.Context(), begin, 1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
