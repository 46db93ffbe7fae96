package sshd

import (
	"net/netip"
	"time"

	"berth/sshd/check"
	"berth/sshd/login"
)

// Settings are the administrator's choices about SSH itself.
type Settings struct {
	login.Settings `mapstructure:",squash"`

	LoginGrace      time.Duration  `mapstructure:"login_grace"`       // time from the connection to a successful login
	MaxChannels     int            `mapstructure:"max_channels"`      // open sessions on one connection
	MaxConnections  int            `mapstructure:"max_connections"`   // connections at once, logged in or not; 0: no limit
	MaxFiles        int            `mapstructure:"max_files"`         // files and folders that clients may have open at once; 0: as many as the descriptors of the process allow beside max_connections
	MaxUserFiles    int            `mapstructure:"max_user_files"`    // files and folders that one person may have open in all sessions; 0: no limit
	MaxUserChannels int            `mapstructure:"max_user_channels"` // open sessions on all connections of one person; 0: no limit
	KeepAlive       time.Duration  `mapstructure:"keep_alive"`        // time without data from the client after which the server asks it for an answer; without one the connection is closed after four times this; 0: never
	Idle            time.Duration  `mapstructure:"idle"`              // time without a request after which a session ends, if no rule has limits.idle; 0: no limit
	Drain           time.Duration  `mapstructure:"drain"`             // time that running transfers have to finish at shutdown
	DrainNotice     time.Duration  `mapstructure:"drain_notice"`      // how long a server that is about to end still accepts connections while /readyz answers 503, so that a balancer notices in time: longer than two of its checks
	Recheck         time.Duration  `mapstructure:"recheck"`           // how often users with open sessions are looked up again; 0: never
	Window          Window         `mapstructure:"window"`            // bytes that a client may send on a channel before the server has read them: auto, or a size from 2MiB to 64MiB. An upload moves no more than a window in one round trip; auto makes the window larger while the window limits an upload
	Checksums       bool           `mapstructure:"checksums"`         // SHA-256 of whole transfers in events; costs about 0.7 CPU seconds a GB
	ProxyFrom       []netip.Prefix `mapstructure:"proxy_from"`        // networks of balancers, which must send the address of each client by the PROXY protocol
}

// Window is the size of the window of a channel in bytes (RFC 4254, section 5.2).
type Window int64

// WindowAuto is a window that grows from minWindow to maxWindow.
const (
	WindowAuto Window = 0
	minWindow  Window = 2 << 20 // the SSH library's
	maxWindow  Window = 64 << 20
)

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		Settings:        login.DefaultSettings(),
		LoginGrace:      2 * time.Minute,
		MaxChannels:     10,
		MaxConnections:  2000,
		MaxUserFiles:    1024,
		MaxUserChannels: 1000,
		KeepAlive:       time.Minute,
		Drain:           5 * time.Minute,
		Recheck:         time.Minute,
	}
}

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	wrong := check.Mistakes(s.Settings.Check())
	for _, d := range []struct {
		key  string
		d    time.Duration
		zero bool // means "no limit"
	}{
		{"login_grace", s.LoginGrace, false},
		{"keep_alive", s.KeepAlive, true},
		{"idle", s.Idle, true},
		{"drain", s.Drain, true},
		{"drain_notice", s.DrainNotice, true},
		{"recheck", s.Recheck, true},
	} {
		wrong.If(d.d < 0 || (d.d == 0 && !d.zero), "%s: %v: must be a positive time, such as 30s", d.key, d.d)
	}
	wrong.If(s.Window != WindowAuto && (s.Window < minWindow || s.Window > maxWindow), "window: %d: must be auto, or from 2MiB to 64MiB", s.Window)
	for _, n := range []struct {
		key   string
		n, lo int
	}{{"max_channels", s.MaxChannels, 1}, {"max_connections", s.MaxConnections, 0}, {"max_files", s.MaxFiles, 0}, {"max_user_files", s.MaxUserFiles, 0}, {"max_user_channels", s.MaxUserChannels, 0}} {
		wrong.If(n.n < n.lo, "%s: %d: must be at least %d", n.key, n.n, n.lo)
	}
	return wrong
}
