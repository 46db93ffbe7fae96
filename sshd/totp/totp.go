// Package totp checks one-time codes made from the time (RFC 6238), and
// stores the secrets for them in an encrypted file.
//
// Its callers provide the secrets from directories, limit the number of tries, and
// accept each code once. Start at Codes to check codes, at File to keep secrets.
package totp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/sshd/check"
)

// Settings are the administrator's choices about one-time codes whose secrets
// are not in the directory. The zero value has none.
type Settings struct {
	// File holds the secrets that "berth totp" makes, encrypted. It is read again
	// when it changes.
	File string `mapstructure:"file"`

	// KeyFile holds the key that the file is encrypted with, at least 32 bytes. It
	// may be a systemd credential. "berth totp add" makes it if neither of the two
	// files exists.
	KeyFile string `mapstructure:"key_file"`

	// Issuer is what apps call the secrets made here.
	Issuer string `mapstructure:"issuer"`
}

// DefaultSettings are those of a file without the section.
func DefaultSettings() Settings { return Settings{Issuer: "Berth"} }

// Enabled reports whether there is a file.
func (s *Settings) Enabled() bool { return s.File != "" }

// Check reports what in s cannot be used, with the key and what would be right.
// It does not read the files; Open does.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	wrong.If(s.File != "" && s.KeyFile == "", "key_file: missing: must be the file with the key that totp.file is encrypted with")
	wrong.If(s.File == "" && s.KeyFile != "", "file: missing: must be the file with the secrets, such as /var/lib/berth/totp")
	wrong.If(strings.Contains(s.Issuer, ":"), "issuer: %q: must be without a colon, which separates it from the user's name", s.Issuer)
	return wrong
}

// The errors about a code. Test with errors.Is.
var (
	ErrWrong      = errors.New("one-time code wrong")
	ErrOld        = errors.New("one-time code older than the server's start")
	ErrNoSecret   = errors.New("user has no secret for one-time codes")
	ErrUnreadable = errors.New("secrets of one-time codes cannot be read")
)

// Codes checks one-time codes. It is safe for concurrent use.
type Codes struct {
	File *File // nil: there are only those secrets that callers give

	// Since returns from when on used codes are remembered: the start of the server, or
	// of what several nodes share. It is not known which older codes have been used, so
	// none of them is accepted. Somebody who logs in right after the start of the only
	// server may have to wait 30 seconds. The advantage is that a login writes nothing
	// to the disk. nil accepts all codes.
	Since func() time.Time
}

// Check returns the number of the code that a person typed. The person is the
// text of an identity, ID@DIRECTORY; the person's secrets are those given and
// those in the file. The caller must accept each number once, and never after a
// higher one.
func (c *Codes) Check(person string, secrets []string, typed string, now time.Time) (counter uint64, err error) {
	keys, err := c.keys(person, secrets)
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
	case c.Since != nil && time.Unix(int64(counter)*period, 0).Before(c.Since()):
		return 0, ErrOld
	}
	return counter, nil
}

// Enrolled reports whether a person, as in Check, has a secret that can be used.
// An error wraps ErrUnreadable.
func (c *Codes) Enrolled(person string, secrets []string) (bool, error) {
	_, err := c.keys(person, secrets)
	if errors.Is(err, ErrNoSecret) {
		return false, nil
	}
	return err == nil, err
}

// keys returns those of a person's secrets that can be used. The error wraps
// ErrNoSecret if there is none.
func (c *Codes) keys(person string, secrets []string) ([]Key, error) {
	if c.File != nil {
		records, err := c.File.current()
		if err != nil {
			return nil, err
		}
		if r, ok := records[person]; ok {
			secrets = append([]string{r.URI}, secrets...)
		}
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
