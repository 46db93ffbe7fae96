package state

import (
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPenaltiesAreListedAndLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(DefaultSettings())
		if got := m.Penalties(); got == nil || len(got) != 0 {
			t.Errorf("of nobody: got %#v, want an empty list", got)
		}
		for remote, kind := range map[string]Kind{
			"203.0.113.7": BadProtocol, "203.0.113.9": LoginFailed, "198.51.100.1": BadProtocol,
			"2001:db8::1": BadProtocol, "2001:db8:0:1::1": GraceExceeded,
		} {
			m.Penalize(addr(remote), kind)
		}
		prefix := netip.MustParsePrefix
		want := []Penalty{
			{prefix("198.51.100.1/32"), 80 * time.Second, true},
			{prefix("203.0.113.7/32"), 80 * time.Second, true},
			{prefix("2001:db8::/64"), 80 * time.Second, true},
		}
		time.Sleep(10 * time.Second) // the two small ones are over
		if got := m.Penalties(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		m.Penalize(addr("203.0.113.9"), LoginFailed)
		if got := m.Penalties(); len(got) != 4 || got[3] != (Penalty{prefix("203.0.113.9/32"), 5 * time.Second, false}) {
			t.Errorf("got %v, want the one below the minimum last", got)
		}
		lift := func(network string, want ...string) {
			t.Helper()
			var got []string
			for _, source := range m.Lift(prefix(network)) {
				got = append(got, source.String())
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("lift %s: got %v, want %v", network, got, want)
			}
		}
		lift("192.0.2.1/32")
		lift("2001:db8::ffff/128", "2001:db8::/64") // one address of the source
		lift("203.0.113.0/24", "203.0.113.7/32", "203.0.113.9/32")
		lift("203.0.113.0/24")
		for remote, want := range map[string]Reason{"203.0.113.7": "", "2001:db8::1": "", "198.51.100.1": SourcePenalized} {
			if got := admit(t, m, remote); got != want {
				t.Errorf("%s: got %q, want %q", remote, got, want)
			}
		}
		m.Penalize(addr("203.0.113.7"), LoginFailed) // begins anew
		if got := admit(t, m, "203.0.113.7"); got != "" {
			t.Errorf("after one failure more: got %q", got)
		}
		lift("0.0.0.0/0", "198.51.100.1/32", "203.0.113.7/32")
		if _, _, sources := m.Counts(); sources != 0 {
			t.Errorf("%d sources are left", sources)
		}
	})
}

// Lifting leaves the heap in order: what is over is forgotten in its turn.
func TestLiftKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(DefaultSettings())
		at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
		for i := range 64 {
			for range i*7%13 + 4 {
				m.Penalize(at(i), LoginFailed)
			}
		}
		for i := 0; i < 64; i += 3 {
			m.Lift(netip.PrefixFrom(at(i), 32))
		}
		for len(m.penalties.heap) > 0 {
			for i, held := range m.penalties.heap {
				if held.index != i || m.penalties.of[held.Source] != held {
					t.Fatalf("penalty %d is out of place", i)
				}
				if !held.Until.After(time.Now()) {
					t.Fatalf("%v is over, and not forgotten", held.Source)
				}
			}
			time.Sleep(5 * time.Second)
			m.Counts()
		}
	})
}

func TestSetSettings(t *testing.T) {
	m := NewMemory(DefaultSettings())
	bad := []string{"203.0.113.7", "10.1.2.3", "192.0.2.1"}
	for i, remote := range bad {
		for range i + 1 {
			m.Penalize(addr(remote), BadProtocol)
		}
	}
	end, err := m.Admit(addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	release, err := m.Acquire("alice", 0)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want ...Reason) {
		t.Helper()
		for i, remote := range append(bad, "198.51.100.1") {
			if got := admit(t, m, remote); got != want[i] {
				t.Errorf("%s: %s: got %q, want %q", what, remote, got, want[i])
			}
		}
	}
	check("before", SourcePenalized, SourcePenalized, SourcePenalized, "")

	s := DefaultSettings()
	s.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	s.Blocked = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s.StartupsPerSource, s.MaxSessions = 1, 1
	m.SetSettings(s)
	check("after", SourcePenalized, "", SourceBlocked, SourceBusy)
	for _, p := range m.Penalties() {
		if p.Source.Contains(addr("10.1.2.3")) {
			t.Error("a penalty is held against an exempt network")
		}
	}
	if _, err := m.Acquire("bob", 0); reason(t, err) != TotalSessions {
		t.Errorf("a session beyond the new limit: %v", err)
	}
	release()
	end() // of before counts now
	check("after the end of the login", SourcePenalized, "", SourceBlocked, "")

	s.Blocked, s.MaxSources = nil, 1
	m.SetSettings(s)
	check("with room for one", "", "", SourcePenalized, "") // the one that is kept out longest stays
	s.Penalties.Max = 0
	m.SetSettings(s)
	check("without penalties", "", "", "", "")
}

func TestSetSettingsIsSafeForConcurrentUse(t *testing.T) {
	m := NewMemory(DefaultSettings())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				remote := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)})
				m.Penalize(remote, BadProtocol)
				if end, err := m.Admit(remote); err == nil {
					end()
				}
				m.UseCode(fmt.Sprint(i%3), uint64(i), i%2 == 0)
				m.Acquire("u", 1)
				switch g {
				case 0:
					s := DefaultSettings()
					s.MaxSources = 1 + i%20
					m.SetSettings(s)
				case 1:
					m.Penalties()
					m.Lift(netip.PrefixFrom(remote, 24))
				}
			}
		})
	}
	wg.Wait()
	if logins, _, sources := m.Counts(); logins != 0 || sources > 20 {
		t.Errorf("got %d logins, %d sources", logins, sources)
	}
}

// With the default settings one address, or one customer's IPv6 network, cannot
// keep others out by connections on which it says nothing.
func TestOneSourceKeepsNobodyOut(t *testing.T) {
	for source, address := range map[string]func(i int) string{
		"one address": func(int) string { return "203.0.113.7" },
		"a network":   func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) },
	} {
		m := NewMemory(DefaultSettings())
		m.random = func(int) int { return 0 } // refuse as soon as that is possible
		held := 0
		for i := range 600 {
			if _, err := m.Admit(addr(address(i))); err == nil {
				held++
			}
		}
		if held != 20 {
			t.Errorf("%s: %d connections of 600 are held, want 20", source, held)
		}
		for i := range 75 {
			if got := admit(t, m, fmt.Sprintf("198.51.100.%d", i)); got != "" {
				t.Errorf("another source: %q", got)
			}
		}
	}
}
