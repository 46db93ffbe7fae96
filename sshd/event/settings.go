package event

import (
	"fmt"
	"strings"
)

// Settings says where events are written.
type Settings struct {
	File     string `mapstructure:"file"`     // path, or "stdout" or "stderr"; empty: nowhere
	MaxSize  int64  `mapstructure:"max_size"` // bytes after which a new file is begun; 0: never
	Keep     int    `mapstructure:"keep"`     // full files that are kept; 0: all
	Compress bool   `mapstructure:"compress"` // full files with gzip
	Queue    int64  `mapstructure:"queue"`    // bytes of events that may wait for a slow disk before events are lost
	Node     string `mapstructure:"node"`     // name of this machine, in every event; empty: left out
	Syslog   Syslog `mapstructure:"syslog"`   // a server that gets them too
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		MaxSize:  100 << 20,
		Keep:     30,
		Compress: true,
		Queue:    8 << 20,
		Syslog:   Syslog{Facility: "authpriv"},
	}
}

// The range in which Queue makes sense: less could not hold one event, and more
// than the most is memory lost.
const (
	minQueue = 64 << 10
	maxQueue = 1 << 30
)

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var errs []error
	if s.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("max_size: %d: must be 0 or more bytes, such as 100MiB", s.MaxSize))
	}
	if s.Keep < 0 {
		errs = append(errs, fmt.Errorf("keep: %d: must be 0 (all) or more", s.Keep))
	}
	if s.Queue < minQueue || s.Queue > maxQueue {
		errs = append(errs, fmt.Errorf("queue: %d: must be from 64KiB to 1GiB", s.Queue))
	}
	if strings.HasSuffix(s.File, "/") {
		errs = append(errs, fmt.Errorf("file: %s: is a folder: name a file in it", s.File))
	}
	return append(errs, s.Syslog.check()...)
}
