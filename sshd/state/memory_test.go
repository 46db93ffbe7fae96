package state

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Store = (*Memory)(nil)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// reason returns the code of a refusal, or "" for none.
func reason(t *testing.T, err error) Reason {
	t.Helper()
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		t.Fatalf("got %v, want a *Refusal", err)
	}
	if r == nil {
		return ""
	}
	return r.Code
}

// admit begins and ends a login.
func admit(t *testing.T, m *Memory, remote string) Reason {
	t.Helper()
	end, err := m.Admit(addr(remote))
	if (end == nil) != (err != nil) {
		t.Fatalf("got end %v and error %v", end != nil, err)
	}
	if err == nil {
		end()
	}
	return reason(t, err)
}

func TestPenaltiesGrowAndWearOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(DefaultSettings())
		const bad = "203.0.113.7"
		step := func(after time.Duration, want Reason) {
			t.Helper()
			time.Sleep(after)
			if got := admit(t, m, bad); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		m.Penalize(addr(bad), LoginFailed)
		m.Penalize(addr(bad), LoginFailed)
		step(0, "") // 10 s is less than the minimum
		m.Penalize(addr(bad), LoginFailed)
		step(0, SourcePenalized)
		step(14*time.Second, SourcePenalized) // below the minimum again, but once it bars it bars to its end
		step(time.Second, "")
		m.Penalize(addr(bad), LoginFailed)
		step(0, "") // all is forgotten

		for range 100 {
			m.Penalize(addr(bad), BadProtocol)
		}
		step(10*time.Minute-1, SourcePenalized)
		step(1, "")
		if _, _, sources := m.Counts(); sources != 0 {
			t.Errorf("remembers %d sources, want none", sources)
		}
	})
}

func TestEveryKindCounts(t *testing.T) {
	for _, k := range []Kind{LoginFailed, UnknownUser, NoLogin, GraceExceeded, BadProtocol} {
		m := NewMemory(DefaultSettings())
		for range 16 {
			m.Penalize(addr("203.0.113.7"), k)
		}
		if got := admit(t, m, "203.0.113.7"); got != SourcePenalized {
			t.Errorf("%s: got %q, want %q", k, got, SourcePenalized)
		}
	}
	m := NewMemory(DefaultSettings())
	m.Penalize(addr("203.0.113.7"), "no such kind")
	if _, _, sources := m.Counts(); sources != 0 {
		t.Error("an unknown kind counts")
	}
}

func TestSources(t *testing.T) {
	tests := []struct {
		name, bad, remote string
		want              Reason
	}{
		{"itself", "203.0.113.7", "203.0.113.7", SourcePenalized},
		{"a neighbour", "203.0.113.7", "203.0.113.8", ""},
		{"IPv4 in IPv6", "203.0.113.7", "::ffff:203.0.113.7", SourcePenalized},
		{"the same /64", "2001:db8::1", "2001:db8::ffff:0:1", SourcePenalized},
		{"with a zone", "fe80::1%eth0", "fe80::2%eth1", SourcePenalized},
		{"another /64", "2001:db8::1", "2001:db8:0:1::1", ""},
		{"exempt", "10.1.2.3", "10.1.2.3", ""},
		{"exempt in IPv6", "::ffff:10.1.2.3", "10.1.2.3", ""},
		{"blocked", "192.0.2.1", "198.51.100.9", SourceBlocked},
		{"blocked and exempt", "192.0.2.1", "10.66.0.1", SourceBlocked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			s.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			s.Blocked = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("10.66.0.0/16")}
			m := NewMemory(s)
			m.Penalize(addr(tt.bad), BadProtocol)
			if got := admit(t, m, tt.remote); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoAddress(t *testing.T) {
	m := NewMemory(DefaultSettings())
	m.Penalize(netip.Addr{}, BadProtocol)
	end, err := m.Admit(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	end()
}

func TestNoPenalties(t *testing.T) {
	s := DefaultSettings()
	s.Penalties.Max = 0
	m := NewMemory(s)
	m.Penalize(addr("203.0.113.7"), BadProtocol)
	if got := admit(t, m, "203.0.113.7"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := DefaultSettings()
		s.MaxSources = 100
		m := NewMemory(s)
		for range 10 {
			m.Penalize(addr("203.0.113.7"), BadProtocol)
		}
		for i := range 1000 {
			m.Penalize(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), BadProtocol)
		}
		if _, _, sources := m.Counts(); sources != 100 {
			t.Errorf("remembers %d sources, want 100", sources)
		}
		if got := admit(t, m, "203.0.113.7"); got != SourcePenalized {
			t.Errorf("the worst source: got %q, want %q", got, SourcePenalized)
		}
		time.Sleep(91 * time.Second)
		if _, _, sources := m.Counts(); sources != 1 {
			t.Errorf("remembers %d sources, want 1", sources)
		}
	})
}

func TestStartupsPerSource(t *testing.T) {
	s := DefaultSettings()
	s.StartupsPerSource = 2
	s.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	m := NewMemory(s)
	var ends []func()
	for i, tt := range []struct {
		remote string
		want   Reason
	}{
		{"203.0.113.7", ""},
		{"203.0.113.7", ""},
		{"203.0.113.7", SourceBusy},
		{"203.0.113.8", ""},
		{"10.0.0.1", ""},
		{"10.0.0.1", ""},
		{"10.0.0.1", ""},
	} {
		end, err := m.Admit(addr(tt.remote))
		if got := reason(t, err); got != tt.want {
			t.Errorf("%d: got %q, want %q", i, got, tt.want)
		}
		if end != nil {
			ends = append(ends, end)
		}
	}
	ends[0]()
	ends[0]() // does nothing
	if got := admit(t, m, "203.0.113.7"); got != "" {
		t.Errorf("after one ended: got %q", got)
	}
	for _, end := range ends {
		end()
	}
	if logins, _, _ := m.Counts(); logins != 0 || len(m.startups) != 0 {
		t.Errorf("got %d logins of %d sources, want none", logins, len(m.startups))
	}
}

func TestRandomEarlyDrop(t *testing.T) {
	s := DefaultSettings()
	s.MaxStartups = Startups{Begin: 10, Rate: 30, Full: 100}
	tests := []struct {
		n, dice int
		want    bool
	}{
		{0, 0, false},
		{9, 0, false},
		{10, 29, true},
		{10, 30, false},
		{55, 64, true}, // half-way: 65 per cent
		{55, 65, false},
		{99, 98, true},
		{99, 99, false},
		{100, 99, true},
		{200, 99, true},
	}
	for _, tt := range tests {
		m := NewMemory(s)
		m.random = func(int) int { return tt.dice }
		if got := m.drops(tt.n); got != tt.want {
			t.Errorf("%d logins, dice %d: got %v, want %v", tt.n, tt.dice, got, tt.want)
		}
	}
	s.MaxStartups = Startups{}
	if NewMemory(s).drops(1 << 30) {
		t.Error("no limit: dropped")
	}
	s.MaxStartups = Startups{Begin: 5, Rate: 30, Full: 5}
	if !NewMemory(s).drops(5) || NewMemory(s).drops(4) {
		t.Error("begin and full the same: want a hard limit")
	}
}

func TestStartupsFull(t *testing.T) {
	s := DefaultSettings()
	s.MaxStartups = Startups{Begin: 3, Rate: 100, Full: 3}
	m := NewMemory(s)
	var ends []func()
	for range 3 {
		end, err := m.Admit(addr("203.0.113.7"))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if got := admit(t, m, "203.0.113.8"); got != StartupsFull {
		t.Errorf("got %q, want %q", got, StartupsFull)
	}
	ends[1]()
	if got := admit(t, m, "203.0.113.8"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestAcquire(t *testing.T) {
	s := DefaultSettings()
	s.MaxSessions = 4
	m := NewMemory(s)
	var releases []func()
	for i, tt := range []struct {
		user string
		max  int
		want Reason
	}{
		{"alice", 2, ""},
		{"alice", 2, ""},
		{"alice", 2, UserSessions},
		{"alice", 0, ""},
		{"bob", 1, ""},
		{"carol", 1, TotalSessions},
		{"bob", 1, UserSessions},
	} {
		release, err := m.Acquire(tt.user, tt.max)
		if got := reason(t, err); got != tt.want {
			t.Errorf("%d: got %q, want %q", i, got, tt.want)
		}
		if release != nil {
			releases = append(releases, release)
		}
	}
	for range 2 {
		for _, release := range releases {
			release()
		}
	}
	if _, sessions, _ := m.Counts(); sessions != 0 || len(m.sessions) != 0 {
		t.Errorf("got %d sessions of %d users, want none", sessions, len(m.sessions))
	}
}

func TestRefusal(t *testing.T) {
	r := &Refusal{Code: SourcePenalized, Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if got, want := r.Error(), "source_penalized until 2026-01-02T03:04:05Z"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (&Refusal{Code: StartupsFull}).Error(); got != "too_many_logins" {
		t.Errorf("got %q", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := DefaultSettings()
	s.MaxSources, s.MaxStartups = 10, Startups{Begin: 2, Rate: 50, Full: 6}
	m := NewMemory(s)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				remote := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)})
				if end, err := m.Admit(remote); err == nil {
					defer end()
					end()
				}
				m.Penalize(remote, LoginFailed)
				if release, err := m.Acquire(fmt.Sprint(g%3), 2); err == nil {
					release()
				}
			}
		})
	}
	wg.Wait()
	if logins, sessions, sources := m.Counts(); logins != 0 || sessions != 0 || sources > 10 {
		t.Errorf("got %d logins, %d sessions, %d sources", logins, sessions, sources)
	}
}

// FuzzMemory plays any sequence of calls and compares with a plain count.
func FuzzMemory(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 4, 1, 2, 2, 3, 3, 5})
	f.Add([]byte{1, 9, 17, 25, 33, 0, 8, 16, 6, 6, 6})
	f.Fuzz(func(t *testing.T, calls []byte) {
		if len(calls) > 2000 {
			return
		}
		s := DefaultSettings()
		s.MaxSources, s.MaxSessions, s.StartupsPerSource = 3, 5, 2
		s.MaxStartups = Startups{Begin: 2, Rate: 50, Full: 4}
		m := NewMemory(s)
		var ends, releases []func()
		for _, c := range calls {
			arg := c >> 3
			remote := netip.AddrFrom4([4]byte{192, 0, 2, arg})
			switch c & 7 {
			case 0, 1:
				if end, err := m.Admit(remote); err == nil {
					ends = append(ends, end)
				}
			case 2:
				if n := len(ends); n > 0 {
					i := int(arg) % n
					ends[i]()
					ends[i]()
					ends = append(ends[:i], ends[i+1:]...)
				}
			case 3:
				if release, err := m.Acquire(fmt.Sprint(arg), int(arg%4)); err == nil {
					releases = append(releases, release)
				}
			case 4:
				if n := len(releases); n > 0 {
					i := int(arg) % n
					releases[i]()
					releases[i]()
					releases = append(releases[:i], releases[i+1:]...)
				}
			default:
				m.Penalize(remote, []Kind{LoginFailed, NoLogin, BadProtocol}[c&7-5])
			}
			logins, sessions, sources := m.Counts()
			if logins != len(ends) || sessions != len(releases) || sources > 3 {
				t.Fatalf("got %d logins, %d sessions, %d sources, want %d, %d, at most 3", logins, sessions, sources, len(ends), len(releases))
			}
			if logins > 4 || sessions > 5 {
				t.Fatalf("got %d logins, %d sessions: beyond the limits", logins, sessions)
			}
			for i, held := range m.penalties.heap {
				if held.index != i || m.penalties.of[held.Source] != held {
					t.Fatalf("penalty %d is out of place", i)
				}
			}
			if len(m.penalties.of) != len(m.penalties.heap) {
				t.Fatalf("%d penalties in the map, %d in the heap", len(m.penalties.of), len(m.penalties.heap))
			}
		}
	})
}

func TestSettingsDecode(t *testing.T) {
	s := DefaultSettings()
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: &s, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToNetIPPrefixHookFunc()),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Decode(map[string]any{
		"exempt":       []string{"10.0.0.0/8"},
		"penalties":    map[string]any{"login_failed": "7s", "max": "1h"},
		"max_startups": map[string]any{"begin": 10, "rate": 30, "full": 100},
		"ipv6_prefix":  56,
	})
	want := DefaultSettings()
	want.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Penalties.LoginFailed, want.Penalties.Max = 7*time.Second, time.Hour
	want.MaxStartups = Startups{10, 30, 100}
	want.IPv6Prefix = 56
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

func TestSettingsCheck(t *testing.T) {
	if s := DefaultSettings(); len(s.Check()) > 0 {
		t.Errorf("defaults: %v", s.Check())
	}
	tests := []struct {
		change func(*Settings)
		want   string
	}{
		{func(s *Settings) { s.Penalties.NoLogin = -1 }, "penalties.no_login: -1ns"},
		{func(s *Settings) { s.Penalties.Min = time.Hour }, "penalties.min: 1h0m0s: must not be more than max, 10m0s"},
		{func(s *Settings) { s.MaxStartups = Startups{10, 30, 5} }, "max_startups: {begin: 10, rate: 30, full: 5}"},
		{func(s *Settings) { s.MaxStartups.Rate = 101 }, "rate from 0 to 100"},
		{func(s *Settings) { s.MaxSources = 0 }, "max_sources: 0: must be from 1"},
		{func(s *Settings) { s.IPv4Prefix = 33 }, "ipv4_prefix: 33: must be from 0 to 32"},
		{func(s *Settings) { s.MaxSessions = -1 }, "max_sessions: -1"},
	}
	for _, tt := range tests {
		s := DefaultSettings()
		tt.change(&s)
		if err := errors.Join(s.Check()...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	m := NewMemory(DefaultSettings())
	for i := range 60000 {
		m.Penalize(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), LoginFailed)
	}
	remote := addr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		if end, err := m.Admit(remote); err == nil {
			end()
		}
	}
}

func BenchmarkPenalizeWhenFull(b *testing.B) {
	m := NewMemory(DefaultSettings())
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		i++
		m.Penalize(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), BadProtocol)
	}
}
