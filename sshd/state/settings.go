package state

import (
	"net/netip"
	"time"

	"berth/sshd/check"
)

// Settings says who is let in, and how many.
type Settings struct {
	Blocked           []netip.Prefix `mapstructure:"blocked"`                 // networks that are not let in at all
	Exempt            []netip.Prefix `mapstructure:"exempt"`                  // networks that get no penalties: balancers, scanners, gateways of many people
	Penalties         Penalties      `mapstructure:"penalties"`               // penalties of sources that misbehave
	MaxStartups       Startups       `mapstructure:"max_startups"`            // logins under way at once
	StartupsPerSource int            `mapstructure:"max_startups_per_source"` // logins under way at once of one source that is not exempt; 0: no limit
	MaxSessions       int            `mapstructure:"max_sessions"`            // sessions open at once in total; 0: no limit
	Codes             Codes          `mapstructure:"codes"`                   // limits against guessing of one-time codes
	MaxSources        int            `mapstructure:"max_sources"`             // sources that are remembered at once; each takes about 200 bytes
	IPv4Prefix        int            `mapstructure:"ipv4_prefix"`             // bits of an IPv4 address that make a source
	IPv6Prefix        int            `mapstructure:"ipv6_prefix"`             // bits of an IPv6 address that make a source
}

// Penalties says how long each misbehaviour keeps a source out. Several add up.
type Penalties struct {
	LoginFailed   time.Duration `mapstructure:"login_failed"`   // penalty for a wrong password, or a key that is not the user's
	UnknownUser   time.Duration `mapstructure:"unknown_user"`   // penalty for a name that nobody has
	NoLogin       time.Duration `mapstructure:"no_login"`       // penalty for leaving without a try to log in
	GraceExceeded time.Duration `mapstructure:"grace_exceeded"` // penalty for holding a connection until the login grace is over
	BadProtocol   time.Duration `mapstructure:"bad_protocol"`   // penalty for another protocol than SSH
	Min           time.Duration `mapstructure:"min"`            // sum of penalties from which on a source cannot connect
	Max           time.Duration `mapstructure:"max"`            // the sum never grows beyond this; 0: no penalties
}

// Startups is "random early drop" as in MaxStartups of OpenSSH: from Begin
// logins under way on, Rate per cent of new connections are refused, more and
// more until all are at Full.
type Startups struct {
	Begin int `mapstructure:"begin"` // logins under way from which on some new connections are refused
	Rate  int `mapstructure:"rate"`  // per cent of new connections that are refused at begin; it grows to all at full
	Full  int `mapstructure:"full"`  // logins under way at which all new connections are refused; 0: no limit
}

// DefaultSettings is what a file that says nothing gets. The penalties are those
// of OpenSSH. This machine itself gets no penalties: tunnels and local
// balancers come from there.
func DefaultSettings() Settings {
	return Settings{
		Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Penalties: Penalties{
			LoginFailed:   5 * time.Second,
			UnknownUser:   5 * time.Second,
			NoLogin:       time.Second,
			GraceExceeded: 10 * time.Second,
			BadProtocol:   90 * time.Second,
			Min:           15 * time.Second,
			Max:           10 * time.Minute,
		},
		MaxStartups: Startups{Begin: 100, Rate: 30, Full: 500},
		// A fifth of where MaxStartups begins: no four sources keep others out.
		StartupsPerSource: 20,
		Codes:             Codes{Tries: 5, Window: 15 * time.Minute}, // 5 of a million, 480 a day, and only with the other factor
		MaxSources:        65536,
		IPv4Prefix:        32,
		IPv6Prefix:        64, // a single customer's network
	}
}

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	for _, d := range []struct {
		key string
		d   time.Duration
	}{
		{"login_failed", s.Penalties.LoginFailed},
		{"unknown_user", s.Penalties.UnknownUser},
		{"no_login", s.Penalties.NoLogin},
		{"grace_exceeded", s.Penalties.GraceExceeded},
		{"bad_protocol", s.Penalties.BadProtocol},
		{"min", s.Penalties.Min},
		{"max", s.Penalties.Max},
	} {
		wrong.If(d.d < 0, "penalties.%s: %v: must not be negative", d.key, d.d)
	}
	p, m := s.Penalties, s.MaxStartups
	wrong.If(p.Max > 0 && p.Min > p.Max, "penalties.min: %v: must not be more than max, %v", p.Min, p.Max)
	wrong.If(s.Codes.Window < time.Minute, "codes.window: %v: must be at least 1m", s.Codes.Window)
	wrong.If(m.Full != 0 && (m.Begin < 1 || m.Begin > m.Full || m.Rate < 0 || m.Rate > 100), "max_startups: {begin: %d, rate: %d, full: %d}: begin must be from 1 to full, and rate from 0 to 100", m.Begin, m.Rate, m.Full)
	for _, n := range []struct {
		key       string
		n, lo, hi int
	}{
		{"max_startups_per_source", s.StartupsPerSource, 0, 1 << 20},
		{"max_sessions", s.MaxSessions, 0, 1 << 30},
		{"codes.tries", s.Codes.Tries, 1, 1000},
		{"max_sources", s.MaxSources, 1, 1 << 24},
		{"ipv4_prefix", s.IPv4Prefix, 0, 32},
		{"ipv6_prefix", s.IPv6Prefix, 0, 128},
	} {
		wrong.If(n.n < n.lo || n.n > n.hi, "%s: %d: must be from %d to %d", n.key, n.n, n.lo, n.hi)
	}
	return wrong
}

// of is how long k keeps a source out.
func (p *Penalties) of(k Kind) time.Duration {
	return map[Kind]time.Duration{
		LoginFailed:   p.LoginFailed,
		UnknownUser:   p.UnknownUser,
		NoLogin:       p.NoLogin,
		GraceExceeded: p.GraceExceeded,
		BadProtocol:   p.BadProtocol,
	}[k]
}

// Penalty is the penalty of the source of remote for a misbehaviour; 0 if there
// is none.
func (s *Settings) Penalty(remote netip.Addr, k Kind) (source netip.Prefix, d time.Duration) {
	source, exempt := s.source(remote)
	if exempt || s.Penalties.Max == 0 {
		return source, 0
	}
	return source, s.Penalties.of(k)
}

// source returns the network that remote is counted as, and whether it is exempt.
// What has no IP address, such as a unix socket, is exempt too.
func (s *Settings) source(remote netip.Addr) (source netip.Prefix, exempt bool) {
	remote = remote.Unmap().WithZone("")
	bits := s.IPv6Prefix
	if remote.Is4() {
		bits = s.IPv4Prefix
	}
	source, err := remote.Prefix(bits)
	return source, err != nil || !source.IsValid() || within(s.Exempt, remote)
}
