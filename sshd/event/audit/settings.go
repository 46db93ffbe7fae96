package audit

import (
	"slices"
	"strings"
	"time"

	"berth/sshd/check"
	"berth/sshd/event/format"
)

// Settings says where events are written.
type Settings struct {
	File     string        `mapstructure:"file"`      // the file that events are written to, or "stdout" or "stderr"; empty: none
	MaxSize  int64         `mapstructure:"max_size"`  // size of a file after which a new one is begun; 0: never
	MaxAge   time.Duration `mapstructure:"max_age"`   // age of a file after which the next event begins a new one; 0: never
	Keep     int           `mapstructure:"keep"`      // number of full files that are kept; 0: all
	KeepFor  time.Duration `mapstructure:"keep_for"`  // each full file is kept for this time at least, however many there are
	Compress bool          `mapstructure:"compress"`  // whether full files are compressed with gzip
	Chain    bool          `mapstructure:"chain"`     // each line of a file carries a hash of the lines before, and checkpoints are signed with the first host key, so that berth events verify finds what was changed
	Queue    int64         `mapstructure:"queue"`     // bytes of events that may wait for a slow disk before events are lost
	Rate     int64         `mapstructure:"rate"`      // bytes of events a second that one person may cause, or one address before the login; 60 times as much at once. The rest is counted in one event. 0: no limit
	WhenLost string        `mapstructure:"when_lost"` // what the server does while events cannot be written: continue, or refuse new work
	Format   string        `mapstructure:"format"`    // the format of events on stdout or stderr: json, ecs, ocsf or cef; a file is always json
	Node     string        `mapstructure:"node"`      // the name of this machine, in every event; empty: events have no such field
	Syslog   Syslog        `mapstructure:"syslog"`    // a syslog server that also gets the events
	Webhook  Webhook       `mapstructure:"webhook"`   // an HTTP server that gets the events in the file
	Version  string        `mapstructure:"-"`         // of the program, for the formats that have it
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
		Format:   format.JSON,
		Syslog:   Syslog{Facility: "authpriv", Format: format.JSON},
		Webhook:  Webhook{Batch: 100, Format: format.JSON},
	}
}

// The range for Queue: less could not hold one event, and more is a waste of
// memory.
const (
	minQueue = 64 << 10
	maxQueue = 1 << 30
	minRate  = 4 << 10
)

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	wrong.If(s.MaxSize < 0, "max_size: %d: must be 0 or more bytes, such as 100MiB", s.MaxSize)
	wrong.If(s.MaxAge < 0 || s.MaxAge > 0 && s.MaxAge < time.Minute, "max_age: %v: must be 0 (never) or at least 1m, such as 24h", s.MaxAge)
	wrong.If(s.Keep < 0, "keep: %d: must be 0 (all) or more", s.Keep)
	wrong.If(s.KeepFor < 0, "keep_for: %v: must be 0 or longer, such as 168h", s.KeepFor)
	wrong.If(s.Rate < 0 || s.Rate > 0 && s.Rate < minRate, "rate: %d: must be 0 (no limit) or at least 4KiB", s.Rate)
	wrong.If(s.WhenLost != Continue && s.WhenLost != Refuse, "when_lost: %q: must be %s or %s", s.WhenLost, Continue, Refuse)
	wrong.If(s.Queue < minQueue || s.Queue > maxQueue, "queue: %d: must be from 64KiB to 1GiB", s.Queue)
	_, err := format.New(s.Format, s.Version)
	wrong.If(err != nil, "%w", err)
	wrong.If(err == nil && s.Format != format.JSON && s.Format != "" && s.OnDisk() != "", "format: %q: a file is always %s, because its lines can be verified and sent again: set syslog.format or webhook.format", s.Format, format.JSON)
	wrong.If(strings.HasSuffix(s.File, "/"), "file: %s: is a folder: name a file in it", s.File)
	return slices.Concat(wrong, s.Syslog.check(), s.Webhook.check(s))
}

// OnDisk returns the file that keeps events; empty if they go to a standard stream or
// nowhere.
func (s *Settings) OnDisk() string {
	if standard[s.File] != nil {
		return ""
	}
	return s.File
}

// spools reports whether events are sent on from the file.
func (s *Settings) spools() bool {
	return s.Chain && s.OnDisk() != ""
}
