package event

import (
	"fmt"
	"strings"
	"time"
)

// Settings says where events are written.
type Settings struct {
	File     string        `mapstructure:"file"`      // path, or "stdout" or "stderr"; empty: nowhere
	MaxSize  int64         `mapstructure:"max_size"`  // bytes after which a new file is begun; 0: never
	MaxAge   time.Duration `mapstructure:"max_age"`   // after which the next event begins a new file; 0: never
	Keep     int           `mapstructure:"keep"`      // full files that are kept; 0: all
	KeepFor  time.Duration `mapstructure:"keep_for"`  // no younger file is removed, however many there are
	Compress bool          `mapstructure:"compress"`  // full files with gzip
	Chain    bool          `mapstructure:"chain"`     // each line of a file carries a hash of the lines before, and checkpoints are signed with the first host key, so that berth events verify finds what was changed
	Queue    int64         `mapstructure:"queue"`     // bytes of events that may wait for a slow disk before events are lost
	Rate     int64         `mapstructure:"rate"`      // bytes of events a second that one person may cause, or one address before the login; 60 times as much at once. The rest is counted in one event. 0: no limit
	WhenLost string        `mapstructure:"when_lost"` // what the server does while events cannot be written: continue, or refuse new work
	Node     string        `mapstructure:"node"`      // name of this machine, in every event; empty: left out
	Syslog   Syslog        `mapstructure:"syslog"`    // a server that gets them too
	Webhook  Webhook       `mapstructure:"webhook"`   // an HTTP server that gets what is in the file
}

// What the server does while events cannot be written.
const (
	Continue = "continue"
	Refuse   = "refuse"
)

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		MaxSize:  100 << 20,
		Keep:     30,
		KeepFor:  7 * 24 * time.Hour,
		Compress: true,
		Chain:    true,
		Queue:    8 << 20,
		Rate:     1 << 20, // some 2,500 operations on files
		WhenLost: Continue,
		Syslog:   Syslog{Facility: "authpriv"},
		Webhook:  Webhook{Batch: 100},
	}
}

// The range in which Queue makes sense: less could not hold one event, and more
// than the most is memory lost.
const (
	minQueue = 64 << 10
	maxQueue = 1 << 30
	minRate  = 4 << 10
)

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var errs []error
	if s.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("max_size: %d: must be 0 or more bytes, such as 100MiB", s.MaxSize))
	}
	if s.MaxAge < 0 || s.MaxAge > 0 && s.MaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("max_age: %v: must be 0 (never) or at least 1m, such as 24h", s.MaxAge))
	}
	if s.Keep < 0 {
		errs = append(errs, fmt.Errorf("keep: %d: must be 0 (all) or more", s.Keep))
	}
	if s.KeepFor < 0 {
		errs = append(errs, fmt.Errorf("keep_for: %v: must be 0 or longer, such as 168h", s.KeepFor))
	}
	if s.Rate < 0 || s.Rate > 0 && s.Rate < minRate {
		errs = append(errs, fmt.Errorf("rate: %d: must be 0 (no limit) or at least 4KiB", s.Rate))
	}
	if s.WhenLost != Continue && s.WhenLost != Refuse {
		errs = append(errs, fmt.Errorf("when_lost: %q: must be %s or %s", s.WhenLost, Continue, Refuse))
	}
	if s.Queue < minQueue || s.Queue > maxQueue {
		errs = append(errs, fmt.Errorf("queue: %d: must be from 64KiB to 1GiB", s.Queue))
	}
	if strings.HasSuffix(s.File, "/") {
		errs = append(errs, fmt.Errorf("file: %s: is a folder: name a file in it", s.File))
	}
	return append(append(errs, s.Syslog.check()...), s.Webhook.check(s)...)
}

// spools reports whether events are sent on from the file.
func (s *Settings) spools() bool {
	return s.Chain && s.File != "" && standard[s.File] == nil
}
