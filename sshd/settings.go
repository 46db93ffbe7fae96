package sshd

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// Settings are the administrator's choices about SSH itself.
type Settings struct {
	LoginGrace     time.Duration  `mapstructure:"login_grace"`     // from accept to a proved login
	MaxTries       int            `mapstructure:"max_tries"`       // refused tries on one connection; as many refused offers of keys are not counted
	MaxChannels    int            `mapstructure:"max_channels"`    // open sessions on one connection
	MaxConnections int            `mapstructure:"max_connections"` // at once, logged in or not; 0: no limit
	RefusalDelay   time.Duration  `mapstructure:"refusal_delay"`   // every refusal takes this long, whatever the reason
	KeepAlive      time.Duration  `mapstructure:"keep_alive"`      // silence after which the client is asked whether it is there; 0: never
	Idle           time.Duration  `mapstructure:"idle"`            // without a request, unless a rule says otherwise; 0: no limit
	Drain          time.Duration  `mapstructure:"drain"`           // what running transfers get at shutdown
	Recheck        time.Duration  `mapstructure:"recheck"`         // how often users with open sessions are looked up again; 0: never
	OnChange       string         `mapstructure:"on_change"`       // what becomes of an open session when the key it began with is removed, or the password changed: end, or keep
	Checksums      bool           `mapstructure:"checksums"`       // SHA-256 of whole transfers in events; costs about 0.7 CPU seconds a GB
	Banner         string         `mapstructure:"banner"`          // file shown to everyone before they log in
	MOTD           string         `mapstructure:"motd"`            // file shown to everyone who has logged in, unless it is empty
	ProxyFrom      []netip.Prefix `mapstructure:"proxy_from"`      // networks of balancers, which must say by PROXY protocol who they speak for
	Ciphers        []string       `mapstructure:"ciphers"`         // in order of preference; "auto": the fastest that both sides know
	KeyExchanges   []string       `mapstructure:"key_exchanges"`   // methods offered, in order of preference
	MACs           []string       `mapstructure:"macs"`            // message authentication codes offered, for ciphers that need one
	KeyAlgorithms  []string       `mapstructure:"key_algorithms"`  // of users' keys
	Legacy         []Legacy       `mapstructure:"legacy"`          // weak algorithms that are switched on for partners that know nothing better
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		LoginGrace:     2 * time.Minute,
		MaxTries:       6,
		MaxChannels:    10,
		MaxConnections: 2000,
		RefusalDelay:   400 * time.Millisecond,
		KeepAlive:      time.Minute,
		Drain:          5 * time.Minute,
		Recheck:        time.Minute,
		OnChange:       onChangeEnd,
		Ciphers:        []string{cipherAuto},
		KeyExchanges: []string{
			ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH16SHA512,
		},
		MACs:          []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		KeyAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
	}
}

// cipherAuto chooses AES-GCM where the CPU and the client have AES.
const cipherAuto = "auto"

// What becomes of sessions whose key or password is another one now.
const (
	onChangeEnd  = "end"
	onChangeKeep = "keep"
)

// Check reports what in s cannot be used, with the key and what would be right.
// The library drops names that it does not know without a word, so they are
// looked at here.
func (s *Settings) Check() []error {
	var errs []error
	known := ssh.SupportedAlgorithms()
	for _, list := range []struct {
		key          string
		names, known []string
	}{
		{"ciphers", s.Ciphers, append(known.Ciphers, cipherAuto)},
		{"key_exchanges", s.KeyExchanges, known.KeyExchanges},
		{"macs", s.MACs, slices.DeleteFunc(known.MACs, func(m string) bool { return m == ssh.HMACSHA1 })},
		{"key_algorithms", s.KeyAlgorithms, known.PublicKeyAuths},
	} {
		if len(list.names) == 0 {
			errs = append(errs, fmt.Errorf("%s: empty: one of %v is needed", list.key, list.known))
		}
		for _, name := range list.names {
			switch {
			case slices.Contains(list.known, name):
			case slices.Contains(legacyNames(), name):
				errs = append(errs, fmt.Errorf("%s: %q is weak: if some partner needs it, name it in ssh.legacy", list.key, name))
			default:
				errs = append(errs, fmt.Errorf("%s: %q is not known here: use some of %v", list.key, name, list.known))
			}
		}
	}
	for i, l := range s.Legacy {
		errs = append(errs, l.check(fmt.Sprintf("legacy[%d]", i))...)
	}
	for _, d := range []struct {
		key  string
		d    time.Duration
		zero bool // means "no limit"
	}{
		{"login_grace", s.LoginGrace, false},
		{"refusal_delay", s.RefusalDelay, true},
		{"keep_alive", s.KeepAlive, true},
		{"idle", s.Idle, true},
		{"drain", s.Drain, true},
		{"recheck", s.Recheck, true},
	} {
		if d.d < 0 || (d.d == 0 && !d.zero) {
			errs = append(errs, fmt.Errorf("%s: %v: must be a positive time, such as 30s", d.key, d.d))
		}
	}
	if s.OnChange != onChangeEnd && s.OnChange != onChangeKeep {
		errs = append(errs, fmt.Errorf("on_change: %q: must be end or keep", s.OnChange))
	}
	for _, n := range []struct {
		key   string
		n, lo int
	}{{"max_tries", s.MaxTries, 1}, {"max_channels", s.MaxChannels, 1}, {"max_connections", s.MaxConnections, 0}} {
		if n.n < n.lo {
			errs = append(errs, fmt.Errorf("%s: %d: must be at least %d", n.key, n.n, n.lo))
		}
	}
	return errs
}
