// Package totp checks one-time codes made from the time (RFC 6238), and keeps
// the secrets they are made of in a sealed file.
//
// Where a user's secrets come from beside that file, how many tries there are,
// and that a code is used once, is for others. Start at Codes, and at File for
// the keeping.
package totp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings are the administrator's choices about one-time codes whose secrets
// are not in the directory. The zero value has none.
type Settings struct {
	// File holds the secrets that "berth totp" makes, encrypted. It is read again
	// when it changes.
	File string `mapstructure:"file"`

	// KeyFile holds the key that the file is encrypted with, at least 32 bytes. It
	// may be a systemd credential. "berth totp add" makes it where there is
	// neither.
	KeyFile string `mapstructure:"key_file"`

	// Issuer is what apps call the secrets made here.
	Issuer string `mapstructure:"issuer"`
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings { return Settings{Issuer: "Berth"} }

// Enabled reports whether there is a file.
func (s *Settings) Enabled() bool { return s.File != "" }

// Check reports what in s cannot be used, with the key and what would be right.
// It does not look at the files; Open does.
func (s *Settings) Check() []error {
	var errs []error
	if s.File != "" && s.KeyFile == "" {
		errs = append(errs, errors.New("key_file: missing: must be the file with the key that totp.file is encrypted with"))
	}
	if s.File == "" && s.KeyFile != "" {
		errs = append(errs, errors.New("file: missing: must be the file with the secrets, such as /var/lib/berth/totp"))
	}
	if strings.Contains(s.Issuer, ":") {
		errs = append(errs, fmt.Errorf("issuer: %q: must be without a colon, which parts it from the user's name", s.Issuer))
	}
	return errs
}

// What can be wrong with a code. Test with errors.Is.
var (
	ErrWrong      = errors.New("one-time code wrong")
	ErrOld        = errors.New("one-time code older than the server's start")
	ErrNoSecret   = errors.New("user has no secret for one-time codes")
	ErrUnreadable = errors.New("secrets of one-time codes cannot be read")
)

// Codes checks one-time codes. It is safe for concurrent use.
type Codes struct {
	File *File // nil: all secrets are given

	// Since is when whoever remembers used codes began to. Which of those that
	// were shown before have been used nobody knows, so none of them is taken:
	// that costs somebody who logs in right after a start half a minute, and
	// needs nothing that must be written at each login and survive a crash.
	Since time.Time
}

// Check returns which code was typed by the user with that id, whose secrets are
// those given and those in the file. The caller has to see to it that the
// number it returns is used once, and never after a higher one.
func (c *Codes) Check(id string, secrets []string, typed string, now time.Time) (counter uint64, err error) {
	keys, err := c.keys(id, secrets)
	if err != nil {
		return 0, err
	}
	typed = strings.ReplaceAll(strings.TrimSpace(typed), " ", "") // apps show 123 456
	for _, k := range keys {
		if n, ok := k.match(typed, now); ok {
			counter = max(counter, n)
		}
	}
	switch {
	case counter == 0:
		return 0, ErrWrong
	case time.Unix(int64(counter)*period, 0).Before(c.Since):
		return 0, ErrOld
	}
	return counter, nil
}

// Enrolled reports whether a user has a secret that can be used. An error wraps
// ErrUnreadable.
func (c *Codes) Enrolled(id string, secrets []string) (bool, error) {
	_, err := c.keys(id, secrets)
	if errors.Is(err, ErrNoSecret) {
		return false, nil
	}
	return err == nil, err
}

// keys returns what can be used of a user's secrets. The error wraps ErrNoSecret
// if there is nothing.
func (c *Codes) keys(id string, secrets []string) ([]Key, error) {
	if c.File != nil && id != "" {
		kept, err := c.File.secrets(id)
		if err != nil {
			return nil, err
		}
		secrets = append(kept, secrets...)
	}
	var keys []Key
	var unusable error
	for _, s := range secrets {
		k, err := Parse(s)
		if err != nil {
			unusable = err
			continue
		}
		keys = append(keys, k)
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case unusable != nil:
		return nil, fmt.Errorf("%w that can be used: one %w", ErrNoSecret, unusable)
	}
	return nil, ErrNoSecret
}
