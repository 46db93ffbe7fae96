package login

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/check"
)

// Settings are the administrator's choices about logins. They are part of the
// section ssh.
type Settings struct {
	MaxTries      int           `mapstructure:"max_tries"`      // refused tries on one connection after which it is closed
	MaxOffers     int           `mapstructure:"max_offers"`     // refused offers of keys on one connection that are not counted as tries
	RefusalDelay  time.Duration `mapstructure:"refusal_delay"`  // every refusal takes this long, whatever the reason
	OnChange      string        `mapstructure:"on_change"`      // what happens to an open session when its key is removed or its password is changed: end, or keep
	Banner        string        `mapstructure:"banner"`         // file shown to everyone before they log in
	MOTD          string        `mapstructure:"motd"`           // file shown to everyone who has logged in, unless it is empty
	Ciphers       []string      `mapstructure:"ciphers"`        // ciphers offered, in order of preference; "auto": the fastest strong one that both sides know
	KeyExchanges  []string      `mapstructure:"key_exchanges"`  // key exchange methods offered, in order of preference
	MACs          []string      `mapstructure:"macs"`           // message authentication codes offered, for ciphers that need one
	KeyAlgorithms []string      `mapstructure:"key_algorithms"` // algorithms accepted for users' keys
	Legacy        []Legacy      `mapstructure:"legacy"`         // weak algorithms that are switched on for partners that know nothing better
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		MaxTries:     6,
		MaxOffers:    20,
		RefusalDelay: 400 * time.Millisecond,
		OnChange:     onChangeEnd,
		Ciphers:      []string{cipherAuto},
		KeyExchanges: []string{
			ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH16SHA512,
		},
		MACs:          []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		KeyAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
	}
}

// cipherAuto chooses AES-GCM if the CPU has AES instructions and the client knows it.
const cipherAuto = "auto"

// What becomes of a session when the key or password it began with has changed.
const (
	onChangeEnd  = "end"
	onChangeKeep = "keep"
)

// Check reports what in s cannot be used, with the key and what would be right.
// The library ignores names that it does not know, so they are checked here.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
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
		wrong.If(len(list.names) == 0, "%s: empty: one of %v is needed", list.key, list.known)
		for _, name := range list.names {
			good, weak := slices.Contains(list.known, name), slices.Contains(legacyNames(), name)
			wrong.If(!good && weak, "%s: %q is weak: if some partner needs it, name it in ssh.legacy", list.key, name)
			wrong.If(!good && !weak, "%s: %q is not known here: use some of %v", list.key, name, list.known)
		}
	}
	for i, l := range s.Legacy {
		wrong = append(wrong, l.check(fmt.Sprintf("legacy[%d]", i))...)
	}
	wrong.If(s.RefusalDelay < 0, "refusal_delay: %v: must not be negative, such as 400ms", s.RefusalDelay)
	wrong.If(s.OnChange != onChangeEnd && s.OnChange != onChangeKeep, "on_change: %q: must be end or keep", s.OnChange)
	wrong.If(s.MaxOffers < 0, "max_offers: %d: must not be negative, such as 20", s.MaxOffers)
	wrong.If(s.MaxTries < 1, "max_tries: %d: must be at least 1", s.MaxTries)
	return wrong
}
