package ldap

import (
	"hash/maphash"
	"math"
	"testing"

	"github.com/miekg/dns"
)

// TestOrder: a lower priority is first, and of one priority each host is first in
// proportion to its weight.
func TestOrder(t *testing.T) {
	services := []service{{"last", 1, 20, 1000}, {"small", 1, 10, 10}, {"big", 1, 10, 30}, {"none", 1, 10, 0}}
	first := map[string]int{}
	const processes = 4000
	for range processes {
		l := &locator{seed: maphash.MakeSeed()}
		got := inOrder(services, l.chance)
		if got[3].host != "last" {
			t.Fatalf("order %v, want the one of priority 20 in the end", got)
		}
		first[got[0].host]++
		for i, s := range inOrder([]service{services[2], services[0], services[3], services[1]}, l.chance) {
			if s != got[i] {
				t.Fatalf("the order depends on that of the answer: %v", got)
			}
		}
	}
	// Five standard deviations of a binomial distribution.
	if got, slack := float64(first["big"])/processes, 5*math.Sqrt(.75*.25/processes); math.Abs(got-.75) > slack {
		t.Errorf("a weight of 30 beside 10 is first in %.3f of processes, want 0.75", got)
	}
	if first["none"] > processes/100 {
		t.Errorf("a weight of 0 is first %d times of %d", first["none"], processes)
	}
}

func TestServerOfRecord(t *testing.T) {
	for _, tt := range []struct {
		startTLS bool
		service  service
		want     string
	}{
		{false, service{host: "dc1.corp.example", port: 389}, "ldaps://dc1.corp.example"},
		{false, service{host: "dc1.corp.example", port: 636}, "ldaps://dc1.corp.example"},
		{false, service{host: "dc1.corp.example", port: 6360}, "ldaps://dc1.corp.example:6360"},
		{true, service{host: "dc1.corp.example", port: 389}, "ldap://dc1.corp.example"},
		{true, service{host: "dc1.corp.example", port: 1389}, "ldap://dc1.corp.example:1389"},
	} {
		l := newLocator(Settings{StartTLS: tt.startTLS}, nil)
		if got := l.url(tt.service); got != tt.want {
			t.Errorf("url of %v with start_tls %t = %q, want %q", tt.service, tt.startTLS, got, tt.want)
		}
	}
}

// TestTrusted: with the authorities of the system a host outside of the domain proves
// nothing.
func TestTrusted(t *testing.T) {
	for host, want := range map[string]bool{
		"dc1.corp.example": true, "dc1.berlin.corp.example": true, "corp.example": true,
		"evilcorp.example": false, "dc1.corp.example.evil.example": false, "dc1.other.example": false,
	} {
		if got := newLocator(Settings{Domain: "Corp.Example"}, nil).trusted(host); got != want {
			t.Errorf("trusted(%s) = %t, want %t", host, got, want)
		}
		if !newLocator(Settings{Domain: "corp.example", CAFile: "ca.pem"}, nil).trusted(host) {
			t.Errorf("with ca_file %s is not used", host)
		}
	}
}

// FuzzSite reads answers from anybody.
func FuzzSite(f *testing.F) {
	netlogon := append(append([]byte{23}, make([]byte, 23)...), "\x01a\x00\xc0\x18\xc0\x18\x00\x00\x00\x00\x06Berlin\x00"...)
	f.Add(netlogon)
	if site, err := siteInNetlogon(netlogon); site != "Berlin" || err != nil {
		f.Errorf("site %q, %v, want Berlin", site, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		site, err := siteInNetlogon(b)
		if _, valid := dns.IsDomainName(site); err == nil && (site == "" || !valid || dns.CountLabel(site) != 1) {
			t.Errorf("site %q of %x is no name", site, b)
		}
	})
}
