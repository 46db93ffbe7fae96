package directory

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/directory/rfc4716"
)

// Bears reports whether a key with the fingerprint is in a value of the key
// attribute, after any prefix, whether or not it can be used.
func Bears(value, fingerprint string) bool {
	keys, notes := ParseKeys("", "", []string{value})
	return slices.ContainsFunc(keys, func(k Key) bool { return ssh.FingerprintSHA256(k) == fingerprint }) ||
		slices.ContainsFunc(notes, func(n KeyNote) bool { return n.Fingerprint == fingerprint })
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
	for _, line := range lines.FindAllString(value, -1) {
		switch text := strings.TrimSpace(line); {
		case text == rfc4716.End:
			all, block = append(all, block+line), ""
		case block != "" || text == rfc4716.Begin:
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

// lines are those of rfc4716.Lines, with the LF, CRLF or CR that ends them.
var lines = regexp.MustCompile(`[^\r\n]*(\r\n|\r|\n)|[^\r\n]+`)

// OneKey reads a value that must hold exactly one key, a strong one.
func OneKey(value string) (Key, error) {
	keys, notes := ParseKeys("", "", []string{value})
	switch {
	case len(notes) > 0:
		return Key{}, &Refusal{Why: ErrKeyUnusable, Detail: notes[0].Reason}
	case len(keys) != 1:
		return Key{}, &Refusal{Why: ErrKeyUnusable, Detail: fmt.Sprintf("%d keys where one is needed", len(keys))}
	}
	return keys[0], nil
}
