package event

import (
	"encoding/json"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// NewEncoder returns an encoder of JSON that people may read in a terminal: encoding/json
// writes what is invisible as it is, such as control characters that C1 has beside ASCII.
func NewEncoder(w io.Writer) *json.Encoder { return json.NewEncoder(printer{w}) }

type printer struct{ io.Writer }

// Write gets one value, whole.
func (p printer) Write(text []byte) (int, error) {
	if _, err := p.Writer.Write(Printable(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Printable returns JSON in which everything invisible is escaped, as AppendJSON does it.
func Printable(text []byte) []byte {
	printable := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r < 0x7f || strconv.IsPrint(r) { // JSON has no control characters of ASCII in texts
			printable = utf8.AppendRune(printable, r)
		} else {
			printable = appendEscaped(printable, r)
		}
	}
	return printable
}

const hexDigits = "0123456789abcdef" // package fmt takes twenty times as long, and clients choose the names

// appendEscaped appends r as in RFC 8259, section 7, so that no name can disguise itself in a
// terminal.
func appendEscaped(b []byte, r rune) []byte {
	var units [2]uint16
	for _, u := range utf16.AppendRune(units[:0], r) {
		b = append(b, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
	}
	return b
}
