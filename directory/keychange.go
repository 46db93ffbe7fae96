package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// KeyChanger is a Directory in which users' SSH keys can be added and removed.
// A "no" is a *Refusal, and nothing was changed; after any other error that is
// not known.
type KeyChanger interface {
	// AddKey gives u one more key: a line as ParseKeys takes it. The account must
	// be active, whatever it was when u was read.
	AddKey(ctx context.Context, u *User, line string) error

	// RemoveKey takes the key with a SHA-256 fingerprint away from u, wherever it
	// stands in u's entry, and leaves all other keys as they are. The key may be
	// one that cannot be used.
	RemoveKey(ctx context.Context, u *User, fingerprint string) error
}

// What only AddKey and RemoveKey say no with.
var (
	ErrKeyForbidden = errors.New("changing keys is not allowed")
	ErrKeyExists    = errors.New("key is there already")
	ErrKeyUnusable  = errors.New("key cannot be used")
	ErrTooManyKeys  = errors.New("too many keys")
	ErrNoKey        = errors.New("no such key")
)

// Bears reports whether a key with the fingerprint stands in a value of the key
// attribute, after any prefix, whether or not it can be used.
func Bears(value, fingerprint string) bool {
	keys, notes := ParseKeys("", "", []string{value})
	for _, k := range keys {
		if ssh.FingerprintSHA256(k) == fingerprint {
			return true
		}
	}
	for _, n := range notes {
		if n.Fingerprint == fingerprint {
			return true
		}
	}
	return false
}

// WithoutKey returns a value of the key attribute without the lines of the key
// with the fingerprint, and all else as it was, to the byte. It returns "" when
// no key is left.
func WithoutKey(value, fingerprint string) string {
	var rest strings.Builder
	for _, piece := range pieces(value) {
		if !Bears(piece, fingerprint) {
			rest.WriteString(piece)
		}
	}
	if keys, notes := ParseKeys("", "", []string{rest.String()}); len(keys)+len(notes) == 0 {
		return ""
	}
	return rest.String()
}

// pieces cuts a value into its lines, with their ends; an RFC 4716 block is one
// piece.
func pieces(value string) []string {
	var all []string
	block := ""
	for line := range linesWithEnds(value) {
		switch text := strings.TrimSpace(line); {
		case text == endSSH2:
			all, block = append(all, block+line), ""
		case block != "" || text == beginSSH2:
			block += line
		default:
			all = append(all, line)
		}
	}
	if block != "" {
		all = append(all, block)
	}
	return all
}

// linesWithEnds yields lines that end at LF, CRLF or CR, as splitLines has them.
func linesWithEnds(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s != "" {
			end := strings.IndexAny(s, "\r\n") + 1
			switch {
			case end == 0:
				end = len(s)
			case strings.HasPrefix(s[end-1:], "\r\n"):
				end++
			}
			if !yield(s[:end]) {
				return
			}
			s = s[end:]
		}
	}
}

// addKey adds a key if d can.
func addKey(ctx context.Context, d Directory, u *User, line string) error {
	if c, ok := d.(KeyChanger); ok {
		return c.AddKey(ctx, u, line)
	}
	return errKeepsKeys
}

// removeKey removes a key if d can.
func removeKey(ctx context.Context, d Directory, u *User, fingerprint string) error {
	if c, ok := d.(KeyChanger); ok {
		return c.RemoveKey(ctx, u, fingerprint)
	}
	return errKeepsKeys
}

// errKeepsKeys is the answer of a directory that is no KeyChanger.
var errKeepsKeys = &Refusal{Why: ErrKeyForbidden, Detail: "this directory changes no keys"}

// AddKey implements KeyChanger. The next look-up sees the key.
func (c *Cache) AddKey(ctx context.Context, u *User, line string) error {
	defer c.forget(u)
	return addKey(ctx, c.directory, u, line)
}

// RemoveKey implements KeyChanger. The next look-up does not see the key.
func (c *Cache) RemoveKey(ctx context.Context, u *User, fingerprint string) error {
	defer c.forget(u)
	return removeKey(ctx, c.directory, u, fingerprint)
}

// AddKey implements KeyChanger.
func (s *Shield) AddKey(ctx context.Context, u *User, line string) error {
	return addKey(ctx, s.directory, u, line)
}

// RemoveKey implements KeyChanger.
func (s *Shield) RemoveKey(ctx context.Context, u *User, fingerprint string) error {
	return removeKey(ctx, s.directory, u, fingerprint)
}

// AddKey implements KeyChanger.
func (j *Joined) AddKey(ctx context.Context, u *User, line string) error {
	d, own, err := j.owner(u)
	if err != nil {
		return err
	}
	return addKey(ctx, d, own, line)
}

// RemoveKey implements KeyChanger.
func (j *Joined) RemoveKey(ctx context.Context, u *User, fingerprint string) error {
	d, own, err := j.owner(u)
	if err != nil {
		return err
	}
	return removeKey(ctx, d, own, fingerprint)
}

// OneKey reads a value that must hold exactly one key, a strong one.
func OneKey(value string) (Key, error) {
	keys, notes := ParseKeys("", "", []string{value})
	switch {
	case len(notes) > 0:
		return Key{}, &Refusal{Why: ErrKeyUnusable, Detail: notes[0].Reason}
	case len(keys) != 1:
		return Key{}, &Refusal{Why: ErrKeyUnusable, Detail: fmt.Sprintf("%d keys where one is needed", len(keys))}
	case keys[0].Weak != "":
		return Key{}, &Refusal{Why: ErrKeyUnusable, Detail: keys[0].Weak}
	}
	return keys[0], nil
}
