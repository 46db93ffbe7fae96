package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"unicode"
	"unicode/utf16"
)

// NewEncoder returns an encoder that also escapes what encoding/json does not and nobody can
// see, such as control characters beyond ASCII: what a directory or a client sent must not
// drive the reader's terminal. The values stay the same.
func NewEncoder(w io.Writer) *json.Encoder { return json.NewEncoder(visible{w}) }

type visible struct{ io.Writer }

// invisible matches what is not printable, except for what JSON itself is made of.
var invisible = regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{P}\p{S}\x00- ]`)

func (v visible) Write(b []byte) (int, error) {
	shown := b
	if bytes.ContainsFunc(b, func(r rune) bool { return r > '~' && !unicode.IsPrint(r) }) { // rarely, and much faster
		shown = invisible.ReplaceAllFunc(b, func(r []byte) (escapes []byte) {
			for _, u := range utf16.Encode(bytes.Runes(r)) {
				escapes = fmt.Appendf(escapes, `\u%04x`, u)
			}
			return escapes
		})
	}
	if _, err := v.Writer.Write(shown); err != nil {
		return 0, err
	}
	return len(b), nil
}
