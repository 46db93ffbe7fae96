package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// NewEncoder returns an encoder that also escapes what encoding/json does not and nobody can
// see, such as control characters beyond ASCII: what a directory or a client sent must not
// drive the reader's terminal. The values stay the same.
func NewEncoder(w io.Writer) *json.Encoder { return json.NewEncoder(visible{w}) }

type visible struct{ io.Writer }

func (v visible) Write(b []byte) (int, error) {
	invisible := func(r rune) bool { return r > '~' && !unicode.IsPrint(r) }
	var shown []byte
	rest := b
	for i := bytes.IndexFunc(rest, invisible); i >= 0; i = bytes.IndexFunc(rest, invisible) {
		r, size := utf8.DecodeRune(rest[i:])
		shown = append(shown, rest[:i]...)
		for _, u := range utf16.Encode([]rune{r}) {
			shown = fmt.Appendf(shown, `\u%04x`, u)
		}
		rest = rest[i+size:]
	}
	if _, err := v.Writer.Write(append(shown, rest...)); err != nil {
		return 0, err
	}
	return len(b), nil
}
